"""Draws against their own distribution functions."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest

from clustermocks.haloes.mass_distributions import FlatMasses, HaloMassFunction, PowerLawMasses, flatten

FAILURE_RATE = 1e-3  # of each KS test, had the seed not been fixed


def test_flat_masses_are_flat():
    drawn = FlatMasses(13.5, 15.3).draw(5000, seed=1)
    assert kstest(drawn, "uniform", args=(13.5, 1.8)).pvalue > FAILURE_RATE


@pytest.mark.parametrize("slope", [-2.0, -0.8, 0.0, 0.5])
def test_power_law_masses_follow_their_law(slope):
    def below(m):  # integral of 10^(slope m), which scipy's truncated exponential has for falling ones only
        return (m - 13.0) / 2.6 if slope == 0 else (10 ** (slope * (m - 13.0)) - 1) / (10 ** (slope * 2.6) - 1)

    drawn = PowerLawMasses(13.0, 15.6, slope).draw(5000, seed=1)
    assert drawn.min() >= 13.0
    assert drawn.max() <= 15.6
    assert kstest(drawn, below).pvalue > FAILURE_RATE


def test_a_power_law_without_a_slope_that_is_a_number_is_refused():
    for slope in (np.nan, 11.0):
        with pytest.raises(ValueError, match="slope"):
            PowerLawMasses(13.0, 15.6, slope)


def test_mass_function_draws_follow_the_integrated_density():
    masses = HaloMassFunction(low=13.0, high=15.6)
    grid = np.linspace(13.0, 15.6, 40)
    below = np.array([quad(lambda x: float(masses.density(x)), 13.0, x, epsrel=1e-8)[0] for x in grid])
    assert masses.number_density() == pytest.approx(below[-1], rel=1e-6)  # Simpson on 1000 points
    from scipy.interpolate import PchipInterpolator

    cumulative = PchipInterpolator(grid, below / below[-1])
    assert kstest(masses.draw(4000, seed=2), cumulative).pvalue > FAILURE_RATE


def test_mass_function_outside_its_limits_is_zero():
    masses = HaloMassFunction(low=13.0, high=15.0)
    np.testing.assert_array_equal(masses.density([12.9, 15.1]), [0, 0])
    assert masses.density(14.0) > 0


@pytest.mark.parametrize("kind", [FlatMasses, HaloMassFunction, PowerLawMasses])
def test_limits_in_the_wrong_order_or_unit_are_refused(kind):
    for low, high in ((15.0, 13.0), (1e13, 1e15)):
        with pytest.raises(ValueError, match="low and high are log10"):
            kind(low=low, high=high)


@pytest.mark.parametrize("masses", [FlatMasses(13, 15), HaloMassFunction(), PowerLawMasses(13, 15)])
def test_same_seed_same_masses(masses):
    np.testing.assert_array_equal(masses.draw(10, seed=3), masses.draw(10, seed=3))
    assert not np.array_equal(masses.draw(10, seed=3), masses.draw(10, seed=4))
    with pytest.raises(ValueError, match="n must be"):
        masses.draw(-1, seed=3)


def test_flattened_masses_are_as_many_in_every_bin_and_none_is_repeated():
    masses = np.random.default_rng(1).normal(14.4, 0.4, 5000)
    kept = flatten(masses, seed=1, low=13.8, high=15.0)
    assert len(np.unique(kept)) == len(kept)
    assert np.ptp(np.histogram(masses[kept], np.linspace(13.8, 15.0, 13))[0]) == 0
    assert kstest(masses[kept], "uniform", args=(13.8, 1.2)).pvalue > 1e-3
    assert not np.array_equal(kept, flatten(masses, seed=2, low=13.8, high=15.0))


def test_flatten_names_the_bin_that_is_empty():
    with pytest.raises(ValueError, match="no cluster between 15"):
        flatten(np.linspace(14, 15, 100), seed=1, low=14, high=15.2)

"""P(selected | mass, cosmology) against the probability that the flags were drawn from, and against simulated mocks."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from clustermocks import MDPL2, Catalogue, CosmologyPrior, FlatMasses, HaloModel, Observation
from clustermocks.selection import fit_selection
from clustermocks.selection_in_cosmologies import fit_selection_in_cosmologies


def truth(log10_mass, Om0, sigma8):
    return expit(6 * (log10_mass - 14) + (8 - 2 * (log10_mass - 14)) * (Om0 - 0.3) - 30 * (Om0 - 0.3) ** 2 + sigma8)


@pytest.fixture(scope="module")
def attempts():
    """Clusters without galaxies, eligible with a probability that depends on mass and cosmology."""
    rng = np.random.default_rng(1)
    n, lattice = 80_000, CosmologyPrior(number=50)
    drawn = [lattice.draw(MDPL2, rng) for _ in range(100)]
    which = rng.integers(100, size=n)
    Om0, sigma8 = (np.array([getattr(one, name) for one in drawn])[which] for name in ("Om0", "sigma8"))
    masses = rng.uniform(13, 15.5, n)
    eligible = rng.random(n) < truth(masses, Om0, sigma8)
    columns = {"log10_mass": masses, "host_id": np.arange(n), "eligible": eligible, "Om0": Om0, "sigma8": sigma8}
    galaxies = {"R_proj": np.zeros(0), "v_los": np.zeros(0)}
    offsets = np.zeros(n + 1, int)
    return Catalogue.from_arrays(
        Observation(min_galaxies=0), MDPL2, clusters=columns, galaxies=galaxies, offsets=offsets
    )


def test_the_selection_that_drew_the_flags_is_recovered_in_every_cosmology(attempts):
    fitted, grid = fit_selection_in_cosmologies(attempts), np.linspace(13, 15.5, 50)
    for Om0, sigma8 in ((0.307, 0.82), (0.25, 0.75), (0.36, 0.92)):
        selection = fitted.at(replace(MDPL2, Om0=Om0, sigma8=sigma8))
        off = selection(grid) - truth(grid, Om0, sigma8)
        # binomial error of 80 000 flags over 114 coefficients: .5 / sqrt(80 000 / 114) = .019, two and a half of them
        assert np.abs(off).max() < 0.05
        assert np.sqrt(np.mean(off**2)) < 0.019
        # of .2 to .8 the spline is smooth enough for its error to be the noise: three cosmologies at some ten places
        steep = np.abs(selection(grid) - 0.5) < 0.3
        pulls = (selection.log(grid) - np.log(truth(grid, Om0, sigma8))) / np.sqrt(
            (selection.log_errors(grid) ** 2).sum(0)
        )
        assert 0.2 < np.sqrt(np.mean(pulls[steep] ** 2)) < 2.0


@pytest.mark.slow
def test_mocks_of_one_cosmology_are_selected_as_those_of_many_say():
    model, masses, here = HaloModel.ho2019(), FlatMasses(13.2, 14.4).draw(12_000, seed=1), (0.35, 0.8)
    prior = CosmologyPrior(Om0=(0.22, 0.4), sigma8=(0.7, 0.95), number=16)
    many = model.simulate(masses, seed=2, cosmologies=prior).with_min_galaxies(20)
    point = CosmologyPrior(Om0=(here[0],) * 2, sigma8=(here[1],) * 2)
    attempted, selected = model.simulate(masses, seed=3, cosmologies=point).with_min_galaxies(20).attempted()
    selection = fit_selection_in_cosmologies(many).at(replace(MDPL2, Om0=here[0], sigma8=here[1]))
    assert selection(attempted).sum() == pytest.approx(selected.sum(), rel=0.04)  # of some 5000: 1.5 % and 2 % noise
    blind, light = fit_selection(*many.attempted()), attempted < 13.5  # where the cosmology matters
    error, worse = (abs(each(attempted[light]).sum() - selected[light].sum()) for each in (selection, blind))
    assert error < worse


def test_a_cosmology_out_of_range_and_mocks_of_one_cosmology_are_refused(attempts):
    fitted = fit_selection_in_cosmologies(attempts)
    with pytest.raises(ValueError, match=r"Om0 0\.55 and sigma8 0\.8228 lie outside"):
        fitted.at(replace(MDPL2, Om0=0.55))
    plain = HaloModel.ho2019().simulate(np.full(20, 14.0), seed=1)
    with pytest.raises(ValueError, match="does not hold the true cosmology"):
        fit_selection_in_cosmologies(plain)
    few = HaloModel.ho2019().simulate(np.full(20, 14.0), seed=1, cosmologies=CosmologyPrior(number=2))
    with pytest.raises(ValueError, match="a quadratic takes six"):
        fit_selection_in_cosmologies(few)
    line = HaloModel.ho2019().simulate(np.full(2000, 14.0), seed=1, cosmologies=CosmologyPrior(sigma8=(0.8, 0.8)))
    with pytest.raises(ValueError, match="differ in both"):
        fit_selection_in_cosmologies(line)

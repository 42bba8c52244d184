"""Tables between their knots, against the functions that they stand for."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from clustermocks.haloes.cosmology import (
    MDPL2,
    correlation_function,
    halo_bias,
    mass_function,
)
from clustermocks.haloes.density_field import _spectrum, _spectrum_at_knot
from clustermocks.haloes.environment import SearchVolume, _masses, _radii, central_threshold
from clustermocks.haloes.interpolation import lagrange
from clustermocks.haloes.jeans import radial_dispersion
from clustermocks.haloes.satellites import HaloGalaxies, tabulated_dispersion
from clustermocks.haloes.structure import halo_biases

REDSHIFTS = (0.01, 0.035, 0.2, 0.47, 0.77, 1.28, 1.95)  # none is a knot


@given(st.floats(-3, 8), st.lists(st.floats(-2, 2), min_size=4, max_size=4))
def test_four_points_reproduce_a_cubic_also_beyond_the_last_knot(place, coefficients):
    first, weights = lagrange(place, 4, lowest=-2, highest=5)
    assert -2 <= first <= 2
    cubic = np.polynomial.Polynomial(coefficients)
    found = sum(weight * cubic(first + i) for i, weight in enumerate(weights))
    assert found == pytest.approx(cubic(place), abs=1e-9)  # rounding of sums of some thousand


@pytest.mark.parametrize("redshift", REDSHIFTS)
def test_biases_are_good_to_1e_4(redshift):
    log10_mass = np.linspace(10.503, 15.697, 97)
    np.testing.assert_allclose(
        halo_biases(log10_mass, redshift, MDPL2), halo_bias(10**log10_mass, redshift, MDPL2), 1e-4
    )


@pytest.mark.parametrize("redshift", REDSHIFTS)
@pytest.mark.parametrize("low", [10.77, 11.7, 13.21])
def test_numbers_of_haloes_are_those_of_the_mass_function(low, redshift):
    table = _masses(low, redshift, MDPL2, "tinker08")
    for edge in (low + 0.5, 14.5):
        grid = np.linspace(low, edge, 4001)
        density = mass_function(10**grid, redshift, MDPL2)
        found = [np.interp(edge, table.log10_mass, column) for column in (table.count, table.biased)]
        exact = [np.trapezoid(y, grid) for y in (density, density * halo_bias(10**grid, redshift, MDPL2))]
        np.testing.assert_allclose(found, exact, rtol=1e-4)


@pytest.mark.parametrize("redshift", REDSHIFTS)
def test_the_clustered_volume_is_that_of_the_correlation_function_there(redshift):
    space = SearchVolume(radius=1.6, depth=60.0, min_log10_mass=12.0, redshift=redshift, cosmology=MDPL2)
    radii = _radii(space, 3.0)
    radius = np.geomspace(0.05, 60.0, 20_001)
    caps = 4 * np.pi * radius**2 * (1 - np.sqrt(1 - np.minimum(3.0 / radius, 1) ** 2))
    xi = correlation_function(radius, redshift, MDPL2)
    assert radii.clustered[-1] == pytest.approx(np.trapezoid(caps * np.maximum(xi, 0), radius), rel=2e-3)  # colossus
    exact = 4 / 3 * np.pi * (60.0**3 - (60.0**2 - 9.0) ** 1.5)  # a ball less what is outside the cylinder
    assert radii.volume[-1] == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("redshift", REDSHIFTS)
def test_the_spectrum_of_the_density_field_is_interpolated_to_1e_4(redshift):
    found, (variance, linear) = _spectrum(redshift, MDPL2), _spectrum_at_knot(redshift, MDPL2)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-4, atol=1e-4 * variance.max())
    np.testing.assert_allclose(found.linear, linear, rtol=1e-3)


@pytest.mark.parametrize("redshift", REDSHIFTS)
def test_centrals_and_satellites_add_up_at_every_redshift(redshift):
    galaxies = HaloGalaxies(richness=40.0, richness_slope=0.85)
    threshold = central_threshold(0.05, galaxies, redshift, MDPL2, model="tinker08")
    grid = np.linspace(10.5, 15.7, 5201)
    number = mass_function(10**grid, redshift, MDPL2) * (
        (grid >= threshold) + galaxies.mean_number(grid) * (grid >= 11.7)
    )
    assert np.trapezoid(number, grid) == pytest.approx(0.05, rel=5e-3)  # steps on a grid of .001 dex and .004 dex


@given(st.floats(1.2, 8.0), st.floats(-0.9, 0.5))
def test_dispersions_of_any_concentration_and_anisotropy_are_good_to_1e_3(galaxy_concentration, anisotropy):
    galaxies = HaloGalaxies(galaxy_concentration=galaxy_concentration, anisotropy=anisotropy)
    x, c_mass = np.meshgrid([0.01, 0.1, 0.8, 2.5], [1.5, 4.0, 12.0])
    found = tabulated_dispersion(x.ravel(), c_mass.ravel(), galaxies)
    exact = radial_dispersion(x, c_mass, galaxy_concentration, anisotropy).ravel()
    np.testing.assert_allclose(found, exact, rtol=2e-3)  # .1 % of the bilinear table, 3e-4 between tables; rounded up

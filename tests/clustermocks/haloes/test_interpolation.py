"""Tables between their knots, against the functions that they stand for."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.integrate import quad

from clustermocks.haloes import interpolation
from clustermocks.haloes.cosmology import (
    MDPL2,
    concentration,
    correlation_function,
    halo_bias,
    mass_function,
    truncation_radius,
)
from clustermocks.haloes.density_field import _exact_spectrum, _mean_above, _spectrum
from clustermocks.haloes.environment import central_threshold
from clustermocks.haloes.interpolation import mixed, stencil
from clustermocks.haloes.jeans import radial_dispersion
from clustermocks.haloes.neighbour_numbers import MASSES, SearchVolume, clustered_volume, halo_numbers
from clustermocks.haloes.satellites import HaloGalaxies, tabulated_dispersion
from clustermocks.haloes.structure import halo_biases, table_in_mass

REDSHIFTS = (0.01, 0.035, 0.2, 0.47, 0.77, 1.28, 1.95)  # none is a knot


@given(st.floats(-3, 8), st.lists(st.floats(-2, 2), min_size=4, max_size=4))
def test_four_points_reproduce_a_cubic_also_beyond_the_last_knot(place, coefficients):
    around = stencil(place, 4, lowest=-2, highest=5)
    assert all(-2 <= number <= 5 for number, _ in around)
    cubic = np.polynomial.Polynomial(coefficients)
    found = sum(weight * cubic(number) for number, weight in around)
    assert found == pytest.approx(cubic(place), abs=1e-9)  # rounding of sums of some thousand


def test_at_a_whole_number_only_its_own_table_is_needed():
    assert stencil(3.0, 4) == [(3, 1.0)]
    np.testing.assert_array_equal(mixed(lambda i, j: np.array([i, j]), stencil(2.0, 4), [(5, 0.25), (9, 0.75)]), [2, 8])


def test_no_exact_table_is_made_at_a_new_redshift_among_old_ones():
    def tables(redshift):
        _spectrum(redshift, MDPL2)
        halo_biases(14.0, redshift, MDPL2)

    for redshift in np.arange(0.01, 1.35, 0.03):
        tables(float(redshift))
    made = interpolation._exact.cache_info().misses
    for redshift in (0.0151, 0.4567, 1.2989):
        tables(redshift)
    assert interpolation._exact.cache_info().misses == made


# the growth factor that colossus interpolates has errors of 1e-5 between redshifts, which are not smooth
@pytest.mark.parametrize("function", [concentration, halo_bias, truncation_radius])
@given(redshift=st.floats(1e-3, 3.0))
def test_functions_of_mass_are_good_to_1e_5_at_any_redshift(function, redshift):
    grid, found = table_in_mass(function, (12.0, 15.7, 38), redshift, MDPL2)
    # absolute for the truncation radius, of 1 to 3 r200c where haloes are, because its fit goes through 0
    np.testing.assert_allclose(found, function(10**grid, redshift, MDPL2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("redshift", REDSHIFTS)
def test_biases_between_the_masses_of_the_table_are_good_to_2e_5(redshift):
    log10_mass = np.linspace(10.5025, 15.6975, 1040)  # in the middle, where linear interpolation is worst: by 1e-5
    np.testing.assert_allclose(
        halo_biases(log10_mass, redshift, MDPL2), halo_bias(10**log10_mass, redshift, MDPL2), 2e-5
    )


@pytest.mark.parametrize("redshift", REDSHIFTS)
@pytest.mark.parametrize("low", [10.77, 11.7, 13.21])
def test_numbers_of_haloes_are_those_of_the_mass_function(low, redshift):
    table = halo_numbers(redshift, MDPL2, "tinker08")
    for edge in (low + 0.5, 14.5):
        grid = np.linspace(low, edge, 4001)
        density = mass_function(10**grid, redshift, MDPL2)
        found = [np.diff(np.interp([low, edge], MASSES, y))[0] for y in (table.count, table.biased)]
        exact = [np.trapezoid(y, grid) for y in (density, density * halo_bias(10**grid, redshift, MDPL2))]
        np.testing.assert_allclose(found, exact, rtol=1e-4)


@pytest.mark.parametrize("redshift", REDSHIFTS)
def test_the_clustered_volume_is_that_of_the_correlation_function_there(redshift):
    space = SearchVolume(radius=1.6, depth=60.0, min_log10_mass=12.0, redshift=redshift, cosmology=MDPL2)
    distance, inside = clustered_volume(space, 3.0)
    radius = np.geomspace(0.05, 60.0, 20_001)
    caps = 4 * np.pi * radius**2 * (1 - np.sqrt(1 - np.minimum(3.0 / radius, 1) ** 2))
    xi = correlation_function(radius, redshift, MDPL2)
    assert distance[-1] == 60.0
    assert inside[-1] == pytest.approx(np.trapezoid(caps * np.maximum(xi, 0), radius), rel=2e-3)  # colossus


@pytest.mark.parametrize("redshift", [1e-3, *REDSHIFTS, 3.0])
def test_the_spectrum_of_the_density_field_is_interpolated_to_1e_5(redshift):
    found = np.stack(_spectrum(redshift, MDPL2)[1:])
    np.testing.assert_allclose(found, _exact_spectrum(redshift, MDPL2), rtol=1e-5)


@given(variance=st.floats(0.05, 2.0), bias=st.floats(0.3, 30.0), most=st.floats(1.5, 20.0))
def test_the_mean_of_a_capped_lognormal_contrast_is_that_by_quadrature(variance, bias, most):
    def integrand(g):
        number = 1 + bias * np.expm1(np.sqrt(variance) * g - variance / 2)
        return np.clip(number, 0, most) * np.exp(-(g**2) / 2) / np.sqrt(2 * np.pi)

    # in pieces: between where the number reaches 0 and where it reaches its cap
    shares = [max((floor - 1 + bias) / bias, 1e-12) for floor in (0.0, most)]
    kinks = np.clip((np.log(shares) + variance / 2) / np.sqrt(variance), -12, 12)
    expected = sum(quad(integrand, *piece)[0] for piece in pairwise([-12.0, *kinks, 12.0]))
    uncapped, beyond = (_mean_above(np.array([bias]), floor, variance)[0] for floor in (0.0, most))
    assert uncapped - beyond == pytest.approx(expected, rel=1e-6)  # of quadrature


@pytest.mark.parametrize("redshift", REDSHIFTS)
def test_centrals_and_satellites_add_up_at_every_redshift(redshift):
    galaxies = HaloGalaxies(richness=40.0, richness_slope=0.85)
    threshold = central_threshold(0.05, galaxies, redshift, MDPL2, model="tinker08")
    grid = np.linspace(10.5, 15.7, 5201)
    number = mass_function(10**grid, redshift, MDPL2) * (
        (grid >= threshold) + galaxies.mean_number(grid) * (grid >= 11.7)
    )
    assert np.trapezoid(number, grid) == pytest.approx(0.05, rel=5e-3)  # steps on a grid of .001 dex


@given(st.floats(1.2, 8.0), st.floats(-0.9, 0.5))
def test_dispersions_of_any_concentration_and_anisotropy_are_good_to_1e_3(galaxy_concentration, anisotropy):
    galaxies = HaloGalaxies(galaxy_concentration=galaxy_concentration, anisotropy=anisotropy)
    x, c_mass = np.meshgrid([0.01, 0.1, 0.8, 2.5], [1.5, 4.0, 12.0])
    found = tabulated_dispersion(x.ravel(), c_mass.ravel(), galaxies)
    exact = radial_dispersion(x, c_mass, galaxy_concentration, anisotropy).ravel()
    np.testing.assert_allclose(found, exact, rtol=2e-3)  # .1 % of the bilinear table, 3e-4 between tables; rounded up

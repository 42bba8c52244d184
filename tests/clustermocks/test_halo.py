"""Equilibrium of one halo against quadrature, Lambert's W and N-body-calibrated relations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import lambertw
from scipy.stats import kstest

from clustermocks.cosmology import MDPL2, concentration, nfw_mass
from clustermocks.halo import (
    HaloGalaxies,
    draw_haloes,
    draw_satellites,
    isotropic,
    jeans_dispersion,
    nfw_radii,
    tabulated_dispersion,
    truncation_radii,
    velocity_bias,
)

REDSHIFT = 0.117
FAILURE_RATE = 1e-3  # of each KS test, had the seed not been fixed


def _haloes(log10_mass, n, galaxies, seed=1):
    rng = np.random.default_rng(seed)
    masses = np.full(n, log10_mass)
    return draw_haloes(masses, rng, galaxies=galaxies, redshift=REDSHIFT, cosmology=MDPL2), rng


def _dispersion_by_quadrature(x, c, c_galaxy):
    def integrand(s):
        return nfw_mass(c * s) / nfw_mass(c) / s**3 / (1 + c_galaxy * s) ** 2

    return np.sqrt(quad(integrand, x, np.inf, epsrel=1e-9, limit=200)[0] * x * (1 + c_galaxy * x) ** 2)


@settings(deadline=None)
@given(x=st.floats(2e-3, 10), c=st.floats(1, 40), c_galaxy=st.floats(1, 10))
def test_jeans_dispersion_agrees_with_adaptive_quadrature(x, c, c_galaxy):
    # 64 nodes over 14 e-folds of radius
    assert jeans_dispersion(x, c, c_galaxy) == pytest.approx(_dispersion_by_quadrature(x, c, c_galaxy), rel=1e-5)


@settings(deadline=None)
@given(x=st.floats(1e-3, 2.9), c=st.floats(0.6, 100))
def test_tabulated_dispersion_agrees_with_the_integral(x, c):
    found = tabulated_dispersion(np.array([x]), np.array([c]), 2.6)[0]
    assert found == pytest.approx(float(jeans_dispersion(x, c, 2.6)), rel=2e-3)  # promised .1 %, twice it in a corner


def test_point_mass_limit_of_the_dispersion_is_keplerian():
    # tracers of slope -3 around a mass inside them: sigma^2 = G M / (4 r); at 200 scale radii of both, to 4 %
    x = 20.0
    expected = np.sqrt(nfw_mass(10 * x) / nfw_mass(10) / (4 * x))
    assert float(jeans_dispersion(x, 10.0, 10.0)) == pytest.approx(expected, rel=0.04)


@given(fraction=st.floats(1e-4, 1), x_max=st.floats(0.5, 50))
def test_nfw_radii_agree_with_lamberts_w(fraction, x_max):
    q = fraction * nfw_mass(x_max)
    exact = -1 / lambertw(-np.exp(-1 - q)).real - 1
    assert nfw_radii(fraction, x_max) == pytest.approx(exact, rel=2e-5)  # table of 4001 radii


def test_velocity_bias_passes_through_its_anchors_and_stays_flat_beyond():
    assert velocity_bias(12.0) == velocity_bias(13.5) < velocity_bias(14.0) < velocity_bias(14.5) < velocity_bias(15.0)
    assert velocity_bias(13.75) == pytest.approx((velocity_bias(13.5) + velocity_bias(14.0)) / 2)
    assert velocity_bias(15.6) == velocity_bias(15.0)


def test_directions_are_isotropic():
    n = isotropic(np.random.default_rng(1), 20_000)
    np.testing.assert_allclose((n**2).sum(1), 1, rtol=1e-12)
    for axis in n.T:
        assert kstest(axis, "uniform", args=(-1, 2)).pvalue > FAILURE_RATE  # Archimedes: any axis is uniform


def test_concentrations_scatter_lognormally_about_the_median():
    haloes, _ = _haloes(14.0, 4000, HaloGalaxies())
    ratio = np.log10(haloes.c_200c / concentration(1e14, REDSHIFT, MDPL2))
    assert kstest(ratio / 0.16, "norm").pvalue > FAILURE_RATE


def test_number_of_satellites_has_the_mean_and_variance_of_poisson_times_gamma():
    haloes, rng = _haloes(14.3, 20_000, HaloGalaxies())
    number = np.bincount(draw_satellites(haloes, rng, HaloGalaxies()).halo, minlength=20_000)
    mean = 28.2 * 10 ** (0.91 * 0.3)
    variance = mean + (0.1 * mean) ** 2
    assert number.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / 20_000))  # 4 sigma
    assert number.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / 20_000))


def test_satellites_follow_an_nfw_profile_inside_the_virial_radius():
    galaxies = HaloGalaxies(concentration_scatter=0.0)
    haloes, rng = _haloes(14.5, 100, galaxies)
    r = np.linalg.norm(draw_satellites(haloes, rng, galaxies).separation, axis=1) / haloes.r_200c[0]
    edge = haloes.R_vir[0] / haloes.r_200c[0]
    assert kstest(r, lambda x: nfw_mass(2.6 * x) / nfw_mass(2.6 * edge)).pvalue > FAILURE_RATE


def test_galaxies_beyond_the_virial_radius_follow_the_steepened_profile():
    galaxies = HaloGalaxies(concentration_scatter=0.0)
    haloes, rng = _haloes(14.5, 200, galaxies)
    r_t = truncation_radii(14.5, REDSHIFT, MDPL2)
    drawn = draw_satellites(haloes, rng, galaxies, truncation=np.full(200, r_t))
    r = np.linalg.norm(drawn.separation, axis=1) / haloes.r_200c[0]
    edge = haloes.R_vir[0] / haloes.r_200c[0]
    inside, outside = np.bincount(drawn.halo[r < edge]).mean(), np.sort(r[r > edge])
    assert inside == pytest.approx(28.2 * 10 ** (0.91 * 0.5), rel=4 * 0.15 / np.sqrt(200))  # 4 sigma of the mean

    def profile(x):
        return x / (1 + 2.6 * x) ** 2 / (1 + (x / r_t) ** 4) ** 2

    total = quad(profile, edge, 3.0)[0]
    cumulative = np.vectorize(lambda x: quad(profile, edge, x)[0] / total)
    assert kstest(outside, cumulative).pvalue > FAILURE_RATE


@pytest.mark.parametrize(
    ("log10_mass", "jeans", "ho2019"), [(13.5, 353, 307), (14.0, 512, 468), (14.5, 745, 713), (15.0, 1089, 1087)]
)
def test_simulated_dispersion_is_the_tracer_weighted_jeans_dispersion(log10_mass, jeans, ho2019):
    galaxies = HaloGalaxies(concentration_scatter=0.0, velocity_scatter=0.0)
    haloes, rng = _haloes(log10_mass, 300, galaxies)
    v = draw_satellites(haloes, rng, galaxies).v_jeans
    c, edge = haloes.c_200c[0], haloes.R_vir[0] / haloes.r_200c[0]

    def sigma(edge):
        weighted = quad(lambda x: jeans_dispersion(x, c, 2.6) ** 2 * x / (1 + 2.6 * x) ** 2, 0, edge)[0]
        return np.sqrt(weighted / quad(lambda x: x / (1 + 2.6 * x) ** 2, 0, edge)[0]) * haloes.v_200[0]

    expected = sigma(edge) * velocity_bias(log10_mass)
    assert v.std() == pytest.approx(expected, rel=1e-3 + 4 / np.sqrt(2 * len(v)))  # table, and 4 sigma of the sample
    assert expected == pytest.approx(ho2019, rel=0.003)  # what the velocity bias is tuned to
    assert sigma(1.0) == pytest.approx(jeans, rel=0.003)  # science notes, inside r200c, by another code


def test_dispersions_of_haloes_scatter_lognormally():
    galaxies = HaloGalaxies(richness=2000.0, concentration_scatter=0.0)
    haloes, rng = _haloes(14.0, 400, galaxies)
    drawn = draw_satellites(haloes, rng, galaxies)
    sigma = np.sqrt(np.bincount(drawn.halo, drawn.v_jeans**2) / np.bincount(drawn.halo))
    # 2000 galaxies measure each sigma to 1.6 %; 4 sigma of a standard deviation from 400
    assert np.log(sigma).std() == pytest.approx(np.hypot(0.12, 0.016), rel=4 / np.sqrt(800))


@pytest.mark.parametrize("field", ["richness", "galaxy_concentration", "richness_scatter", "velocity_scatter"])
def test_impossible_populations_are_refused_by_name(field):
    with pytest.raises(ValueError, match=field):
        HaloGalaxies(**{field: -1.0})

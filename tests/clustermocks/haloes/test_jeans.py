"""Anisotropic Jeans equilibrium and its projection, against closed forms, the differential equation and quadrature."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings, strategies as st
from scipy.integrate import quad
from scipy.special import spence

from clustermocks.haloes.cosmology import nfw_mass
from clustermocks.haloes.jeans import (
    Tracers,
    anisotropy_at,
    density_table,
    fraction_inside,
    log_density,
    log_density_at,
    radial_dispersion,
)

ANISOTROPIES = [0.0, 0.3, 0.5, -1.0, "mamon_lokas"]


def _density(tracers, R, v):
    """On the sky and in velocity [edge^-2 V200^-1], from the definition: galaxies along the line of sight."""
    c = tracers.c_galaxy * tracers.edge

    def integrand(z):
        r = np.hypot(R, z)
        x = r * tracers.edge
        beta = anisotropy_at(x, tracers.c_mass, tracers.anisotropy)
        sigma = radial_dispersion(x, tracers.c_mass, tracers.c_galaxy, tracers.anisotropy)
        sigma = sigma * np.sqrt(1 - beta * (R / r) ** 2)
        gauss = np.exp(-0.5 * (v / sigma) ** 2) / np.sqrt(2 * np.pi) / sigma
        return gauss * c**2 / (4 * np.pi * nfw_mass(c)) / r / (1 + c * r) ** 2

    return 2 * quad(integrand, 0, np.sqrt(1 - R**2), epsrel=1e-9, limit=400)[0]


def _surface_density(x, c):
    """NFW cut at c scale radii, projected, times 2 pi / (2 rho_s r_s): Takada & Jain 2003, MNRAS 340, 580, eq. 27."""
    edge = np.sqrt(c**2 - x**2) / (1 - x**2) / (1 + c)
    q = (x**2 + c) / x / (1 + c)
    inverse = np.arccosh(q) if x < 1 else -np.arccos(q)
    return -edge + inverse / np.abs(1 - x**2) ** 1.5


@pytest.mark.parametrize("c", [2.0, 5.0, 15.0])
@pytest.mark.parametrize("x", [0.03, 0.3, 1.0, 3.0])
def test_isotropic_dispersion_of_galaxies_that_trace_the_mass_is_the_closed_form(x, c):
    """Lokas & Mamon 2001, MNRAS 321, 155, eq. 14."""
    y, log1p = c * x, np.log1p(c * x)
    bracket = np.pi**2 - np.log(y) - 1 / y - 1 / (1 + y) ** 2 - 6 / (1 + y)
    bracket += (1 + 1 / y**2 - 4 / y - 2 / (1 + y)) * log1p + 3 * log1p**2 + 6 * spence(1 + y)
    closed = np.sqrt(0.5 * c / nfw_mass(c) * y * (1 + y) ** 2 * bracket)
    # the bracket's terms cancel to a part in 10^5 far out, where double precision keeps 10 digits
    assert radial_dispersion(x, c, c) == pytest.approx(closed, rel=1e-6)


@pytest.mark.parametrize("anisotropy", ANISOTROPIES)
@pytest.mark.parametrize("x", [0.01, 0.1, 1.0, 5.0])
def test_dispersion_solves_the_jeans_equation(x, anisotropy):
    """d(nu sigma^2)/dln r + 2 beta nu sigma^2 = -nu G M / r (Binney & Tremaine 2008, eq. 4.215)."""
    c, c_galaxy, step = 4.3, 2.6, 1e-3

    def pressure(x):
        return radial_dispersion(x, c, c_galaxy, anisotropy) ** 2 / x / (1 + c_galaxy * x) ** 2

    slope = (pressure(x * np.exp(step)) - pressure(x * np.exp(-step))) / 2 / step
    left = slope + 2 * anisotropy_at(x, c, anisotropy) * pressure(x)
    right = -nfw_mass(c * x) / nfw_mass(c) / x**2 / (1 + c_galaxy * x) ** 2
    # difference of step .001: its square over 6, times a third derivative of up to 30; at beta = -1 the quadrature
    assert left == pytest.approx(right, rel=1e-4)


@pytest.mark.parametrize("anisotropy", ANISOTROPIES)
def test_projected_density_is_the_integral_along_the_line_of_sight(anisotropy):
    tracers = Tracers(4.3, 2.6, 1.28, anisotropy)
    for R in (0.003, 0.1, 0.6, 0.999):
        for v in (0.0, 0.7, 2.0):
            depth = np.array([np.arccosh(1 / R)])
            found = np.exp(log_density(tracers, depth, np.array([v]))[0, 0]) * 2 * depth[0]
            assert found == pytest.approx(_density(tracers, R, v), rel=1e-5)  # of the dispersion, interpolated to 1e-6


@pytest.mark.parametrize("R", [0.01, 0.2, 0.6, 0.95])
def test_density_integrated_over_velocity_is_the_closed_surface_density(R):
    tracers = Tracers(4.3, 2.6, 1.28, 0.3)
    depth, c = np.array([np.arccosh(1 / R)]), 2.6 * 1.28
    v = np.linspace(-6, 6, 4001)  # 8 standard deviations; trapezoid is exact to rounding
    found = np.trapezoid(np.exp(log_density(tracers, depth, v)[0]), v) * 2 * depth[0]
    closed = c**2 / (2 * np.pi * nfw_mass(c)) * _surface_density(c * R, c)
    assert found == pytest.approx(closed, rel=1e-7)


@settings(max_examples=15)
@example(c=7.0, edge=1.25, anisotropy=-1.0, depth=4.5, v=3.0)  # 5 standard deviations
@given(
    c=st.floats(1, 25),
    edge=st.floats(1.2, 1.35),
    anisotropy=st.one_of(st.floats(-1, 0.5), st.just("mamon_lokas")),
    depth=st.floats(0.01, 9.9),
    v=st.floats(0, 8),
)
def test_tabulated_density_is_that_of_the_integral(c, edge, anisotropy, depth, v):
    tracers = Tracers(c, 2.6, edge, anisotropy)
    speed = np.array([0.0, v])
    at_rest, exact = log_density(tracers, np.array([depth]), speed)[0] + np.log(2 * depth)
    found = density_table(tracers)(np.array([1 / np.cosh(depth)]), np.array([-v]))[0]
    deviations = np.sqrt(2 * max(0.0, at_rest - exact))
    assume(deviations < 6)  # beyond, nothing is promised
    # promised 5e-5 out to 3 standard deviations, and about three times as much for each more; twice that to be safe
    assert found == pytest.approx(exact, abs=1e-4 * 2.8 ** max(0.0, deviations - 3))


@pytest.mark.parametrize("times", [1, 400])  # integrated one by one, or looked up
def test_there_are_no_galaxies_beyond_the_edge(times):
    def density(R, v):
        return log_density_at(Tracers(4.0, 2.6, 1.28, 0.0), np.tile(R, times), np.tile(v, times))

    assert np.isneginf(density([1.0, 1.01, 3.0], np.zeros(3))).all()
    assert np.isfinite(density([0.0, 1e-9, 0.999], [0.0, 50.0, 3.0])).all()


@pytest.mark.parametrize("anisotropy", ANISOTROPIES)
def test_galaxies_that_are_integrated_one_by_one_have_the_density_of_those_looked_up(anisotropy):
    tracers, rng = Tracers(6.1, 2.6, 1.31, anisotropy), np.random.default_rng(1)
    R, v = rng.uniform(0.001, 1, 2000), rng.uniform(-1, 1, 2000)
    few = np.concatenate([log_density_at(tracers, R[rows], v[rows]) for rows in (slice(0, 900), slice(900, 1800))])
    many = log_density_at(tracers, R, v)[:1800]
    np.testing.assert_allclose(few, many, atol=1e-3)  # a table is good to 2e-3 at six standard deviations
    assert np.median(np.abs(few - many)) < 5e-5  # where most galaxies are


@pytest.mark.parametrize("anisotropy", ANISOTROPIES)
@pytest.mark.parametrize("aperture", [0.3, 0.9, 2.0])
def test_fraction_in_the_cylinder_is_the_integral_of_the_density(aperture, anisotropy):
    tracers, v_cut = Tracers(4.3, 2.6, 1.28, anisotropy), 0.9
    node, weight = np.polynomial.legendre.leggauss(200)
    lowest = np.arccosh(1 / aperture) if aperture < 1 else 0.0
    depth, v = lowest + (14 - lowest) * (node + 1) / 2, v_cut * (node + 1) / 2
    R = 1 / np.cosh(depth)
    density = np.exp(log_density(tracers, depth, v)) * 2 * depth[:, None] @ (v_cut * weight)  # both signs of v
    found = density * 2 * np.pi * R**2 * np.tanh(depth) @ ((14 - lowest) / 2 * weight)
    # 48 nodes in space against 200 x 200 in projection
    assert fraction_inside(tracers, aperture, v_cut) == pytest.approx(found, rel=2e-6)


def test_everything_is_in_a_large_cylinder():
    assert fraction_inside(Tracers(4.3, 2.6, 1.28, "mamon_lokas"), 1.5, 50.0) == pytest.approx(1, abs=1e-9)

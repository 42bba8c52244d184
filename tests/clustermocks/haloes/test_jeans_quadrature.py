"""SphericalJeans' likelihood over a background, held against quadrature of every integral in it, by textbook formulae.

Lengths here are in r200c, velocities in V200, but for the observed R [h^-1 Mpc] and v [km/s].
"""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import dblquad, quad, simpson
from scipy.interpolate import CubicSpline
from scipy.special import erf, gammaln
from scipy.stats import gamma, norm

from clustermocks import SphericalJeans
from clustermocks.haloes.cosmology import MDPL2, concentration, radius_200c, virial_ratio, virial_velocity

APERTURE, V_CUT, BACKGROUND = 1.6, 2500.0, 10.0
C_GALAXY, NEAREST = 2.6, 1e-4


def nfw(y):
    return np.log1p(y) - y / (1 + y)


def density(x, edge):
    """Density of one galaxy in space."""
    return C_GALAXY**2 / (4 * np.pi * nfw(C_GALAXY * edge)) / x / (1 + C_GALAXY * x) ** 2


def dispersion(c, edge):
    """Isotropic Jeans dispersion, a function of ln x; the galaxies' pressure does not know that they end."""

    def squared(x):
        force = quad(lambda s: density(s, edge) * nfw(c * s) / nfw(c) / s**2, x, np.inf, epsabs=0)[0]
        return force / density(x, edge)

    ln_x = np.linspace(np.log(NEAREST), np.log(edge), 80)
    return CubicSpline(ln_x, [np.sqrt(squared(x)) for x in np.exp(ln_x)])


def phase_space_density(X, u, edge, sigma):
    """Density of one galaxy on the sky and in velocity; along the line of sight z = X sinh w."""
    if edge <= X:
        return 0.0

    def along(w):
        x = X * np.cosh(w)
        return 2 * x * density(x, edge) * norm(0, sigma(np.log(x))).pdf(u)

    return quad(along, 0, np.arccosh(edge / X), epsabs=0)[0]


def share_inside(aperture, v_cut, edge, sigma):
    """Share of the galaxies in the cylinder: over radius, and cosine with the line of sight."""

    def slow(cosine, x):
        return 4 * np.pi * x**2 * density(x, edge) * erf(v_cut / np.sqrt(2) / sigma(np.log(x)))

    def lowest(x):
        return np.sqrt(max(0.0, 1 - (aperture / x) ** 2))

    nodes = sorted({NEAREST, min(edge, aperture), edge})
    return sum(dblquad(slow, a, b, lowest, 1, epsabs=1e-7)[0] for a, b in pairwise(nodes))


def by_hand(log10_mass, R, v):
    """Natural log of p(R, v, N | mass)."""
    c = float(concentration(10**log10_mass, 0.117, MDPL2))
    r_200c, v_200 = (float(f(10**log10_mass, 0.117, MDPL2)) for f in (radius_200c, virial_velocity))
    edge = float(virial_ratio(c, 0.117, MDPL2))
    sigma = dispersion(c, edge)
    shape = [phase_space_density(a / r_200c, b / v_200, edge, sigma) for a, b in zip(R, v, strict=True)]
    mean, ring = 28.2 * 10 ** (0.91 * (log10_mass - 14)), 2 * np.pi * R
    member = mean * ring * np.array(shape) / r_200c**2 / v_200
    other = BACKGROUND * ring / (np.pi * APERTURE**2 * 2 * V_CUT)
    inside = mean * share_inside(APERTURE / r_200c, V_CUT / v_200, edge, sigma)
    G = np.linspace(0.05, 2, 4001)  # richness over its mean, 1 ± .1, or less where it is too poor for its mass
    log_like = np.log(G[:, None] * member + other).sum(axis=1) - G * inside + gamma(100, scale=0.01).logpdf(G)
    highest = log_like.max()
    return highest + np.log(simpson(np.exp(log_like - highest), x=G)) - BACKGROUND - gammaln(len(R) + 1)


@pytest.mark.parametrize("log10_mass", [13.6, 15.2])
def test_likelihood_over_a_background_is_that_of_direct_quadrature(log10_mass):
    model = SphericalJeans(background=BACKGROUND)
    mocks = model.simulate([14.0], seed=7)
    R, v = (column.astype(float) for column in mocks.galaxies(0))
    found = model.log_likelihood(mocks, [log10_mass])[0, 0]
    # the density table is good to 5e-5 a galaxy within 3 standard deviations, of either sign
    assert found == pytest.approx(by_hand(log10_mass, R, v), abs=5e-5 * len(R))

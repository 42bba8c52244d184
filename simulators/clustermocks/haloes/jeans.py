r"""Jeans equilibrium of anisotropic NFW tracers in an NFW halo, and their density in projected phase space.

Lengths are in units of r200c or, where so named, of the radius at which tracers end; velocities in units of V200.
"""

from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates, spline_filter
from scipy.special import erf

from clustermocks.haloes.cosmology import Values, nfw_mass
from clustermocks.haloes.interpolation import mixed, stencil

Anisotropy: TypeAlias = float | Float[np.ndarray, "*batch"] | Literal["mamon_lokas"]

LOWEST_BETA, HIGHEST_BETA = -1.0, 0.5  # above 1/2 no density with a 1/r cusp has such orbits (An & Evans 2006)
_LOG_C, _EDGE = 0.1, 0.05  # steps of ln c_mass and edge between tabulated densities
_DEPTH, _DEPTHS = 0.1, 111  # step and number of arccosh(edge / R): down to 3e-5 of the edge
_SPEED, _SPEEDS, _SLOW = 0.06, 90, 0.2  # step and number of arcsinh(|v| / _SLOW V200): used up to 16.4 V200
_NODES = 32  # of the integral along the line of sight
_FEW = 1000  # galaxies


class Tracers(NamedTuple):
    """Galaxies of one halo: c200c of the mass, r200c over their scale radius, their end [r200c], their anisotropy."""

    c_mass: float
    c_galaxy: float
    edge: float
    anisotropy: float | Literal["mamon_lokas"]


@lru_cache(maxsize=8)
def _gauss_legendre(n: int) -> tuple[Values, Values]:
    """Nodes and weights on [-1, 1]; NumPy solves for them at every call."""
    return np.polynomial.legendre.leggauss(n)


def anisotropy_at(x: ArrayLike, c_mass: ArrayLike, anisotropy: Anisotropy) -> Values:
    r"""Velocity anisotropy $\beta = 1 - \sigma_\theta^2/\sigma_r^2$ [1] at radius / r200c.

    Args:
        x: Radius / r200c [1].
        c_mass: Concentration of the mass [1].
        anisotropy: One beta for all radii, or "mamon_lokas": $\beta = \frac12 r/(r + r_{-2})$ (Mamon & Lokas 2005,
            MNRAS 363, 705, eq. 60), $r_{-2}$ = r200c / c_mass.
    """
    x = np.asarray(x, float)
    if isinstance(anisotropy, str):
        return 0.5 * x / (x + 1 / np.asarray(c_mass, float))
    return np.broadcast_to(np.asarray(anisotropy, float), np.broadcast_shapes(x.shape, np.shape(anisotropy)))


def radial_dispersion(x: ArrayLike, c_mass: ArrayLike, c_galaxy: ArrayLike, anisotropy: Anisotropy = 0.0) -> Values:
    r"""Radial velocity dispersion of NFW tracers in an NFW halo, in units of V200.

    $\sigma_r^2(x) = \frac{1}{K(x)\nu(x)} \int_x^\infty K(s)\nu(s) \frac{m(c s)}{m(c)} \frac{ds}{s^2}$ with
    $\nu(s) = s^{-1} (1 + c_g s)^{-2}$, $K = s^{2\beta}$ for constant anisotropy and $K = s + 1/c$ for "mamon_lokas".

    Args:
        x: Radius / r200c [1], 1e-5 to 30.
        c_mass: Concentration of the mass [1].
        c_galaxy: Concentration of the tracers [1].
        anisotropy: beta [1], -1 to .5, or "mamon_lokas"; broadcasts with x.

    References:
        Lokas & Mamon 2001, MNRAS 321, 155, eq. 6; Mamon & Lokas 2005, eq. 9 to 11. By quadrature in ln s, good to 1e-5.
    """
    node, weight = _gauss_legendre(64)
    u = np.exp(-8 * (node + 1))  # u = x/s; beyond s = e^16 x nothing is left
    x, c_mass, c_galaxy = (np.asarray(value, float)[..., None] for value in (x, c_mass, c_galaxy))
    tracers = u**3 * ((1 + c_galaxy * x) / (u + c_galaxy * x)) ** 2
    mass = nfw_mass(c_mass * x / u) / nfw_mass(c_mass)
    if isinstance(anisotropy, str):
        kernel = (c_mass * x / u + 1) / (c_mass * x + 1)
    else:
        kernel = u ** (-2 * np.asarray(anisotropy, float)[..., None])
    return np.sqrt((kernel * tracers * mass * u / x) @ (8 * weight))


def log_density(tracers: Tracers, depth: Float[np.ndarray, "depth"], speed: Values) -> Float[np.ndarray, "depth speed"]:
    r"""Natural log of the density on the sky and in line-of-sight velocity, over 2 depth, by Gauss-Legendre.

    Velocities are Gaussian at every point in space, so that along a line of sight they are a mixture of Gaussians.
    With $r = R\cosh w$, $\Sigma p(v|R) = 2 \int_0^y r\nu(r) N(v; \sigma_{los}(r, R)) dw$ and $y = arccosh(edge / R)$.
    Divided by 2y this is smooth and even in y, and finite at the edge.

    Args:
        tracers: The galaxies; their density is cut at the edge and integrates to 1.
        depth: y = arccosh(edge / R) [1].
        speed: Velocity along the line of sight [V200], (speed,) or (depth, speed).

    Returns:
        log of the density [edge^-2 V200^-1] / 2y.

    References:
        Mamon, Biviano & Boue 2013, MNRAS 429, 3079, eq. 10 to 13.
    """
    node, weight = _gauss_legendre(_NODES)
    along = 0.5 * (node + 1) * depth[:, None]  # w, (depth, node)
    r = np.cosh(along) / np.cosh(depth)[:, None]
    sigma = _sight_dispersion(tracers, r, 1 / np.cosh(along) ** 2)
    c = tracers.c_galaxy * tracers.edge
    log_weight = np.log(weight / 2 * c**2 / (4 * np.pi * nfw_mass(c))) - 2 * np.log1p(c * r)
    log_weight = log_weight - np.log(sigma) - 0.5 * np.log(2 * np.pi)
    terms = log_weight[:, None] - 0.5 * (speed[..., None] / sigma[:, None]) ** 2
    highest = terms.max(axis=-1)
    return np.log(np.exp(terms - highest[..., None]).sum(axis=-1)) + highest


def _sight_dispersion(tracers: Tracers, r: Values, sine_squared: Values) -> Values:
    """Dispersion [V200] along a line of sight that makes an angle with the radius, at r [edge]; to 1e-6."""
    beta = anisotropy_at(r * tracers.edge, tracers.c_mass, tracers.anisotropy)
    return np.exp(_log_radial_dispersion(tracers)(np.log(r))) * np.sqrt(1 - beta * sine_squared)


@lru_cache(maxsize=8)
def _log_radial_dispersion(tracers: Tracers) -> CubicSpline:
    """Natural log of the radial dispersion [V200] over the natural log of the radius [edge]."""
    ln_r = np.linspace(np.log(2e-5), 0, 161)
    x = np.exp(ln_r) * tracers.edge
    return CubicSpline(ln_r, np.log(radial_dispersion(x, tracers.c_mass, tracers.c_galaxy, tracers.anisotropy)))


@lru_cache(maxsize=4096)  # a likelihood and its normalisation over selected clusters ask for the same
def fraction_inside(tracers: Tracers, aperture: float, v_cut: float) -> float:
    r"""Share of the galaxies that lies in the cylinder R < aperture [edge], |v| < v_cut [V200]; to 1e-6.

    Integrated in space: shells wholly inside the aperture, then, with $r = aperture\cosh w$, caps of the outer ones.
    """
    node, weight = _gauss_legendre(_NODES)
    share, weight = 0.5 * (node + 1), 0.5 * weight
    inner = min(aperture, 1.0)
    r = inner * share**2  # crowds nodes where the dispersion falls to zero
    total = _shells(tracers, r, np.zeros_like(r), v_cut) @ (weight * 2 * inner * share)
    if aperture < 1:
        reach = np.arccosh(1 / aperture)
        r = aperture * np.cosh(reach * share)
        slope = reach * aperture * np.sinh(reach * share)
        total += _shells(tracers, r, np.tanh(reach * share), v_cut) @ (weight * slope)
    return float(total)


def _shells(tracers: Tracers, r: Values, lowest: Values, v_cut: float) -> Values:
    """Number per radius [edge] of galaxies slower than v_cut whose |cosine| with the line of sight exceeds lowest."""
    node, weight = _gauss_legendre(24)
    cosine = lowest[:, None] + (1 - lowest[:, None]) * 0.5 * (node + 1)
    sigma = _sight_dispersion(tracers, np.broadcast_to(r[:, None], cosine.shape), 1 - cosine**2)
    slow = erf(v_cut / np.sqrt(2) / sigma) @ (0.5 * weight) * (1 - lowest)
    c = tracers.c_galaxy * tracers.edge
    return slow * c**2 * r / (1 + c * r) ** 2 / nfw_mass(c)


class DensityTable(NamedTuple):
    """Spline coefficients of `log_density` for one kind of galaxies."""

    coefficients: Float[np.ndarray, "depth speed"]

    def __call__(self, R: Values, v: Values) -> Values:
        """Natural log of the density [edge^-2 V200^-1] at R [edge] and v [V200]; -inf beyond the edge.

        Good to 5e-5 within 3 standard deviations, 2e-4 within 4, 6e-4 within 5, 2e-3 within 6, and .1 at 10, where no
        galaxy is. R below 5e-5 counts as that, |v| above 16.4 as that.
        """
        depth = np.arccosh(np.maximum(1 / np.maximum(R, 1e-12), 1))
        where = np.stack([depth / _DEPTH, np.arcsinh(np.abs(v) / _SLOW) / _SPEED])
        limits = np.array([[_DEPTHS - 5], [_SPEEDS - 5]])
        smooth = map_coordinates(self.coefficients, np.minimum(where, limits), order=3, prefilter=False, mode="mirror")
        with np.errstate(divide="ignore"):
            return smooth + np.log(2 * depth)


def log_density_at(tracers: Tracers, R: Values, v: Values) -> Values:
    """Natural log of the density [edge^-2 V200^-1] of galaxies at R [edge] and v [V200]; -inf beyond the edge.

    Up to a thousand galaxies are integrated one by one, which is exact and takes a hundredth of the time of a table
    that is not remembered, as with an anisotropy that was never seen; more are looked up in a `DensityTable`.
    """
    if len(R) > _FEW:
        return density_table(tracers)(R, v)
    depth = np.arccosh(np.maximum(1 / np.maximum(R, 1e-12), 1))
    with np.errstate(divide="ignore"):
        return log_density(tracers, depth, v[:, None])[:, 0] + np.log(2 * depth)


def density_table(tracers: Tracers) -> DensityTable:
    """Density of galaxies, interpolated in ln c_mass and edge between twelve exact ones, which are remembered."""
    around = stencil(np.log(tracers.c_mass) / _LOG_C, 4), stencil(tracers.edge / _EDGE, 3)
    return DensityTable(mixed(lambda log_c, edge: _knot(log_c, tracers.c_galaxy, edge, tracers.anisotropy), *around))


@lru_cache(maxsize=2048)
def _knot(
    log_c: int, c_galaxy: float, edge: int, anisotropy: float | Literal["mamon_lokas"]
) -> Float[np.ndarray, "depth speed"]:
    tracers = Tracers(float(np.exp(log_c * _LOG_C)), c_galaxy, edge * _EDGE, anisotropy)
    speed = _SLOW * np.sinh(_SPEED * np.arange(_SPEEDS))
    exact = log_density(tracers, _DEPTH * np.arange(_DEPTHS), speed)
    return spline_filter(exact, order=3, mode="mirror")  # even in both: mirrors at 0 are exact

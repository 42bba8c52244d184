"""One halo in equilibrium: its size, how many galaxies it holds, where they are and how fast they move.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s]. Haloes are spherical NFW; galaxies trace a
wider NFW profile inside the Bryan-Norman virial radius and move isotropically.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.ndimage import map_coordinates

from clustermocks.cosmology import (
    Cosmology,
    Values,
    concentration,
    nfw_mass,
    radius_200c,
    truncation_radius,
    virial_ratio,
    virial_velocity,
)

_BIAS_MASSES, _BIASES = (13.5, 14.0, 14.5, 15.0), (0.896, 0.939, 0.982, 1.022)
OUTSKIRTS = 3.0  # how far a halo's own galaxies reach, in r200c
_LOG_X = np.linspace(np.log(1e-3), np.log(3.0), 161)  # radius / r200c
_LOG_C = np.linspace(np.log(0.5), np.log(120.0), 81)  # concentration


@final
@dataclass(frozen=True)
class HaloGalaxies:
    """How galaxies populate a halo; cut in accreted mass M_acc > 10^11 h^-1 Msun as in Ho et al. 2019.

    Attributes:
        richness: Mean number of satellites inside R_vir at M200c = 10^14 [1]. Read off the richness figure of Ho et al.
            2019, there inside about 1.35 r200c; R_vir is 1.29 r200c, 3 % in number, less than the figure tells.
        richness_slope: Its power of mass [1].
        richness_scatter: Relative scatter of the mean number, a Gamma distribution on top of Poisson [1].
        galaxy_concentration: r200c over the galaxies' scale radius [1] (Budzynski et al. 2012, MNRAS 423, 104: 2.6).
        concentration_scatter: Lognormal scatter of the mass' concentration [dex] (Diemer & Joyce 2019: .16).
        velocity_scatter: Lognormal scatter of a halo's line-of-sight dispersion at given mass, natural log [1]: stands
            in for triaxiality, anisotropy, mergers (Saro et al. 2013, ApJ 772, 47: 30-40 % in mass on one sight line).
    """

    richness: float = 28.2
    richness_slope: float = 0.91
    richness_scatter: float = 0.10
    galaxy_concentration: float = 2.6
    concentration_scatter: float = 0.16
    velocity_scatter: float = 0.12

    def __post_init__(self) -> None:
        for name in ("richness", "galaxy_concentration"):
            if not getattr(self, name) > 0:
                raise ValueError(f"HaloGalaxies: {name} must be positive, found {getattr(self, name)!r}.")
        for name in ("richness_scatter", "concentration_scatter", "velocity_scatter"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"HaloGalaxies: {name} must be in [0, 1), found {getattr(self, name)!r}.")

    def mean_number(self, log10_mass: ArrayLike) -> Values:
        """Mean number of satellites inside R_vir at log10 M200c [dex]; measured on 13.5 to 15, a power law beyond."""
        return self.richness * 10 ** (self.richness_slope * (np.asarray(log10_mass, float) - 14))


class Haloes(NamedTuple):
    """Haloes, each field (halo,): log10 M200c [dex], r200c and R_vir [h^-1 Mpc], c200c [1], V200 [km/s]."""

    log10_mass: Float[np.ndarray, "halo"]
    r_200c: Float[np.ndarray, "halo"]
    R_vir: Float[np.ndarray, "halo"]
    c_200c: Float[np.ndarray, "halo"]
    v_200: Float[np.ndarray, "halo"]


class Satellites(NamedTuple):
    """Galaxies relative to their halo: its index, separation [h^-1 Mpc], line-of-sight Jeans velocity [km/s]."""

    halo: Int[np.ndarray, "galaxy"]
    separation: Float[np.ndarray, "galaxy 3"]
    v_jeans: Float[np.ndarray, "galaxy"]


def velocity_bias(log10_mass: ArrayLike) -> Values:
    """Dispersion of galaxies over that of equilibrium in the NFW mass [1]: .90 at 13.5 to 1.02 at 15 dex, flat beyond.

    Tuned: it takes the isotropic Jeans dispersion, averaged over galaxies inside R_vir (342/498/726/1064 km/s at
    13.5/14/14.5/15), to the members' dispersions of Ho et al. 2019 (307/468/713/1087 km/s).
    """
    return np.interp(np.asarray(log10_mass, float), _BIAS_MASSES, _BIASES)


def jeans_dispersion(x: ArrayLike, c_mass: ArrayLike, c_galaxy: float) -> Values:
    r"""One-dimensional dispersion of isotropic NFW tracers in an NFW halo, in units of V200.

    $\sigma^2(x) = \frac{1}{\nu(x)} \int_x^\infty \nu(s) \frac{m(c s)}{m(c)} \frac{ds}{s^2}$ with
    $\nu(s) = s^{-1} (1 + c_g s)^{-2}$.

    Args:
        x: Radius / r200c [1], 1e-3 to 30.
        c_mass: Concentration of the mass [1].
        c_galaxy: Concentration of the tracers [1].

    References:
        Lokas & Mamon 2001, MNRAS 321, 155, eq. 6 with beta = 0; here by quadrature in ln s, good to 1e-6.
    """
    node, weight = np.polynomial.legendre.leggauss(64)
    u = np.exp(-7 * (node + 1))  # u = x/s; beyond s = e^14 x nothing is left
    x, c_mass = np.asarray(x, float)[..., None], np.asarray(c_mass, float)[..., None]
    tracers = u**3 * ((1 + c_galaxy * x) / (u + c_galaxy * x)) ** 2
    mass = nfw_mass(c_mass * x / u) / nfw_mass(c_mass)
    return np.sqrt((tracers * mass * u / x) @ (7 * weight))


@lru_cache(maxsize=16)
def _jeans_table(c_galaxy: float) -> Float[np.ndarray, "concentration radius"]:
    return jeans_dispersion(np.exp(_LOG_X), np.exp(_LOG_C)[:, None], c_galaxy)


def tabulated_dispersion(x: Values, c_mass: Values, c_galaxy: float) -> Values:
    """As jeans_dispersion, by bilinear interpolation: .1 % for x in [1e-3, 3], c_mass in [.5, 120], constant beyond."""
    row = (np.log(c_mass) - _LOG_C[0]) / (_LOG_C[1] - _LOG_C[0])
    column = (np.log(x) - _LOG_X[0]) / (_LOG_X[1] - _LOG_X[0])
    return map_coordinates(_jeans_table(c_galaxy), np.stack([row, column]), order=1, mode="nearest")


def nfw_radii(fraction: ArrayLike, x_max: ArrayLike) -> Values:
    """Radii [scale radii] inside which an NFW profile cut at x_max holds the given fractions; to 1e-5 for x < 60."""
    log_x, log_mass = _nfw_table()
    target = np.asarray(fraction, float) * nfw_mass(x_max)
    return np.exp(np.interp(np.log(np.maximum(target, 1e-12)), log_mass, log_x))


@lru_cache(maxsize=1)
def _nfw_table() -> tuple[Float[np.ndarray, "x"], Float[np.ndarray, "x"]]:
    log_x = np.linspace(np.log(1e-5), np.log(60.0), 4001)
    return log_x, np.log(nfw_mass(np.exp(log_x)))


@lru_cache(maxsize=16)
def _median_concentration(redshift: float, cosmology: Cosmology) -> tuple[Values, Values]:
    grid = np.linspace(10.5, 16.5, 241)
    return grid, np.log(concentration(10**grid, redshift, cosmology))


def draw_haloes(
    log10_mass: Float[np.ndarray, "halo"],
    rng: np.random.Generator,
    *,
    galaxies: HaloGalaxies,
    redshift: float,
    cosmology: Cosmology,
) -> Haloes:
    """Sizes and concentrations of haloes of log10 M200c [dex, 10.5 to 16.5]; concentration scatters lognormally."""
    median = np.interp(log10_mass, *_median_concentration(redshift, cosmology))
    scatter = np.log(10) * galaxies.concentration_scatter * rng.standard_normal(len(log10_mass))
    c_200c = np.exp(median + scatter)
    mass = 10**log10_mass
    r_200c = radius_200c(mass, redshift, cosmology)
    return Haloes(
        log10_mass=log10_mass,
        r_200c=r_200c,
        R_vir=r_200c * virial_ratio(c_200c, redshift, cosmology),
        c_200c=c_200c,
        v_200=virial_velocity(mass, redshift, cosmology),
    )


def isotropic(rng: np.random.Generator, n: int) -> Float[np.ndarray, "n 3"]:
    """n directions uniform on the sphere."""
    cosine, phi = rng.uniform(-1, 1, n), rng.uniform(0, 2 * np.pi, n)
    sine = np.sqrt(1 - cosine**2)
    return np.column_stack([sine * np.cos(phi), sine * np.sin(phi), cosine])


def draw_satellites(
    haloes: Haloes, rng: np.random.Generator, galaxies: HaloGalaxies, *, truncation: Values | None = None
) -> Satellites:
    """Satellites inside R_vir: Poisson x Gamma in number, NFW in radius, local Gaussian in line-of-sight velocity.

    The velocity is that of equilibrium: static in physical coordinates, so the peculiar velocity is it minus the Hubble
    flow across the halo.

    Args:
        haloes: The haloes.
        rng: Random numbers.
        galaxies: How they are populated.
        truncation: r_t / r200c [1] of each halo: its galaxies then go on beyond R_vir, to 3 r200c, as the same profile
            times [1 + (r/r_t)^4]^-2 (Diemer & Kravtsov 2014, ApJ 789, 1, eq. 4). None: they end at R_vir.
    """
    c_galaxy = galaxies.galaxy_concentration
    virial = haloes.R_vir / haloes.r_200c
    reach = virial if truncation is None else np.maximum(virial, OUTSKIRTS)
    mean = galaxies.mean_number(haloes.log10_mass) * nfw_mass(c_galaxy * reach) / nfw_mass(c_galaxy * virial)
    halo = np.repeat(np.arange(len(mean)), rng.poisson(mean * _richness_factor(rng, len(mean), galaxies)))
    x = nfw_radii(rng.uniform(size=len(halo)), c_galaxy * reach[halo]) / c_galaxy
    if truncation is not None:
        kept = (x < virial[halo]) | (rng.uniform(size=len(x)) < (1 + (x / truncation[halo]) ** 4) ** -2)
        halo, x = halo[kept], x[kept]
    amplitude = velocity_bias(haloes.log10_mass) * haloes.v_200
    amplitude = amplitude * np.exp(galaxies.velocity_scatter * rng.standard_normal(len(mean)))
    sigma = amplitude[halo] * tabulated_dispersion(x, haloes.c_200c[halo], c_galaxy)
    separation = (x * haloes.r_200c[halo])[:, None] * isotropic(rng, len(halo))
    return Satellites(halo, separation, sigma * rng.standard_normal(len(halo)))


def _richness_factor(rng: np.random.Generator, n: int, galaxies: HaloGalaxies) -> Float[np.ndarray, "halo"]:
    """Gamma variates of mean 1 and the richness scatter."""
    if not galaxies.richness_scatter:
        return np.ones(n)
    variance = galaxies.richness_scatter**2
    return rng.gamma(1 / variance, variance, n)


def truncation_radii(log10_mass: ArrayLike, redshift: float, cosmology: Cosmology) -> Values:
    """r_t / r200c [1] of haloes of log10 M200c [dex, 12 to 16]; interpolated."""
    return np.interp(np.asarray(log10_mass, float), *_truncation_table(redshift, cosmology))


@lru_cache(maxsize=16)
def _truncation_table(redshift: float, cosmology: Cosmology) -> tuple[Values, Values]:
    grid = np.linspace(12, 16, 81)
    return grid, truncation_radius(10**grid, redshift, cosmology)

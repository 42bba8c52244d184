"""Galaxies of a halo in equilibrium: how many it holds, where they are and how fast they move.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s]. The mass is NFW; galaxies trace a wider
NFW profile inside the Bryan-Norman virial radius, in Jeans equilibrium, both stretched along the halo's axes.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.ndimage import map_coordinates

from clustermocks.haloes.binding import highest_speed
from clustermocks.haloes.cosmology import Values, nfw_mass
from clustermocks.haloes.interpolation import mixed, stencil
from clustermocks.haloes.jeans import HIGHEST_BETA, LOWEST_BETA, anisotropy_at, radial_dispersion
from clustermocks.haloes.mergers import NONE, SOME, Mergers, draw_clumps
from clustermocks.haloes.structure import Haloes, nfw_radii
from clustermocks.haloes.triaxiality import SPHERES, TRIAXIAL, Shapes, draw_ellipsoids

_BIAS_MASSES, _BIASES = (13.5, 14.0, 14.5, 15.0), (0.896, 0.939, 0.982, 1.022)
_BOUND_BIASES = (0.910, 0.962, 1.017, 1.068)  # where the fastest galaxies are drawn anew
OUTSKIRTS = 3.0  # how far a halo's own galaxies reach, in r200c
_LOG_X = np.linspace(np.log(1e-3), np.log(3.0), 161)  # radius / r200c
_LOG_C = np.linspace(np.log(0.5), np.log(120.0), 81)  # concentration
_USUAL_C, _LOG_C_STEP, _BETA_STEP = 2.6, 0.4, 0.1  # of the galaxies' concentrations and anisotropies with exact tables


@final
@dataclass(frozen=True)
class HaloGalaxies:
    """How galaxies populate a halo; cut in accreted mass M_acc > 10^11 h^-1 Msun as in Ho et al. 2019.

    Attributes:
        richness: Mean number of satellites inside R_vir at M200c = 10^14 [1]. Read off the richness figure of Ho et al.
            2019, there inside about 1.35 r200c; R_vir is 1.29 r200c, 3 % in number, less than the figure's precision.
        richness_slope: Exponent of its power law in mass [1].
        richness_scatter: Relative scatter of the mean number, a Gamma distribution on top of Poisson [1].
        galaxy_concentration: r200c over the galaxies' scale radius [1] (Budzynski et al. 2012, MNRAS 423, 104: 2.6);
            None for that of the mass.
        concentration_scatter: Lognormal scatter of the mass' concentration [dex] (Diemer & Joyce 2019: .16).
        velocity_scatter: Lognormal scatter of a halo's dispersion at given mass, natural log [1]: stands in for
            whatever disturbs equilibrium but shapes and mergers. Tuned: with those it makes the pure M-sigma relation's
            scatter along one line of sight, .069 dex (Ho et al. 2019; Saro et al. 2013, ApJ 772, 47: 30-40 % in mass).
        velocity_bias: Dispersion over that of equilibrium [1]; None for the tuned function `velocity_bias` of mass.
        dispersion_factor: Further factor on the dispersion, at 10^14.5 h^-1 Msun [1].
        dispersion_slope: Change of this factor with log10 M200c [1/dex].
        anisotropy: Velocity anisotropy beta, -1 to .5, the same everywhere, or "mamon_lokas": 0 in the centre, .5 far
            out (Mamon & Lokas 2005, MNRAS 363, 705).
        turnaround: How far galaxies get from a halo, in r200c: 4.96 +- 1.48 in observed clusters (Rines & Diaferio
            2006, AJ 132, 1275). Faster ones are drawn anew, since the wings of a Gaussian are not those of N-body
            haloes, whose members' velocities have a negative kurtosis. None for no such end.
        shapes: Axis ratios of clusters; neighbouring haloes are spheres.
        mergers: How many clusters have a second clump; neighbouring haloes have none.
        central: Whether haloes with satellites have a galaxy at rest in the centre, where centrals are galaxies at all.
    """

    richness: float = 28.2
    richness_slope: float = 0.91
    richness_scatter: float = 0.10
    galaxy_concentration: float | None = 2.6
    concentration_scatter: float = 0.16
    velocity_scatter: float = 0.07
    velocity_bias: float | None = None
    dispersion_factor: float = 1.0
    dispersion_slope: float = 0.0
    anisotropy: float | Literal["mamon_lokas"] = 0.0
    turnaround: float | None = None
    shapes: Shapes = TRIAXIAL
    mergers: Mergers = SOME
    central: bool = True

    def __post_init__(self) -> None:
        for name in ("richness", "galaxy_concentration", "velocity_bias", "dispersion_factor"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"HaloGalaxies: {name} must be positive, found {getattr(self, name)!r}.")
        for name in ("richness_scatter", "concentration_scatter", "velocity_scatter"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"HaloGalaxies: {name} must be in [0, 1), found {getattr(self, name)!r}.")
        if self.turnaround is not None and not self.turnaround > OUTSKIRTS:
            raise ValueError(f"HaloGalaxies: turnaround must be above {OUTSKIRTS:g} r200c, found {self.turnaround!r}.")
        beta = self.anisotropy
        if beta != "mamon_lokas" and (isinstance(beta, str) or not LOWEST_BETA <= beta <= HIGHEST_BETA):
            raise ValueError(
                f"HaloGalaxies: anisotropy must be {LOWEST_BETA:g} to {HIGHEST_BETA:g} or 'mamon_lokas', "
                f"found {beta!r}."
            )

    def mean_number(self, log10_mass: ArrayLike) -> Values:
        """Mean number of satellites inside R_vir at log10 M200c [dex]; measured on 13.5 to 15, a power law beyond."""
        return self.richness * 10 ** (self.richness_slope * (np.asarray(log10_mass, float) - 14))


class Satellites(NamedTuple):
    """Galaxies relative to their halo: its index, separation [h^-1 Mpc], Jeans velocity [km/s]."""

    halo: Int[np.ndarray, "galaxy"]
    separation: Float[np.ndarray, "galaxy 3"]
    v_jeans: Float[np.ndarray, "galaxy 3"]


def velocity_bias(log10_mass: ArrayLike, turnaround: float | None = None) -> Values:
    """Dispersion of galaxies over that of equilibrium in the NFW mass [1]: .90 at 13.5 to 1.02 at 15 dex, flat beyond.

    Tuned: it takes the isotropic Jeans dispersion, averaged over galaxies inside R_vir (342/498/726/1064 km/s at
    13.5/14/14.5/15), to the members' dispersions of Ho et al. 2019 (307/468/713/1087 km/s).
    """
    biases = _BIASES if turnaround is None else _BOUND_BIASES
    return np.interp(np.asarray(log10_mass, float), _BIAS_MASSES, biases)


@lru_cache(maxsize=16)
def _jeans_table(galaxies: HaloGalaxies) -> Float[np.ndarray, "concentration radius"]:
    """Radial dispersion [V200], interpolated to 3e-4 in the galaxies' concentration and in a constant anisotropy."""
    c_galaxy, beta = galaxies.galaxy_concentration, galaxies.anisotropy
    concentrations = [(None, 1.0)] if c_galaxy is None else stencil(np.log(c_galaxy / _USUAL_C) / _LOG_C_STEP, 4)
    highest = round(HIGHEST_BETA / _BETA_STEP)
    betas = [(beta, 1.0)] if isinstance(beta, str) else stencil(beta / _BETA_STEP, 4, highest=highest)
    return np.exp(mixed(_log_jeans, concentrations, betas))


@lru_cache(maxsize=256)
def _log_jeans(c_galaxy: int | None, beta: int | Literal["mamon_lokas"]) -> Float[np.ndarray, "concentration radius"]:
    """Natural log of the dispersion, by the steps of the galaxies' concentration and of beta."""
    c_mass = np.exp(_LOG_C)[:, None]
    of_galaxies = c_mass if c_galaxy is None else _USUAL_C * np.exp(_LOG_C_STEP * c_galaxy)
    anisotropy = beta if isinstance(beta, str) else _BETA_STEP * beta
    return np.log(radial_dispersion(np.exp(_LOG_X), c_mass, of_galaxies, anisotropy))


def tabulated_dispersion(x: Values, c_mass: Values, galaxies: HaloGalaxies) -> Values:
    """Radial dispersion in units of V200, as `jeans.radial_dispersion`.

    Bilinear interpolation: .1 % for x in [1e-3, 3], c_mass in [.5, 120], constant beyond.
    """
    row = (np.log(c_mass) - _LOG_C[0]) / (_LOG_C[1] - _LOG_C[0])
    column = (np.log(x) - _LOG_X[0]) / (_LOG_X[1] - _LOG_X[0])
    return map_coordinates(_jeans_table(galaxies), np.stack([row, column]), order=1, mode="nearest")


def isotropic(rng: np.random.Generator, n: int) -> Float[np.ndarray, "n 3"]:
    """n directions uniform on the sphere."""
    cosine, phi = rng.uniform(-1, 1, n), rng.uniform(0, 2 * np.pi, n)
    sine = np.sqrt(1 - cosine**2)
    return np.column_stack([sine * np.cos(phi), sine * np.sin(phi), cosine])


def draw_satellites(
    haloes: Haloes,
    rng: np.random.Generator,
    galaxies: HaloGalaxies,
    *,
    truncation: Values | None = None,
    relaxed: bool = False,
) -> Satellites:
    """Satellites inside R_vir: Poisson x Gamma in number, NFW in radius, local Gaussian in velocity.

    The velocity is that of equilibrium: static in physical coordinates, so the peculiar velocity is it minus the Hubble
    flow across the halo.

    With a truncation r_t / r200c [1] of each halo its galaxies go on beyond R_vir, to 3 r200c, as the same profile
    times [1 + (r/r_t)^4]^-2 (Diemer & Kravtsov 2014, ApJ 789, 1, eq. 4). Relaxed haloes are spheres without mergers.
    """
    clumps = draw_clumps(haloes, rng, NONE if relaxed else galaxies.mergers)
    mean = galaxies.mean_number(haloes.log10_mass + np.log10(clumps.total))
    halo, x = _draw_radii(haloes, mean * _richness_factor(rng, len(mean), galaxies), rng, galaxies, truncation)
    shapes = SPHERES if relaxed else galaxies.shapes
    direction, unit = _orbits(halo, x, haloes.c_200c[halo], rng, anisotropy=galaxies.anisotropy, shapes=shapes)
    amplitude = haloes.v_200 * np.exp(galaxies.velocity_scatter * rng.standard_normal(len(mean)))
    amplitude = amplitude * (galaxies.velocity_bias or velocity_bias(haloes.log10_mass, galaxies.turnaround))
    amplitude *= galaxies.dispersion_factor + galaxies.dispersion_slope * (haloes.log10_mass - 14.5)
    sigma = amplitude[halo] * tabulated_dispersion(x, haloes.c_200c[halo], galaxies)
    separation, v_jeans = (x * haloes.r_200c[halo])[:, None] * direction, sigma[:, None] * unit
    if galaxies.turnaround is not None:
        highest = highest_speed(x, haloes.c_200c[halo], galaxies.turnaround) * haloes.v_200[halo]
        v_jeans = _bound(v_jeans, highest, rng)
    return Satellites(halo, *clumps.merge(halo, separation, v_jeans, rng))


def _draw_radii(
    haloes: Haloes,
    mean: Float[np.ndarray, "halo"],
    rng: np.random.Generator,
    galaxies: HaloGalaxies,
    truncation: Values | None,
) -> tuple[Int[np.ndarray, "galaxy"], Float[np.ndarray, "galaxy"]]:
    """Halo and radius / r200c of satellites, of which `mean` are expected inside R_vir."""
    c_galaxy = haloes.c_200c if galaxies.galaxy_concentration is None else galaxies.galaxy_concentration
    c_galaxy = np.broadcast_to(c_galaxy, mean.shape)
    virial = haloes.R_vir / haloes.r_200c
    reach = virial if truncation is None else np.maximum(virial, OUTSKIRTS)
    number = rng.poisson(mean * nfw_mass(c_galaxy * reach) / nfw_mass(c_galaxy * virial))
    halo = np.repeat(np.arange(len(mean)), number)
    x = nfw_radii(rng.uniform(size=len(halo)), (c_galaxy * reach)[halo]) / c_galaxy[halo]
    if truncation is None:
        return halo, x
    kept = (x < virial[halo]) | (rng.uniform(size=len(x)) < (1 + (x / truncation[halo]) ** 4) ** -2)
    return halo[kept], x[kept]


def _orbits(
    halo: Int[np.ndarray, "galaxy"],
    x: Values,
    c_mass: Values,
    rng: np.random.Generator,
    *,
    anisotropy: float | Literal["mamon_lokas"],
    shapes: Shapes,
) -> tuple[Float[np.ndarray, "galaxy 3"], Float[np.ndarray, "galaxy 3"]]:
    """Directions from the centre, and velocities in units of the radial dispersion.

    A halo's mean square velocity at a radius is that of the sphere, 3 - 2 beta, whatever its shape.
    """
    unit = rng.standard_normal((len(halo), 3))
    if shapes == SPHERES:
        direction, ellipsoids = isotropic(rng, len(halo)), None
    else:
        ellipsoids = draw_ellipsoids(int(halo.max(initial=-1)) + 1, rng, shapes)
        direction = ellipsoids.directions(halo, rng)
    if anisotropy != 0:
        beta = anisotropy_at(x, c_mass, anisotropy)[:, None]
        tangential = np.sqrt(1 - beta)
        radial = (unit * direction).sum(axis=1, keepdims=True) * direction
        unit = tangential * unit + (1 - tangential) * radial
        if ellipsoids is not None:
            along = ellipsoids.radial_square()[halo, None]
            unit *= np.sqrt((3 - 2 * beta) / (3 - 3 * beta + beta * along))
    if ellipsoids is not None:
        unit = np.einsum("gij,gj->gi", ellipsoids.velocity[halo], unit)
    return direction, unit


def _bound(
    velocity: Float[np.ndarray, "galaxy 3"], highest: Values, rng: np.random.Generator
) -> Float[np.ndarray, "galaxy 3"]:
    """Velocities of which those above the highest speed are drawn anew, evenly from the ball of all below it."""
    speed = np.linalg.norm(velocity, axis=1)
    fast = np.flatnonzero(speed > highest)
    velocity[fast] *= (highest[fast] * np.cbrt(rng.uniform(size=len(fast))) / speed[fast])[:, None]
    return velocity


def _richness_factor(rng: np.random.Generator, n: int, galaxies: HaloGalaxies) -> Float[np.ndarray, "halo"]:
    """Gamma variates of mean 1 and the richness scatter."""
    if not galaxies.richness_scatter:
        return np.ones(n)
    variance = galaxies.richness_scatter**2
    return rng.gamma(1 / variance, variance, n)

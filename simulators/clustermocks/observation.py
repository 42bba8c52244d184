"""What an observer sees of galaxies around a cluster: lines of sight, line-of-sight velocities, the cylinder.

The same code serves the simulator, N-body catalogues and observed redshifts. Lengths are comoving [h^-1 Mpc],
velocities physical [km/s]. Plane-parallel geometry, no light cone (Ho et al. 2019, ApJ 887, 25, appendix A).
"""

from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from clustermocks.haloes.cosmology import MDPL2, SPEED_OF_LIGHT, Cosmology, Values
from clustermocks.kinematics.biweight import biweight_location
from clustermocks.kinematics.padding import padded_rows

_NEAR = 0.8  # of the distance to the cluster, in velocity: how far a window reaches at most
CENTRINGS, STILL = 20, 1.0  # steps towards a centre at most; a step that is none [km/s]
Vectors: TypeAlias = Float[np.ndarray, "*batch 3"]


@final
@dataclass(frozen=True)
class Observation:
    """Redshift of the clusters and limits of their galaxies; the defaults are those of Kodi Ramanah et al. 2020.

    Attributes:
        redshift: Cosmological redshift of the clusters [1].
        aperture: Largest projected distance from the centre [comoving h^-1 Mpc].
        v_cut: Largest line-of-sight velocity relative to the cluster [km/s].
        min_galaxies: Smallest number of galaxies in the cylinder for a cluster to be used.
    """

    redshift: float = 0.117
    aperture: float = 1.6
    v_cut: float = 2500.0
    min_galaxies: int = 10

    def __post_init__(self) -> None:
        for name, low, high in (("redshift", 0, 3), ("aperture", 0, 20), ("v_cut", 0, 20_000)):
            value = getattr(self, name)
            if not low < value <= high:
                raise ValueError(f"Observation: {name} must be above {low} and at most {high}, found {value!r}.")
        if self.min_galaxies < 0 or self.min_galaxies != int(self.min_galaxies):
            raise ValueError(f"Observation: min_galaxies must be a whole number >= 0, found {self.min_galaxies!r}.")


def widest_window(v_cut: float, redshift: float) -> float:
    """Half-width of the velocity window of a cluster [km/s]: v_cut, but at most .8 c z, not to reach the observer."""
    return min(v_cut, _NEAR * SPEED_OF_LIGHT * redshift) if redshift > 0 else v_cut


def relative_velocity(z_galaxy: ArrayLike, z_cluster: ArrayLike) -> Values:
    """Line-of-sight velocity of a galaxy in the rest frame of a cluster, from two observed redshifts.

    v = c D((1+z_g)/(1+z_c) - 1) with D(z) = ((1+z)^2 - 1)/((1+z)^2 + 1): the special-relativistic Doppler formula.
    Equal to subtracting the two recession velocities relativistically (Ho et al. 2019, appendix A).

    Args:
        z_galaxy: Observed redshift of the galaxy [1].
        z_cluster: Observed redshift of the cluster [1].

    Returns:
        v_los [km/s].
    """
    ratio = (1 + np.asarray(z_galaxy, float)) / (1 + np.asarray(z_cluster, float))
    return SPEED_OF_LIGHT * (ratio - 1) * (ratio + 1) / (ratio**2 + 1)


def observed_redshift(z_cosmological: ArrayLike, v_peculiar: ArrayLike) -> Values:
    """Redshift of a source at z_cosmological that recedes at v_peculiar [km/s]: 1+z = (1+z_H) sqrt((1+b)/(1-b))."""
    beta = np.asarray(v_peculiar, float) / SPEED_OF_LIGHT
    return (1 + np.asarray(z_cosmological, float)) * np.sqrt((1 + beta) / (1 - beta)) - 1


def subtract_velocity(v_los: ArrayLike, v_centre: ArrayLike) -> Values:
    """The velocities v_los [km/s] as seen from something that itself moves at v_centre [km/s], (a-b)/(1-ab/c^2)."""
    v_los, v_centre = np.asarray(v_los, float), np.asarray(v_centre, float)
    return (v_los - v_centre) / (1 - v_los * v_centre / SPEED_OF_LIGHT**2)


def line_of_sight_velocity(
    z_proj: ArrayLike,
    v_peculiar_galaxy: ArrayLike,
    v_peculiar_cluster: ArrayLike = 0.0,
    redshift: float = Observation.redshift,
    cosmology: Cosmology = MDPL2,
) -> Values:
    """Relativistic line-of-sight velocity relative to the cluster, Hubble flow included.

    Args:
        z_proj: Distance of the galaxy behind the cluster along the line of sight [comoving h^-1 Mpc].
        v_peculiar_galaxy: Peculiar velocity of the galaxy away from the observer [km/s].
        v_peculiar_cluster: Peculiar velocity of the cluster [km/s].
        redshift: Cosmological redshift of the cluster [1].
        cosmology: Background cosmology.

    Returns:
        v_los [km/s]; to first order H z_proj/(1+z) + v_peculiar_galaxy - v_peculiar_cluster.

    References:
        Ho et al. 2019, ApJ 887, 25, appendix A.
    """
    distance = cosmology.comoving_distance(redshift) + np.asarray(z_proj, float)
    z_galaxy = observed_redshift(cosmology.redshift_at(distance), v_peculiar_galaxy)
    return relative_velocity(z_galaxy, observed_redshift(redshift, v_peculiar_cluster))


def wrap(separation: ArrayLike, box: float) -> Values:
    """Nearest periodic image of a separation along the box axes, in [-box/2, box/2); same unit as the box."""
    if not box > 0:
        raise ValueError(f"wrap: the side of the periodic box must be positive, found {box!r}.")
    half = box / 2
    return (np.asarray(separation, float) + half) % box - half


def sky_basis(line_of_sight: ArrayLike) -> tuple[Vectors, Vectors, Vectors]:
    """Right-handed orthonormal sky axes e1, e2 and the unit line of sight n = e1 x e2, each (3,).

    For n along the box's z axis, e1 and e2 are its x and y axes.

    Raises:
        ValueError: if line_of_sight is not a finite vector of three numbers, or is zero.

    References:
        Duff et al. 2017, JCGT 6, 1 (stable for every direction).
    """
    vector = np.asarray(line_of_sight, float)
    norm = np.linalg.norm(vector)
    if vector.shape != (3,) or not np.isfinite(norm) or norm == 0:
        raise ValueError(f"sky_basis: a line of sight is three finite numbers, not all 0; found {line_of_sight!r}.")
    x, y, z = n = vector / norm
    sign = np.copysign(1.0, z)
    a = -1 / (sign + z)
    e1 = np.array([1 + sign * x**2 * a, sign * x * y * a, -sign * x])
    return e1, np.array([x * y * a, sign + y**2 * a, -y]), n


def project(separation: Vectors, line_of_sight: ArrayLike) -> tuple[Values, Values, Values]:
    """Components x_proj, y_proj on the sky and z_proj along the line of sight of 3-D separations (..., 3)."""
    x_proj, y_proj, z_proj = np.moveaxis(np.asarray(separation, float) @ np.stack(sky_basis(line_of_sight)).T, -1, 0)
    return x_proj, y_proj, z_proj


def in_cylinder(R_proj: ArrayLike, v_los: ArrayLike, observation: Observation) -> Bool[np.ndarray, "*batch"]:
    """Whether R_proj [comoving h^-1 Mpc] < aperture and |v_los| [km/s] < v_cut, both strictly."""
    return (np.asarray(R_proj) < observation.aperture) & (np.abs(v_los) < observation.v_cut)


def centre_velocity(v_los: Float[np.ndarray, "galaxy"], v_cut: float) -> float:
    """Velocity of the centre of one cluster [km/s], by the steps of `centre_velocities`.

    Args:
        v_los: Velocities of the galaxies in the aperture [km/s].
        v_cut: Half-width of the window about the centre [km/s].

    Returns:
        0 where the window holds no galaxy from the start.
    """
    centre = 0.0
    for _ in range(CENTRINGS):
        relative = subtract_velocity(v_los, centre)
        near = relative[np.abs(relative) < v_cut]
        step = float(biweight_location(near)) if near.size else 0.0
        centre += step
        if abs(step) <= STILL:
            break
    return centre


def centre_velocities(
    v_los: Float[np.ndarray, "galaxy"],
    cluster: Int[np.ndarray, "galaxy"],
    inside: Bool[np.ndarray, "galaxy"],
    *,
    n: int,
    v_cut: float,
) -> Float[np.ndarray, "cluster"]:
    """Velocity of each cluster's centre by its galaxies: biweight location of those within v_cut of it, iterated.

    Starts from velocity 0 (the redshift that v_los refers to) and stops once no centre moves by 1 km/s.

    Args:
        v_los: Line-of-sight velocities of all galaxies [km/s], sorted by cluster.
        cluster: Index of each galaxy's cluster.
        inside: True for a galaxy inside the aperture.
        n: Number of clusters.
        v_cut: Half-width of the velocity window [km/s].

    Returns:
        Centre [km/s]; 0 where the window holds no galaxy from the start.

    References:
        Beers, Flynn & Gebhardt 1990, AJ 100, 32 (biweight).
    """
    count, centre = np.bincount(cluster[inside], minlength=n), np.zeros(n)
    padded = padded_rows(np.asarray(v_los[inside], float), count, padding=np.nan)
    moving = np.flatnonzero((np.abs(padded) < v_cut).any(axis=1))
    for _ in range(CENTRINGS):
        if not moving.size:
            break
        relative = subtract_velocity(padded[moving], centre[moving, None])
        window = np.abs(relative) < v_cut
        some, step = window.any(axis=1), np.zeros(len(moving))
        step[some] = biweight_location(np.where(window, relative, np.nan)[some])
        centre[moving] = centre[moving] + step
        moving = moving[np.abs(step) > STILL]
    return centre


def lines_of_sight(n: int, seed: int | None = None) -> Float[np.ndarray, "line 3"]:
    """n unit vectors along which to look: the axes of the box up to three, evenly spread over a half sphere beyond.

    A line and its opposite show the same cluster mirrored, hence half a sphere.

    Args:
        n: Number of lines of sight, at least 1.
        seed: Turns the spread lines about the third axis by a random angle; not at all if None.

    Raises:
        ValueError: n is not a whole number of at least 1.

    References:
        Swinbank & Purser 2006, QJRMS 132, 1769 (Fibonacci sphere); Ho et al. 2019, ApJ 887, 25 (its use).
    """
    if n < 1 or n != int(n):
        raise ValueError(f"lines_of_sight: n must be a whole number of at least 1, found {n!r}.")
    if n <= 3:
        return np.eye(3)[::-1][:n].copy()
    turn = 0.0 if seed is None else np.random.default_rng(seed).uniform(0, 2 * np.pi)
    cosine = (np.arange(n) + 0.5) / n
    phi = turn + np.arange(n) * np.pi * (3 - np.sqrt(5))
    sine = np.sqrt(1 - cosine**2)
    return np.column_stack([sine * np.cos(phi), sine * np.sin(phi), cosine])

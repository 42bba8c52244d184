"""Spectroscopy of galaxies in and around clusters: which are observed, their projected distances and velocities.

Lengths are comoving [h^-1 Mpc], angles in seconds of arc, velocities [km/s]. The line of sight is the third axis.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy.spatial import KDTree

from clustermocks.haloes.cosmology import Cosmology, Values
from clustermocks.observation import (
    Observation,
    centre_velocities,
    in_cylinder,
    line_of_sight_velocity,
    subtract_velocity,
)

_ARCSEC = np.pi / 180 / 3600


@final
@dataclass(frozen=True)
class RadialCompleteness:
    """Probability that a galaxy has a redshift, linear in projected distance: from the centre to the aperture's edge.

    Attributes:
        centre: Probability at the assumed centre [1].
        edge: Probability at the aperture, and for members beyond it [1].
    """

    centre: float
    edge: float

    def __post_init__(self) -> None:
        for name in ("centre", "edge"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"RadialCompleteness: {name} must be 0 to 1, found {getattr(self, name)!r}.")

    def __call__(self, R_proj: ArrayLike, aperture: float) -> Values:
        """Probability [1] at a projected distance from the assumed centre [same unit as the aperture]."""
        fraction = np.minimum(np.asarray(R_proj, float) / aperture, 1.0)
        return self.centre + (self.edge - self.centre) * fraction


class SurveyChoices(Protocol):
    """How clusters are observed: `HaloModel` for simulated ones, `BoxView` for those of a box; documented there."""

    @property
    def observation(self) -> Observation: ...
    @property
    def cosmology(self) -> Cosmology: ...
    @property
    def recentre(self) -> bool: ...
    @property
    def centre_error(self) -> float: ...
    @property
    def velocity_error(self) -> float: ...
    @property
    def completeness(self) -> float | RadialCompleteness: ...
    @property
    def fibre_collision(self) -> float: ...


class IntrinsicGalaxies(NamedTuple):
    """Galaxies before observation: index of the cluster, position from its centre, line-of-sight peculiar velocity."""

    cluster: Int[np.ndarray, "galaxy"]
    position: Float[np.ndarray, "galaxy 3"]
    v_peculiar: Float[np.ndarray, "galaxy"]


class ObservedClusters(NamedTuple):
    """Columns of clusters and of their galaxies, sorted by cluster, and the number of galaxies of each cluster."""

    clusters: Mapping[str, np.ndarray]
    galaxies: Mapping[str, np.ndarray]
    counts: Int[np.ndarray, "cluster"]


class Targets(NamedTuple):
    """Galaxies with a redshift: index among all galaxies, distance from the assumed centre, error of the velocity."""

    row: Int[np.ndarray, "target"]
    R_proj: Float[np.ndarray, "target"]
    v_error: Float[np.ndarray, "target"]


def observe(
    choices: SurveyChoices, R_vir: Float[np.ndarray, "cluster"], galaxies: IntrinsicGalaxies, rng: np.random.Generator
) -> ObservedClusters:
    """Measure projected distances and velocities; galaxies that are neither members nor in the cylinder are dropped."""
    observation, n = choices.observation, len(R_vir)
    is_member = np.linalg.norm(galaxies.position, axis=1) < R_vir[galaxies.cluster]
    row, R_proj, v_error = choose_targets(choices, galaxies.position[:, :2], galaxies.cluster, is_member, rng, n=n)
    cluster, is_member = galaxies.cluster[row], is_member[row]
    v_los = v_error + line_of_sight_velocity(
        galaxies.position[row, 2], galaxies.v_peculiar[row], 0.0, observation.redshift, choices.cosmology
    )
    v_los, v_centre = recentred(choices, v_los, cluster, R_proj, n=n)
    inside = in_cylinder(R_proj, v_los, observation)
    kept = inside | is_member
    return ObservedClusters(
        {"velocity_offset": v_centre},
        {"R_proj": R_proj[kept], "v_los": v_los[kept], "is_member": is_member[kept], "in_cylinder": inside[kept]},
        np.bincount(cluster[kept], minlength=n),
    )


def choose_targets(
    choices: SurveyChoices,
    sky: Float[np.ndarray, "galaxy 2"],
    cluster: Int[np.ndarray, "galaxy"],
    is_member: Bool[np.ndarray, "galaxy"],
    rng: np.random.Generator,
    *,
    n: int,
) -> Targets:
    """Members and what lies inside the aperture of n clusters, less what has no fibre or no redshift.

    Args:
        choices: How clusters are observed.
        sky: Positions relative to the true centre [comoving h^-1 Mpc].
        cluster: Index of each galaxy's cluster.
        is_member: Whether it is a member.
        rng: Random numbers: first of the centres, then of fibres, redshifts and velocities.
        n: Number of clusters.
    """
    observation = choices.observation
    centre = choices.centre_error * rng.standard_normal((n, 2))
    R_proj = np.hypot(*(sky - centre[cluster]).T)
    row = np.flatnonzero(is_member | (R_proj < observation.aperture))
    least = fibre_distance(choices.fibre_collision, observation.redshift, choices.cosmology)
    row = row[without_collisions(sky[row], cluster[row], least, rng)]
    row = row[with_redshift(choices.completeness, R_proj[row], observation.aperture, rng)]
    return Targets(row, R_proj[row], choices.velocity_error * rng.standard_normal(len(row)))


def recentred(
    choices: SurveyChoices,
    v_los: Float[np.ndarray, "galaxy"],
    cluster: Int[np.ndarray, "galaxy"],
    R_proj: Float[np.ndarray, "galaxy"],
    *,
    n: int,
) -> tuple[Float[np.ndarray, "galaxy"], Float[np.ndarray, "cluster"]]:
    """Velocities relative to the redshift measured from the galaxies, and the error of that redshift [km/s]."""
    observation = choices.observation
    if not choices.recentre:
        return v_los, np.zeros(n)
    inside = R_proj < observation.aperture
    v_centre = centre_velocities(v_los, cluster, inside, n=n, v_cut=observation.v_cut)
    return subtract_velocity(v_los, v_centre[cluster]), v_centre


def with_redshift(
    completeness: float | RadialCompleteness,
    R_proj: Float[np.ndarray, "galaxy"],
    aperture: float,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "galaxy"]:
    """Which galaxies get a redshift, each independently; no random numbers are drawn where all do."""
    if completeness == 1:
        return np.ones(len(R_proj), bool)
    probability = completeness(R_proj, aperture) if isinstance(completeness, RadialCompleteness) else completeness
    return rng.uniform(size=len(R_proj)) < probability


def fibre_distance(fibre_collision: float, redshift: float, cosmology: Cosmology) -> float:
    """Distance on the sky [comoving h^-1 Mpc] that an angle [arcsec] spans at a redshift, in a flat universe."""
    return float(fibre_collision * _ARCSEC * cosmology.comoving_distance(redshift))


def without_collisions(
    sky: Float[np.ndarray, "galaxy 2"],
    cluster: Int[np.ndarray, "galaxy"],
    least: float,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "galaxy"]:
    """Which galaxies get a fibre: in random order, each that is far enough from all of its cluster that have one.

    No two that are kept are closer than `least`, and each that is dropped is closer than that to one that is kept.

    Args:
        sky: Positions on the sky [comoving h^-1 Mpc].
        cluster: Galaxies of different clusters never collide.
        least: Least distance between fibres [comoving h^-1 Mpc].
        rng: Random numbers.
    """
    if not least or not len(sky):
        return np.ones(len(sky), bool)
    extent = float(np.ptp(sky, axis=0).max()) + 2 * least
    shifted = sky + np.column_stack([cluster * extent, np.zeros(len(sky))])  # clusters side by side
    pairs = KDTree(shifted).query_pairs(least, output_type="ndarray")
    return _first_come(pairs, rng.permutation(len(sky)))


def _first_come(pairs: Int[np.ndarray, "pair 2"], turn: Int[np.ndarray, "galaxy"]) -> Bool[np.ndarray, "galaxy"]:
    """Which galaxies are kept if each, in its turn, excludes all that it is paired with; vectorised over rounds."""
    early, late = np.where((turn[pairs[:, 0]] < turn[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1]).T
    kept = np.ones(len(turn), bool)
    while len(early):
        contested = np.zeros(len(turn), bool)
        contested[late] = True
        safe = ~contested[early]  # no earlier one remains: they stay and exclude the later ones
        kept[late[safe]] = False
        left = kept[early] & kept[late]
        early, late = early[left], late[left]
    return kept

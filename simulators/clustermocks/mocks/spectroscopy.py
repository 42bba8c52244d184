"""Spectroscopy of galaxies in and around clusters: which are observed, their projected distances and velocities.

Lengths are comoving [h^-1 Mpc], angles in seconds of arc, velocities [km/s]. The line of sight is the third axis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy.spatial import KDTree

from clustermocks.haloes.cosmology import Cosmology, Values
from clustermocks.io.settings import check_ranges
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
        check_ranges(self, centre=(0, 1), edge=(0, 1))

    def __call__(self, R_proj: ArrayLike, aperture: float) -> Values:
        """Probability [1] at a projected distance from the assumed centre [same unit as the aperture]."""
        fraction = np.minimum(np.asarray(R_proj, float) / aperture, 1.0)
        return self.centre + (self.edge - self.centre) * fraction


SURVEY_RANGES = {
    "centre_error": (0, 2.0, "h^-1 Mpc"),
    "velocity_error": (0, 2000.0, "km/s"),
    "completeness": (0, 1.0, "a fraction"),
    "fibre_collision": (0, 3600.0, "arcsec"),
}


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

    @classmethod
    def concatenate(cls, parts: Sequence["ObservedClusters"]) -> "ObservedClusters":
        """Join parts with the same columns, one after another."""
        return cls(
            {name: np.concatenate([part.clusters[name] for part in parts]) for name in parts[0].clusters},
            {name: np.concatenate([part.galaxies[name] for part in parts]) for name in parts[0].galaxies},
            np.concatenate([part.counts for part in parts]),
        )


class Targets(NamedTuple):
    """Galaxies with a redshift: index among all galaxies, distance from the assumed centre, error of the velocity."""

    row: Int[np.ndarray, "target"]
    R_proj: Float[np.ndarray, "target"]
    v_error: Float[np.ndarray, "target"]


def observe(
    choices: SurveyChoices, R_vir: Float[np.ndarray, "cluster"], galaxies: IntrinsicGalaxies, rng: np.random.Generator
) -> ObservedClusters:
    """Choose the galaxies of clusters at rest that get a redshift, and measure them."""
    n = len(R_vir)
    is_member = np.linalg.norm(galaxies.position, axis=1) < R_vir[galaxies.cluster]
    targets = choose_targets(choices, galaxies.position[:, :2], galaxies.cluster, is_member, rng, n=n)
    return measure(choices, galaxies, is_member, targets, v_cluster=np.zeros(n))


def measure(
    choices: SurveyChoices,
    galaxies: IntrinsicGalaxies,
    is_member: Bool[np.ndarray, "galaxy"],
    targets: Targets,
    *,
    v_cluster: Float[np.ndarray, "cluster"],
) -> ObservedClusters:
    """Measure targets among the galaxies, which are sorted by cluster; the clusters recede at `v_cluster` [km/s].

    Targets that are neither members nor in the cylinder are dropped.
    """
    observation, n = choices.observation, len(v_cluster)
    row, R_proj, v_error = targets
    cluster, is_member = galaxies.cluster[row], is_member[row]
    z_proj, v_peculiar = galaxies.position[row, 2], galaxies.v_peculiar[row]
    v_los = v_error + line_of_sight_velocity(
        z_proj, v_peculiar, v_cluster[cluster], observation.redshift, choices.cosmology
    )
    v_centre = np.zeros(n)
    if choices.recentre:
        v_centre = centre_velocities(v_los, cluster, R_proj < observation.aperture, n=n, v_cut=observation.v_cut)
        v_los = subtract_velocity(v_los, v_centre[cluster])
    inside = in_cylinder(R_proj, v_los, observation)
    kept = inside | is_member
    columns = {"R_proj": R_proj, "v_los": v_los, "is_member": is_member, "in_cylinder": inside}
    return ObservedClusters(
        {"velocity_offset": v_centre},
        {name: values[kept] for name, values in columns.items()},
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

    Positions on the sky are relative to the true centre [comoving h^-1 Mpc]. Random numbers are drawn first for the
    centres, then for fibres, redshifts and velocities.
    """
    observation = choices.observation
    centre = choices.centre_error * rng.standard_normal((n, 2))
    R_proj = np.hypot(*(sky - centre[cluster]).T)
    row = np.flatnonzero(is_member | (R_proj < observation.aperture))
    least = fibre_distance(choices.fibre_collision, observation.redshift, choices.cosmology)
    row = row[without_collisions(sky[row], cluster[row], least, rng)]
    row = row[with_redshift(choices.completeness, R_proj[row], observation.aperture, rng)]
    return Targets(row, R_proj[row], choices.velocity_error * rng.standard_normal(len(row)))


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

    No two of a cluster that are kept are closer than `least` [unit of `sky`], and each that is dropped is closer than
    that to one that is kept.
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

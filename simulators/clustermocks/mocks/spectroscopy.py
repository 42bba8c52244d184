"""What is measured of the galaxies of some clusters: who is seen, how far from the centre, how fast.

Lengths are comoving [h^-1 Mpc], velocities [km/s]. The line of sight is the third axis.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from clustermocks.haloes.cosmology import Cosmology
from clustermocks.mocks.effects import RadialCompleteness, apart, fibre_distance, with_redshift
from clustermocks.observation import (
    Observation,
    centre_velocities,
    in_cylinder,
    line_of_sight_velocity,
    subtract_velocity,
)


class Choices(Protocol):
    """How clusters are observed, simulated ones (`HaloModel`) or those of a box (`BoxView`); documented there."""

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


class Galaxies(NamedTuple):
    """Galaxies of a chunk, indexed by cluster: position from its centre, line-of-sight peculiar velocity."""

    cluster: Int[np.ndarray, "galaxy"]
    position: Float[np.ndarray, "galaxy 3"]
    v_peculiar: Float[np.ndarray, "galaxy"]


class Chunk(NamedTuple):
    """Columns a cluster and a galaxy, and the number of galaxies of each cluster; galaxies sorted by cluster."""

    clusters: Mapping[str, np.ndarray]
    galaxies: Mapping[str, np.ndarray]
    counts: Int[np.ndarray, "cluster"]


class Targets(NamedTuple):
    """Galaxies with a redshift: their place in the list of all, distance from the assumed centre, error of velocity."""

    row: Int[np.ndarray, "target"]
    R_proj: Float[np.ndarray, "target"]
    v_error: Float[np.ndarray, "target"]


def observe(
    choices: Choices, R_vir: Float[np.ndarray, "cluster"], galaxies: Galaxies, rng: np.random.Generator
) -> Chunk:
    """Projected distances and velocities as measured; galaxies that are neither members nor in the cylinder go."""
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
    return Chunk(
        {"velocity_offset": v_centre},
        {"R_proj": R_proj[kept], "v_los": v_los[kept], "is_member": is_member[kept], "in_cylinder": inside[kept]},
        np.bincount(cluster[kept], minlength=n),
    )


def choose_targets(
    choices: Choices,
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
    row = row[apart(sky[row], cluster[row], least, rng)]
    row = row[with_redshift(choices.completeness, R_proj[row], observation.aperture, rng)]
    return Targets(row, R_proj[row], choices.velocity_error * rng.standard_normal(len(row)))


def recentred(
    choices: Choices,
    v_los: Float[np.ndarray, "galaxy"],
    cluster: Int[np.ndarray, "galaxy"],
    R_proj: Float[np.ndarray, "galaxy"],
    *,
    n: int,
) -> tuple[Float[np.ndarray, "galaxy"], Float[np.ndarray, "cluster"]]:
    """Velocities [km/s] relative to the cluster's redshift as its galaxies tell it, and what that is off the true."""
    observation = choices.observation
    if not choices.recentre:
        return v_los, np.zeros(n)
    inside = R_proj < observation.aperture
    v_centre = centre_velocities(v_los, cluster, inside, n=n, v_cut=observation.v_cut)
    return subtract_velocity(v_los, v_centre[cluster]), v_centre

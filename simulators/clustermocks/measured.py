"""What is measured of the galaxies of some clusters: who is seen, how far from the centre, how fast.

Lengths are comoving [h^-1 Mpc], velocities [km/s]. The line of sight is the third axis.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from clustermocks.effects import apart, fibre_distance, with_redshift
from clustermocks.observation import centre_velocities, in_cylinder, line_of_sight_velocity, subtract_velocity

if TYPE_CHECKING:
    from clustermocks.simulator import HaloModel


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


class _Targets(NamedTuple):
    """Galaxies with a redshift: index of their cluster, place in the list of all, distance from the assumed centre."""

    cluster: Int[np.ndarray, "target"]
    row: Int[np.ndarray, "target"]
    R_proj: Float[np.ndarray, "target"]
    is_member: Bool[np.ndarray, "target"]


def observe(
    model: "HaloModel", R_vir: Float[np.ndarray, "cluster"], galaxies: Galaxies, rng: np.random.Generator
) -> Chunk:
    """Projected distances and velocities as measured; galaxies that are neither members nor in the cylinder go."""
    observation, n = model.observation, len(R_vir)
    cluster, row, R_proj, is_member = _targets(model, R_vir, galaxies, rng)
    v_los = line_of_sight_velocity(
        galaxies.position[row, 2], galaxies.v_peculiar[row], 0.0, observation.redshift, model.cosmology
    )
    v_los = v_los + model.velocity_error * rng.standard_normal(len(v_los))
    v_centre = np.zeros(n)
    if model.recentre:
        v_centre = centre_velocities(v_los, cluster, R_proj < observation.aperture, n=n, v_cut=observation.v_cut)
        v_los = subtract_velocity(v_los, v_centre[cluster])
    inside = in_cylinder(R_proj, v_los, observation)
    kept = inside | is_member
    return Chunk(
        {"velocity_offset": v_centre},
        {"R_proj": R_proj[kept], "v_los": v_los[kept], "is_member": is_member[kept], "in_cylinder": inside[kept]},
        np.bincount(cluster[kept], minlength=n),
    )


def _targets(
    model: "HaloModel", R_vir: Float[np.ndarray, "cluster"], galaxies: Galaxies, rng: np.random.Generator
) -> _Targets:
    """Members and what lies inside the aperture, less what has no fibre or no redshift."""
    observation, cluster = model.observation, galaxies.cluster
    is_member = np.linalg.norm(galaxies.position, axis=1) < R_vir[cluster]
    centre = model.centre_error * rng.standard_normal((len(R_vir), 2))
    R_proj = np.hypot(*(galaxies.position[:, :2] - centre[cluster]).T)
    row = np.flatnonzero(is_member | (R_proj < observation.aperture))
    least = fibre_distance(model.fibre_collision, observation.redshift, model.cosmology)
    row = row[apart(galaxies.position[row, :2], cluster[row], least, rng)]
    row = row[with_redshift(model.completeness, R_proj[row], observation.aperture, rng)]
    return _Targets(cluster[row], row, R_proj[row], is_member[row])

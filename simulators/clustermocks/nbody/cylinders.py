"""Galaxies of a periodic box in long cylinders about hosts, along any direction, found on a KD-tree.

Lengths are comoving [h^-1 Mpc], velocities peculiar [km/s]. A cylinder is covered by a string of overlapping balls,
each of which gives the galaxies of its own stretch: the tree is built once for all lines of sight, and each galaxy is
taken at its image nearest to the stretch, so that faces of the box and oblique lines need no copies.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self, final

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from clustermocks.haloes.binding import TURNAROUND, are_bound
from clustermocks.haloes.cosmology import concentration, radius_200c, virial_velocity
from clustermocks.kinematics.padding import rows_of_runs
from clustermocks.mocks.spectroscopy import IntrinsicGalaxies
from clustermocks.nbody.view import BoxView
from clustermocks.observation import sky_basis, wrap


class HostViews(NamedTuple):
    """Clusters to observe, each field (cluster, ...): a host, the number of its line of sight and its direction."""

    host_id: Int[np.ndarray, "cluster"]
    line: Int[np.ndarray, "cluster"]
    direction: Float[np.ndarray, "cluster 3"]
    log10_mass: Float[np.ndarray, "cluster"]
    R_vir: Float[np.ndarray, "cluster"]
    position: Float[np.ndarray, "cluster 3"]
    velocity: Float[np.ndarray, "cluster 3"]


@final
@dataclass(frozen=True)
class PeriodicTree:
    """Galaxies of a periodic box on a tree; build it with `from_table`."""

    side: float
    identity: Int[np.ndarray, "galaxy"]
    host_id: Int[np.ndarray, "galaxy"]
    position: Float[np.ndarray, "galaxy 3"]
    velocity: Float[np.ndarray, "galaxy 3"]
    tree: KDTree
    by_host: Int[np.ndarray, "galaxy"]

    @classmethod
    def from_table(cls, table: pa.Table, side: float) -> Self:
        """Galaxies of a table with the columns of `nbody`, in a box of this side."""
        position, velocity = (
            np.stack([table[name].to_numpy() for name in names], axis=-1)
            for names in (("x", "y", "z"), ("vx", "vy", "vz"))
        )
        tree = KDTree(position, boxsize=side, balanced_tree=False)
        host_id = table["host_id"].to_numpy()
        return cls(side, table["id"].to_numpy(), host_id, position, velocity, tree, np.argsort(host_id, kind="stable"))

    def within(self, centres: Float[np.ndarray, "ball 3"], radius: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Index of the ball and of the galaxy, for each galaxy within the radius of each centre."""
        lists = self.tree.query_ball_point(np.mod(centres, self.side), radius)
        count = np.fromiter(map(len, lists), np.int64, len(lists))
        flat = (
            np.concatenate([np.asarray(found, np.int64) for found in lists]) if count.sum() else np.empty(0, np.int64)
        )
        return np.repeat(np.arange(len(lists)), count), flat

    def of_hosts(self, host_id: Int[np.ndarray, "host"]) -> tuple[np.ndarray, np.ndarray]:
        """Index of the host and of the galaxy, for each galaxy that belongs to each host."""
        ordered = self.host_id[self.by_host]
        low, high = np.searchsorted(ordered, host_id), np.searchsorted(ordered, host_id, side="right")
        return np.repeat(np.arange(len(host_id)), high - low), self.by_host[rows_of_runs(low, high - low)]


def galaxies_around(
    views: HostViews, tracers: PeriodicTree, view: BoxView
) -> tuple[IntrinsicGalaxies, Bool[np.ndarray, "galaxy"]]:
    """Galaxies that a view may catch about each line of sight, and all members wherever they are.

    They are sorted by cluster, then by id; the second array says which are members: those of the host by host_id, or
    else those within R_vir of it.
    """
    basis, by_host = _sky_axes(views), view.members == "halo"
    cluster, galaxy = tracers.of_hosts(views.host_id) if by_host else tracers.within(views.position, views.R_vir)
    separation = _projected(wrap(tracers.position[galaxy] - views.position[cluster], tracers.side), basis[cluster])
    stretches = in_cylinders(views, tracers, view.search_radius, view.half_depth)
    cluster, galaxy, separation = (
        np.concatenate(parts) for parts in zip((cluster, galaxy, separation), stretches, strict=True)
    )
    once = _once(cluster, galaxy)
    order = once[np.lexsort([tracers.identity[galaxy[once]], cluster[once]])]
    cluster, galaxy, separation = cluster[order], galaxy[order], separation[order]
    near = np.linalg.norm(separation, axis=1) < views.R_vir[cluster]
    member = tracers.host_id[galaxy] == views.host_id[cluster] if by_host else near
    v_peculiar = np.einsum("ij,ij->i", tracers.velocity[galaxy].astype(float), views.direction[cluster])
    is_bound = _are_bound(views, cluster, separation, tracers.velocity[galaxy], view)
    return IntrinsicGalaxies(cluster, separation, v_peculiar, is_bound), member


def _are_bound(
    views: HostViews,
    cluster: Int[np.ndarray, "galaxy"],
    separation: Float[np.ndarray, "galaxy 3"],
    velocity: Float[np.ndarray, "galaxy 3"],
    view: BoxView,
) -> Bool[np.ndarray, "galaxy"]:
    """Which galaxies are bound to their host, of median concentration (catalogues do not state it)."""
    redshift, cosmology, mass = view.observation.redshift, view.cosmology, 10**views.log10_mass
    c_200c, r_200c = concentration(mass, redshift, cosmology), radius_200c(mass, redshift, cosmology)
    bound, v_200 = np.zeros(len(cluster), bool), virial_velocity(mass, redshift, cosmology)
    near = np.flatnonzero(np.linalg.norm(separation, axis=1) < TURNAROUND * r_200c[cluster])
    cluster, separation = cluster[near], separation[near]
    relative = _projected(velocity[near] - views.velocity[cluster], _sky_axes(views)[cluster])
    relative += cosmology.hubble(redshift) / (1 + redshift) * separation
    sizes = {"r_200c": r_200c[cluster], "c_200c": c_200c[cluster], "v_200": v_200[cluster]}
    bound[near] = are_bound(separation, relative, **sizes)
    return bound


def in_cylinders(
    views: HostViews, tracers: PeriodicTree, radius: float, half_depth: float
) -> tuple[Int[np.ndarray, "found"], Int[np.ndarray, "found"], Float[np.ndarray, "found 3"]]:
    """Index of the cluster and of the tracer, and separation on the sky and in depth, strictly inside the cylinders.

    A tracer on the face between two stretches (a host's own central may be) is found twice.
    """
    basis = _sky_axes(views)
    n_balls = int(np.ceil(half_depth / radius))
    step = 2 * half_depth / n_balls
    depth = (np.arange(n_balls) + 0.5) * step - half_depth
    centres = views.position[:, None] + depth[:, None] * views.direction[:, None]
    flat = centres.reshape(-1, 3)
    ball, galaxy = tracers.within(flat, float(np.hypot(radius, step / 2)) * (1 + 1e-9))
    cluster = ball // n_balls
    separation = _projected(wrap(tracers.position[galaxy] - flat[ball], tracers.side), basis[cluster])
    kept = np.abs(separation[:, 2]) <= step / 2 * (1 + 1e-9)
    separation[:, 2] += depth[ball % n_balls]
    kept &= (np.hypot(separation[:, 0], separation[:, 1]) < radius) & (np.abs(separation[:, 2]) < half_depth)
    return cluster[kept], galaxy[kept], separation[kept]


def _sky_axes(views: HostViews) -> Float[np.ndarray, "cluster 3 3"]:
    return np.stack([np.stack(sky_basis(direction)) for direction in views.direction])


def _once(cluster: np.ndarray, galaxy: np.ndarray) -> np.ndarray:
    """Rows where a cluster's galaxy comes first; in a box of sufficient size, none has two images in a cylinder."""
    order = np.lexsort([np.arange(len(galaxy)), galaxy, cluster])
    new = (np.diff(cluster[order], prepend=-1) != 0) | (np.diff(galaxy[order], prepend=-1) != 0)
    return order[new]


def _projected(separation: np.ndarray, basis: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ikj->ik", separation, basis)

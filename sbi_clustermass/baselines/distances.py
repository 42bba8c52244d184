r"""Distances between clusters, each a sample of galaxies from a distribution in |v_los|, or |v_los| and R_proj.

Lengths are comoving [h^-1 Mpc], velocities [km/s].

All S x T divergences between S clusters and T training clusters are one matrix product. The distance from x to the k-th
nearest galaxy of cluster q is a smooth function of x, which is tabulated on a grid; the mean of its log over the
galaxies of p is a row of interpolation weights times that table.
"""

from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple, Self, final

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.observation import Observation

CLOSEST = 1e-3  # [unit] smallest distance between two galaxies, as in D. Sutherland's skl-groups
NODES = {1: (1024,), 2: (48, 48)}  # nodes of the grid in |v| and R
SMOOTHING = 0.3  # [unit] width of the Gaussian of "kde" and "mmd"
FLOOR = 1e-3  # uniform share of every "kde" density, so that none is 0

Kind = Literal["knn", "kde", "mmd"]
KINDS: tuple[Kind, ...] = ("knn", "kde", "mmd")


class Bags(NamedTuple):
    """Clusters as samples on the grid: the divergence of p from q is `p.weights @ q.table - p.own`.

    `weights` are the interpolation weights of the nodes, or the density there; `table` is the tabulated function. For
    "mmd", `weights @ table` is the mean kernel between two clusters, and `own` that of a cluster with itself.
    """

    weights: csr_array | Float[np.ndarray, "cluster node"]
    table: Float[np.ndarray, "cluster node"]
    own: Float[np.ndarray, "cluster"]


@final
@dataclass(frozen=True)
class SampleDistances:
    """Distances of one kind, with the unit and the grid in which they are computed.

    Attributes:
        kind: "knn", the Kullback-Leibler divergence from distances to nearest neighbours (Wang, Kulkarni & Verdu 2009,
            IEEE Trans. Inf. Theory 55, 2392, eq. 5), symmetrised; "kde", the same for densities smoothed by a Gaussian,
            which has less noise; or "mmd", the maximum mean discrepancy with a Gaussian kernel (Gretton et al. 2012,
            JMLR 13, 723; the biased estimate, which depends on the number of galaxies).
        neighbours: Number of the neighbour, k of "knn".
        unit: Standard deviations of |v| [km/s] and R [h^-1 Mpc] of all training galaxies, or the first only, (dim,).
        observation: Observation of the training clusters; the grid ends at its cylinder.
    """

    kind: Kind
    neighbours: int
    unit: tuple[float, ...]
    observation: Observation

    @classmethod
    def from_training_set(cls, clusters: Catalogue, kind: Kind, *, dimensions: int, neighbours: int) -> Self:
        """Take the unit and the grid from training clusters."""
        unit = tuple(float(np.std(column, dtype=float)) for column in _columns(clusters)[:dimensions])
        return cls(kind, neighbours, unit, clusters.observation)

    def bags(self, clusters: Catalogue) -> Bags:
        """Prepare clusters for `between`, each with more galaxies than `neighbours`."""
        _check_cylinder(clusters.observation, self.observation)
        points = np.column_stack(_columns(clusters)[: len(self.unit)]).astype(float) / self.unit
        count, nodes = clusters.n_galaxies, self._nodes()
        weights = self._weights(points, count)
        if self.kind == "knn":
            return self._neighbour_bags(weights, np.split(points, np.cumsum(count)[:-1]), nodes)
        kernel = np.exp(-0.5 * cdist(nodes, nodes, "sqeuclidean") / SMOOTHING**2)
        if self.kind == "mmd":
            table = weights @ kernel
            return Bags(weights, table, weights.multiply(table).sum(1))
        density = weights @ (kernel / kernel.sum(1, keepdims=True))  # rows of sum 1: nothing is lost at the ends
        density = (1 - FLOOR) * density + FLOOR / len(nodes)
        return Bags(density, -np.log(density), -(density * np.log(density)).sum(1))

    def between(self, a: Bags, b: Bags) -> Float[np.ndarray, "a b"]:
        """Distances of all pairs, never negative: [nats], or [1] for "mmd"."""
        if self.kind == "mmd":
            return np.sqrt(np.maximum(a.own[:, None] + b.own - 2 * (a.weights @ b.table.T), 0))
        return np.maximum(0.5 * (divergences(a, b) + divergences(b, a).T), 0)

    def _neighbour_bags(self, weights: csr_array, samples: list[np.ndarray], nodes: np.ndarray) -> Bags:
        d, k = len(self.unit), self.neighbours
        table = np.stack([d * _log_distance(sample, nodes, k) + np.log(len(sample)) for sample in samples])
        own = [d * _log_distance(sample, sample, k + 1).mean() + np.log(len(sample) - 1) for sample in samples]
        return Bags(weights, table, np.array(own))

    @property
    def _step(self) -> Float[np.ndarray, "dim"]:
        """Distance between two nodes [unit]."""
        ends = np.array([self.observation.v_cut, self.observation.aperture][: len(self.unit)])
        return ends / self.unit / (np.array(NODES[len(self.unit)]) - 1)

    def _nodes(self) -> Float[np.ndarray, "node dim"]:
        axes = [step * np.arange(n) for step, n in zip(self._step, NODES[len(self.unit)], strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))

    def _weights(self, points: Float[np.ndarray, "galaxy dim"], count: Int[np.ndarray, "cluster"]) -> csr_array:
        """Weights of the nodes in the mean of a linearly interpolated function over a cluster's galaxies."""
        shape, cluster, parts = NODES[len(self.unit)], np.repeat(np.arange(len(count)), count), []
        lower = np.minimum((points / self._step).astype(int), np.array(shape) - 2)
        share = points / self._step - lower
        for corner in product((0, 1), repeat=len(shape)):
            weight = np.where(corner, share, 1 - share).prod(1) / count[cluster]
            parts.append((weight, cluster, np.ravel_multi_index(tuple((lower + corner).T), shape)))
        weight, row, node = (np.concatenate(part) for part in zip(*parts, strict=True))
        return csr_array((weight, (row, node)), shape=(len(count), int(np.prod(shape))))


def divergences(p: Bags, q: Bags) -> Float[np.ndarray, "p q"]:
    """Kullback-Leibler divergence of each p from each q [nats]."""
    return p.weights @ q.table.T - p.own[:, None]


def _columns(clusters: Catalogue) -> tuple[Float[np.ndarray, "galaxy"], Float[np.ndarray, "galaxy"]]:
    return np.abs(clusters.galaxy_column("v_los")), clusters.galaxy_column("R_proj")


def _log_distance(sample: np.ndarray, points: np.ndarray, neighbour: int) -> Float[np.ndarray, "point"]:
    """Log distance of each point to its k-th neighbour in a sample."""
    distance = KDTree(sample).query(points, k=neighbour)[0].reshape(len(points), neighbour)[:, -1]
    return np.log(np.maximum(distance, CLOSEST))


def _check_cylinder(found: Observation, trained: Observation) -> None:
    if found.v_cut > trained.v_cut or found.aperture > trained.aperture:
        raise ValueError(
            f"SupportDistribution: clusters out to {found.aperture} h^-1 Mpc and {found.v_cut} km/s, trained on "
            f"{trained.aperture} h^-1 Mpc and {trained.v_cut} km/s. Train on clusters with such a cylinder."
        )

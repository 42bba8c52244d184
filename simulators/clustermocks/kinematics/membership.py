"""Interlopers removed by their distances and velocities, as observers do who do not know the members.

Distances are comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Literal, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from clustermocks.io.registry import lookup
from clustermocks.kinematics.caustics import inside_caustics
from clustermocks.kinematics.cleaning_method import CleaningMethod
from clustermocks.kinematics.clipping import sigma_clipping
from clustermocks.kinematics.shifting_gapper import shifting_gapper

Removal = Literal["none", CleaningMethod]
GalaxyColumn = Float[np.ndarray, "galaxy"]
Kept = Bool[np.ndarray, "galaxy"]


class Clusters(Protocol):
    """Clusters and their galaxies, as a `Catalogue` holds them."""

    @property
    def cluster_of_galaxy(self) -> Int[np.ndarray, "galaxy"]: ...
    def __len__(self) -> int: ...
    def galaxy_column(self, name: str, /) -> np.ndarray: ...
    def observation_column(self, name: str, /) -> Float[np.ndarray, "cluster"]: ...


class Field(NamedTuple):
    """Limits within which clusters were observed: an array has a value for each cluster, a number holds for all.

    Attributes:
        redshift: Redshift of the cluster.
        aperture: Largest distance [comoving h^-1 Mpc].
        v_cut: Largest velocity [km/s].
    """

    redshift: ArrayLike
    aperture: ArrayLike
    v_cut: ArrayLike


class _Galaxies(NamedTuple):
    """Galaxies of one cluster after another, n of each."""

    R_proj: GalaxyColumn
    v_los: GalaxyColumn
    n: Int[np.ndarray, "cluster"]
    field: Field

    def each(self, keep: Callable[..., Kept], *values: ArrayLike) -> Kept:
        """Apply a function of one cluster's distances, velocities and values to every cluster."""
        end = np.cumsum(self.n)
        runs = [slice(i, j) for i, j in zip(end - self.n, end, strict=True)]
        of_each = [np.broadcast_to(value, self.n.shape) for value in values]
        found = (keep(self.R_proj[run], self.v_los[run], *own) for run, *own in zip(runs, *of_each, strict=True))
        return np.concatenate([np.zeros(0, bool), *found])


REMOVALS: dict[str, Callable[[_Galaxies], Kept]] = {
    "none": lambda galaxies: np.ones(len(galaxies.v_los), bool),
    "clipping": lambda galaxies: sigma_clipping(galaxies.v_los, galaxies.n),
    "clipping_2.5": lambda galaxies: sigma_clipping(galaxies.v_los, galaxies.n, clip=2.5),
    "shifting_gapper": lambda galaxies: galaxies.each(shifting_gapper),
    "caustics": lambda galaxies: galaxies.each(inside_caustics, *galaxies.field),
}


def kept_by(
    removal: Removal,
    R_proj: GalaxyColumn,
    v_los: GalaxyColumn,
    cluster: Int[np.ndarray, "galaxy"],
    *,
    n: int,
    field: Field | None = None,
) -> Kept:
    """Whether each galaxy of n clusters is kept when interlopers are removed, (galaxy,).

    Of a cluster to which a method does not apply, such as the caustics to fewer than 8 galaxies, all are kept.

    Args:
        removal: Method, one of `REMOVALS`.
        R_proj: Distances from the centre [comoving h^-1 Mpc].
        v_los: Velocities relative to the centre [km/s].
        cluster: Index of each galaxy's cluster, rising.
        n: Number of clusters, those without galaxies included.
        field: Limits of the observation, on which only caustics depend: their distances are physical, and their
            density is cut off by the aperture. None is a field at redshift 0 that ends at the outermost galaxy.

    Raises:
        ValueError: An unknown method.
    """
    keep = lookup("removal of interlopers", removal, REMOVALS)
    R_proj, v_los = np.asarray(R_proj, float), np.asarray(v_los, float)
    field = field or Field(0.0, _largest(R_proj, cluster, n), _largest(np.abs(v_los), cluster, n))
    return keep(_Galaxies(R_proj, v_los, np.bincount(cluster, minlength=n), field))


def _largest(values: GalaxyColumn, cluster: Int[np.ndarray, "galaxy"], n: int) -> Float[np.ndarray, "cluster"]:
    largest = np.zeros(n)
    np.maximum.at(largest, cluster, values)
    return largest


def members(clusters: Clusters, removal: Removal) -> Kept:
    """Which galaxies are kept, one cluster after another as in `Catalogue.galaxy_column`."""
    R_proj, v_los = clusters.galaxy_column("R_proj"), clusters.galaxy_column("v_los")
    field = Field(*map(clusters.observation_column, Field._fields))
    return kept_by(removal, R_proj, v_los, clusters.cluster_of_galaxy, n=len(clusters), field=field)


def kept_galaxies(clusters: Clusters, removal: Removal = "none") -> Iterator[tuple[GalaxyColumn, GalaxyColumn]]:
    """R_proj [h^-1 Mpc] and v_los [km/s], in float64, of the galaxies kept in each cluster in turn."""
    kept = members(clusters, removal)
    R_proj, v_los = (clusters.galaxy_column(name)[kept].astype(float) for name in ("R_proj", "v_los"))
    for start, end in pairwise(np.searchsorted(clusters.cluster_of_galaxy[kept], np.arange(len(clusters) + 1))):
        yield R_proj[start:end], v_los[start:end]

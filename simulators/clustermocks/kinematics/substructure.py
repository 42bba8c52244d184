"""Substructure of clusters: galaxies whose neighbours on the sky move differently from the whole cluster.

Positions are comoving [h^-1 Mpc], velocities [km/s].
"""

from itertools import pairwise
from typing import Protocol

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from clustermocks.kinematics.membership import Clusters

NEIGHBOURS = 10  # of Dressler & Shectman


class PlacedClusters(Clusters, Protocol):
    """Clusters whose galaxies have positions on the sky, as those of a `Catalogue` with `has_sky`."""

    def sky_positions(self) -> Float[np.ndarray, "galaxy 2"]: ...


def local_deviations(
    sky: Float[np.ndarray, "galaxy 2"], v_los: Float[np.ndarray, "galaxy"], *, neighbours: int = NEIGHBOURS
) -> Float[np.ndarray, "galaxy"]:
    r"""How far the velocities around each galaxy of a cluster deviate from those of all, in standard errors.

    $\delta^2 = (n / \sigma^2) [(\bar v_\mathrm{local} - \bar v)^2 + (\sigma_\mathrm{local} - \sigma)^2]$, where
    "local" are the n galaxies that are a galaxy and its nearest neighbours on the sky.

    Args:
        sky: Positions on the sky.
        v_los: Velocities.
        neighbours: Number of neighbours of each galaxy; at most all others.

    Returns:
        delta [1]; 0 for fewer than three galaxies, or where all have one velocity.

    References:
        Dressler & Shectman 1988, AJ 95, 985, eq. 1, there with n = 11.
    """
    n = min(neighbours + 1, len(v_los))
    if n < 3 or np.ptp(v_los) == 0:
        return np.zeros(len(v_los))
    local = v_los[KDTree(sky).query(sky, n)[1]]
    sigma = np.std(v_los, ddof=1)
    shift, spread = local.mean(axis=1) - v_los.mean(), np.std(local, axis=1, ddof=1) - sigma
    return np.sqrt(n * (shift**2 + spread**2)) / sigma


def dressler_shectman(clusters: PlacedClusters, *, neighbours: int = NEIGHBOURS) -> Float[np.ndarray, "cluster"]:
    r"""Mean local deviation of each cluster's galaxies, $\Delta / N$: about 1 without substructure, more with it [1].

    Interlopers count: a group behind the cluster is substructure like one inside.

    Args:
        clusters: Clusters with sky positions, such as a `Catalogue`.
        neighbours: Number of neighbours of each galaxy.

    Returns:
        Delta / N; 0 for a cluster of fewer than three galaxies.

    Raises:
        ValueError: Sky positions are unknown.

    References:
        Dressler & Shectman 1988, AJ 95, 985.
    """
    sky, v_los = clusters.sky_positions().astype(float), clusters.galaxy_column("v_los").astype(float)
    ends = np.searchsorted(clusters.cluster_of_galaxy, np.arange(len(clusters) + 1))
    deviations = (local_deviations(sky[i:j], v_los[i:j], neighbours=neighbours) for i, j in pairwise(ends))
    return np.array([each.mean() if len(each) else 0.0 for each in deviations])

"""Rows of the same galaxy, found by position and velocity, of which one is kept.

Angles are in degrees.
"""

from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from jaxtyping import Bool, Float, Int

from sbi_clustermass.observations.tables.density_peaks import unit_vectors

Rows: TypeAlias = Int[np.ndarray, "row"]

APART = 2.0 / 3600  # deg: the positions of one galaxy in two surveys agree to about an arcsecond
SAME = 1000.0  # km/s: more than the error of any spectrum; beyond it, two galaxies are in one line of sight


@final
@dataclass(frozen=True)
class DistinctRows:
    """Rows to keep so that each galaxy is there once.

    Attributes:
        keep: True for one row of each galaxy, (row,).
        behind: Number of galaxies kept although another is within 2 arcsec, for velocities 1000 km/s or more apart.
    """

    keep: Bool[np.ndarray, "row"]
    behind: int


def distinct_rows(
    sky: Float[np.ndarray, "row 2"], velocity: Float[np.ndarray, "row"], errors: Float[np.ndarray, "row"]
) -> DistinctRows:
    """Keep of rows within 2 arcsec and 1000 km/s of each other the one with the smallest error, or else the first.

    Rows are one galaxy if a chain of such neighbours joins them. Only differences of the velocities [km/s] matter;
    errors [km/s] are NaN where unknown.
    """
    galaxy, behind = _galaxies(unit_vectors(sky), velocity)
    order = np.lexsort((np.where(np.isnan(errors), np.inf, errors), galaxy))
    first = order[np.diff(galaxy[order], prepend=-1) != 0]
    keep = np.zeros(len(sky), bool)
    keep[first] = True
    return DistinctRows(keep, behind)


def _galaxies(points: Float[np.ndarray, "row 3"], velocity: Float[np.ndarray, "row"]) -> tuple[Rows, int]:
    """Number the galaxies from 0 and give each row its galaxy's number; count the galaxies behind another."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    stack = _stacks(points, velocity)
    first = np.unique(stack, return_index=True)[1]
    pairs = KDTree(points[first]).query_pairs(np.deg2rad(APART), output_type="ndarray")
    if not len(pairs):
        return stack, 0
    apart = np.abs(velocity[first[pairs[:, 0]]] - velocity[first[pairs[:, 1]]])
    same = pairs[apart < SAME]
    graph = coo_array((np.ones(len(same), bool), (same[:, 0], same[:, 1])), shape=(len(first),) * 2)
    _, galaxy = connected_components(graph, directed=False)
    galaxy = np.unique(galaxy[stack], return_inverse=True)[1]
    far = galaxy[first[pairs[apart >= SAME]]]
    return galaxy, len(np.unique(far[:, 1])) if len(far) else 0


def _stacks(points: Float[np.ndarray, "row 3"], velocity: Float[np.ndarray, "row"]) -> Rows:
    """Number stacks of rows at one point, each less than 1000 km/s from the next: 10^6 equal rows make 10^12 pairs."""
    order = np.lexsort((velocity, *np.round(points, 13).T))
    moved = (np.abs(np.diff(points[order], axis=0)) > 1e-12).any(axis=1)
    new = np.concatenate([[False], moved | (np.diff(velocity[order]) >= SAME)])
    stack = np.empty(len(points), int)
    stack[order] = np.cumsum(new)
    return stack

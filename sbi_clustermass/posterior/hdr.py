"""Highest-density regions of tabulated densities, which may fall into several intervals.

A region is where the density exceeds a threshold. In a cell the density is linear, scaled to the cell's probability.
Masses are log10_mass [dex], densities per dex.
"""

import numpy as np
from jaxtyping import Float

from sbi_clustermass.posterior.tabulated import chunks

_HALVINGS = 34  # of the interval that holds the threshold: to 1e-10 of the peak


def highest_density(
    grid: Float[np.ndarray, "mass"],
    prob: Float[np.ndarray, "cluster mass"],
    cdf: Float[np.ndarray, "cluster mass"],
    level: float,
) -> tuple[Float[np.ndarray, "interval 2"], ...]:
    """Smallest region of each cluster that holds the share `level`: lower and upper ends of its intervals."""
    found = []
    for rows in chunks(len(prob)):
        threshold = _threshold(prob[rows], np.diff(cdf[rows]), level)
        found += _intervals(grid, prob[rows], threshold)
    return tuple(found)


def share_above(
    prob: Float[np.ndarray, "cluster mass"], share: Float[np.ndarray, "cluster cell"], density: np.ndarray
) -> Float[np.ndarray, "cluster"]:
    """Share of each cluster's probability where the density exceeds a value of its own, (cluster,)."""
    low = np.minimum(prob[:, :-1], prob[:, 1:])
    high = np.maximum(prob[:, :-1], prob[:, 1:])
    return _share_above(low**2, high**2, share, density**2)


def _share_above(low2: np.ndarray, high2: np.ndarray, share: np.ndarray, density2: np.ndarray) -> np.ndarray:
    """`share_above` from squares: the linear density's integral is half a difference of them."""
    wanted, span = density2[:, None], high2 - low2
    level = (low2 >= wanted).astype(float)
    part = np.divide(np.clip(high2 - wanted, 0, span), span, out=level, where=span > 0)
    return (part * share).sum(axis=1)


def _threshold(prob: np.ndarray, share: np.ndarray, level: float) -> Float[np.ndarray, "cluster"]:
    """Density above which each cluster has the share `level`, or the highest with more where many are equal."""
    low2 = np.minimum(prob[:, :-1], prob[:, 1:]) ** 2
    high2 = np.maximum(prob[:, :-1], prob[:, 1:]) ** 2
    below, above = np.zeros(len(prob)), prob.max(axis=1)
    for _ in range(_HALVINGS):
        middle = 0.5 * (below + above)
        enough = _share_above(low2, high2, share, middle**2) >= level
        below, above = np.where(enough, middle, below), np.where(enough, above, middle)
    return below


def _intervals(grid: np.ndarray, prob: np.ndarray, threshold: np.ndarray) -> list[Float[np.ndarray, "interval 2"]]:
    inside = np.pad(prob >= threshold[:, None], ((0, 0), (1, 1))).astype(np.int8)
    change = np.diff(inside, axis=1)
    (row, first), (_, after) = np.nonzero(change == 1), np.nonzero(change == -1)
    ends = np.stack(
        [
            _crossing(grid, prob, threshold, row, np.maximum(first - 1, 0), first),
            _crossing(grid, prob, threshold, row, np.minimum(after, len(grid) - 1), after - 1),
        ],
        axis=1,
    )
    return np.split(ends, np.cumsum(np.bincount(row, minlength=len(prob)))[:-1])


def _crossing(grid, prob, threshold, row, outer, inner) -> Float[np.ndarray, "interval"]:
    """Where the density passes the threshold between two neighbours; at the grid's ends they are one."""
    rise = prob[row, inner] - prob[row, outer]
    t = np.divide(threshold[row] - prob[row, outer], rise, out=np.ones(len(row)), where=rise > 0)
    return grid[outer] + t * (grid[inner] - grid[outer])

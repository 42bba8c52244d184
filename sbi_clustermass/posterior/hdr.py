"""Highest-density regions of tabulated densities, which may fall into several intervals.

A region is where the density exceeds a threshold. In a cell the density is linear, scaled to the cell's probability.
Masses are log10_mass [dex], densities per dex.
"""

import numpy as np
from jaxtyping import Float

from sbi_clustermass.posterior.tabulated import chunks, locate

_HALVINGS = 34  # of the interval that holds the threshold: to 1e-10 of the peak


def highest_density(
    grid: Float[np.ndarray, "mass"],
    prob: Float[np.ndarray, "cluster mass"],
    cdf: Float[np.ndarray, "cluster mass"],
    level: float,
) -> tuple[Float[np.ndarray, "interval 2"], ...]:
    """Lower and upper ends of the intervals of each cluster's smallest region of probability `level`."""
    found = []
    for rows in chunks(len(prob)):
        threshold = _threshold(prob[rows], np.diff(cdf[rows]), level)
        found += _intervals(grid, prob[rows], threshold)
    return tuple(found)


def level_at(
    grid: Float[np.ndarray, "mass"],
    prob: Float[np.ndarray, "cluster mass"],
    cdf: Float[np.ndarray, "cluster mass"],
    log10_mass: Float[np.ndarray, "cluster"],
) -> Float[np.ndarray, "cluster"]:
    """Probability of the region on whose edge each cluster's mass lies; 1 outside the grid."""
    (cell, t), row = locate(grid, log10_mass), np.arange(len(prob))
    density = (1 - t) * prob[row, cell] + t * prob[row, cell + 1]
    outside = (log10_mass < grid[0]) | (log10_mass > grid[-1])
    return np.where(outside, 1.0, _probability_above(*_squares(prob), np.diff(cdf), density**2))


def _squares(prob: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squares of the lower and the higher density at the ends of each cell, each (cluster, cell)."""
    left, right = prob[:, :-1], prob[:, 1:]
    return np.minimum(left, right) ** 2, np.maximum(left, right) ** 2


def _probability_above(
    low2: np.ndarray, high2: np.ndarray, share: np.ndarray, density2: np.ndarray
) -> Float[np.ndarray, "cluster"]:
    """Probability of each cluster where its density exceeds a value, from squares of densities and shares of cells.

    The integral of a linear density is half a difference of squares.
    """
    wanted, span = density2[:, None], high2 - low2
    level = (low2 >= wanted).astype(float)
    part = np.divide(np.clip(high2 - wanted, 0, span), span, out=level, where=span > 0)
    return (part * share).sum(axis=1)


def _threshold(prob: np.ndarray, share: np.ndarray, level: float) -> Float[np.ndarray, "cluster"]:
    """Density above which each cluster has the probability `level`, or the highest with more where many are equal."""
    low2, high2 = _squares(prob)
    below, above = np.zeros(len(prob)), prob.max(axis=1)
    for _ in range(_HALVINGS):
        middle = 0.5 * (below + above)
        enough = _probability_above(low2, high2, share, middle**2) >= level
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
    """Mass where the density passes the threshold between two neighbours; at the grid's ends these are one mass."""
    rise = prob[row, inner] - prob[row, outer]
    t = np.divide(threshold[row] - prob[row, outer], rise, out=np.ones(len(row)), where=rise > 0)
    return grid[outer] + t * (grid[inner] - grid[outer])

"""Tabulated densities between their masses: integrals, cumulative distributions and their inverse.

A cell is the interval between two masses of the grid. The log density in it is the cubic through its ends with the
table's second-order slopes, which is exact for a (truncated) Gaussian; where the table does not resolve the density, it
is linear instead. Masses are log10_mass [dex], densities per dex; functions are pure and vectorised over clusters.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2  # for a cell of length 1
_ROUGH = 1.0  # [nats per cell] a cubic that departs from its chord at this slope is not resolved
_FLOOR = -1e4  # [nats] below the peak, a density that counts as zero
_AT_ONCE = 500  # clusters: temporaries of 1 MB stay in the cache


class Integrals(NamedTuple):
    """Integral and moments of each cluster's density.

    Attributes:
        log_area: Natural log of the density's integral over the grid, (cluster,).
        cdf: Cumulative distribution at each mass of the grid, from 0 to 1, (cluster, mass).
        mean: Mean of log10 mass [dex], (cluster,).
        std: Standard deviation of log10 mass [dex], (cluster,).
    """

    log_area: Float[np.ndarray, "cluster"]
    cdf: Float[np.ndarray, "cluster mass"]
    mean: Float[np.ndarray, "cluster"]
    std: Float[np.ndarray, "cluster"]


def integrate(grid: Float[np.ndarray, "mass"], log_prob: Float[np.ndarray, "cluster mass"]) -> Integrals:
    """Integrate densities that need not be normalised, by four Gauss-Legendre nodes in each cell.

    The error is 1e-6 for a Gaussian no narrower than a step of the grid, truncated anywhere.
    """
    out = Integrals(np.empty(len(log_prob)), np.empty(log_prob.shape), *np.empty((2, len(log_prob))))
    for rows in chunks(len(log_prob)):
        for whole, part in zip(out, _integrate(grid, log_prob[rows]), strict=True):
            whole[rows] = part
    return out


def chunks(n: int, at_once: int = _AT_ONCE) -> Iterator[slice]:
    """Slices of at most `at_once` rows that cover n rows."""
    return (slice(i, min(i + at_once, n)) for i in range(0, n, at_once))


def _integrate(grid: np.ndarray, log_prob: np.ndarray) -> Integrals:
    peak, middle, steps = log_prob.max(axis=1), 0.5 * (grid[0] + grid[-1]), np.diff(grid)
    at = _interpolator(grid, log_prob - peak[:, None])
    area, moments = np.zeros((len(log_prob), len(steps))), np.zeros((2, len(log_prob)))
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        terms = at(node) * (weight * steps)
        offset = grid[:-1] + node * steps - middle
        area += terms
        moments += terms @ offset, terms @ offset**2
    cdf = np.concatenate([np.zeros((len(area), 1)), np.cumsum(area, axis=1)], axis=1)
    total = cdf[:, -1]
    first, second = moments / total
    return Integrals(
        np.log(total) + peak, cdf / total[:, None], first + middle, np.sqrt(np.maximum(second - first**2, 0))
    )


def _interpolator(grid: np.ndarray, log_prob: np.ndarray):
    """Density as a function of the position in a cell, 0 to 1, for all cells at once: (cluster, cell)."""
    log_prob = np.maximum(log_prob, _FLOOR)
    prob, left, chord = np.exp(log_prob), log_prob[:, :-1], np.diff(log_prob)
    start, end = _bends(grid, log_prob, chord)
    rough = (np.abs(start) > _ROUGH) | (np.abs(end) > _ROUGH)

    def at(t: float) -> Float[np.ndarray, "cluster cell"]:
        cubic = np.exp(np.where(rough, 0.0, left + t * chord + t * (1 - t) * ((1 - t) * start - t * end)))
        return np.where(rough, (1 - t) * prob[:, :-1] + t * prob[:, 1:], cubic)

    return at


def _bends(grid: np.ndarray, log_prob: np.ndarray, chord: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope of the log density minus that of its chord, at the start and at the end of each cell [nats per cell]."""
    slopes, steps = np.gradient(log_prob, grid, axis=1, edge_order=2 if len(grid) > 2 else 1), np.diff(grid)
    return slopes[:, :-1] * steps - chord, slopes[:, 1:] * steps - chord


def log_prob_at(
    grid: Float[np.ndarray, "mass"],
    log_prob: Float[np.ndarray, "cluster mass"],
    log10_mass: Float[np.ndarray, "cluster"],
) -> Float[np.ndarray, "cluster"]:
    """Natural log density of each cluster at its own mass; -inf outside the grid."""
    parts = [_log_prob_at(grid, log_prob[rows], log10_mass[rows]) for rows in chunks(len(log_prob))]
    return np.where((log10_mass >= grid[0]) & (log10_mass <= grid[-1]), np.concatenate(parts), -np.inf)


def _log_prob_at(grid: np.ndarray, log_prob: np.ndarray, log10_mass: np.ndarray) -> Float[np.ndarray, "cluster"]:
    peak, (cell, t) = log_prob.max(axis=1), locate(grid, log10_mass)
    log_prob, row = np.maximum(log_prob - peak[:, None], _FLOOR), np.arange(len(log_prob))
    low, high = log_prob[row, cell], log_prob[row, cell + 1]
    start, end = (bend[row, cell] for bend in _bends(grid, log_prob, np.diff(log_prob)))
    cubic = low + t * (high - low) + t * (1 - t) * ((1 - t) * start - t * end)
    with np.errstate(divide="ignore"):
        linear = np.log((1 - t) * np.exp(low) + t * np.exp(high))
    return peak + np.where((np.abs(start) > _ROUGH) | (np.abs(end) > _ROUGH), linear, cubic)


def cdf_at(
    grid: Float[np.ndarray, "mass"],
    prob: Float[np.ndarray, "cluster mass"],
    cdf: Float[np.ndarray, "cluster mass"],
    log10_mass: Float[np.ndarray, "cluster"],
) -> Float[np.ndarray, "cluster"]:
    """Cumulative distribution of each cluster at its own mass.

    In a cell the density is linear: its ends are in the ratio given by `prob`, and its integral is that of `cdf`.
    """
    (cell, t), row = locate(grid, log10_mass), np.arange(len(prob))
    low, high = prob[row, cell], prob[row, cell + 1]
    ends = low + high
    share = np.divide(t * (2 * low + (high - low) * t), ends, out=t.copy(), where=ends > 0)
    return cdf[row, cell] * (1 - share) + cdf[row, cell + 1] * share


def inverse_cdf(
    grid: Float[np.ndarray, "mass"],
    prob: Float[np.ndarray, "cluster mass"],
    cdf: Float[np.ndarray, "cluster mass"],
    level: Float[np.ndarray, "cluster n"],
) -> Float[np.ndarray, "cluster n"]:
    """Masses below which each cluster has the probabilities `level`: the exact inverse of `cdf_at`."""
    out = np.empty(level.shape)
    for rows in chunks(len(level)):
        out[rows] = _inverse_cdf(grid, prob[rows], cdf[rows], level[rows])
    return out


def _inverse_cdf(grid: np.ndarray, prob: np.ndarray, cdf: np.ndarray, level: np.ndarray) -> np.ndarray:
    row = np.arange(len(level))[:, None]
    # one search for all rows: row i's distribution is shifted to [i, i + 1]
    below = np.searchsorted((cdf + row).ravel(), level + row) - row * len(grid)
    cell = np.clip(below - 1, 0, len(grid) - 2)
    start, mass = cdf[row, cell], cdf[row, cell + 1] - cdf[row, cell]
    share = np.clip(np.divide(level - start, mass, out=np.zeros(level.shape), where=mass > 0), 0, 1)
    low, high = prob[row, cell], prob[row, cell + 1]
    top = np.maximum(low, high)
    tilt = np.divide(high - low, top, out=np.zeros(level.shape), where=top > 0)  # of squares a tail's would underflow
    low, high = 1 - np.maximum(tilt, 0), 1 + np.minimum(tilt, 0)
    root = low + np.sqrt(low**2 + (high**2 - low**2) * share)
    t = np.divide((low + high) * share, root, out=np.zeros(level.shape), where=root > 0)
    return grid[cell] + t * np.diff(grid)[cell]


def modes(grid: Float[np.ndarray, "mass"], log_prob: Float[np.ndarray, "cluster mass"]) -> Float[np.ndarray, "cluster"]:
    """Vertex of the parabola through the highest log density and its neighbours, exact for a Gaussian."""
    highest, row = log_prob.argmax(axis=1), np.arange(len(log_prob))
    if len(grid) < 3:
        return grid[highest]
    centre = np.clip(highest, 1, len(grid) - 2)
    left, right = grid[centre] - grid[centre - 1], grid[centre + 1] - grid[centre]
    with np.errstate(invalid="ignore", divide="ignore"):  # neighbours of zero density
        fall = (log_prob[row, centre] - log_prob[row, centre - 1]) / left
        rise = (log_prob[row, centre + 1] - log_prob[row, centre]) / right
        vertex = grid[centre] + 0.5 * (fall * right + rise * left) / (fall - rise)
    found = np.isfinite(vertex) & (fall > rise)
    return np.where(found, np.clip(vertex, grid[0], grid[-1]), grid[highest])


def log_mixture(
    log_probs: Sequence[Float[np.ndarray, "cluster mass"]], weights: Float[np.ndarray, "member"]
) -> Float[np.ndarray, "cluster mass"]:
    """Natural log of the weighted sum of densities."""
    with np.errstate(divide="ignore"):  # a weight of zero
        log_weights = np.log(weights)
    total = np.full_like(log_probs[0], -np.inf)
    for log_prob, log_weight in zip(log_probs, log_weights, strict=True):
        np.logaddexp(total, log_prob + log_weight, out=total)
    return total


def locate(
    grid: Float[np.ndarray, "mass"], log10_mass: Float[np.ndarray, "cluster"]
) -> tuple[Int[np.ndarray, "cluster"], Float[np.ndarray, "cluster"]]:
    """Cell of each mass, and its position in the cell, 0 to 1; masses outside count as the grid's ends."""
    cell = np.clip(np.searchsorted(grid, log10_mass, side="right") - 1, 0, len(grid) - 2)
    return cell, np.clip((log10_mass - grid[cell]) / np.diff(grid)[cell], 0, 1)

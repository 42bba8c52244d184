"""Galaxies of many clusters as rows of one array: whole parts of the clusters are worked on at once."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


def parts(widths: Sequence[int] | Int[np.ndarray, "cluster"], cells: int) -> list[slice]:
    """Slices of clusters, such that as many rows of the widest have at most `cells`, or of a single cluster."""
    found, start = [], 0
    while start < len(widths):
        stop, widest = start + 1, widths[start]
        while stop < len(widths) and (stop + 1 - start) * max(widest, widths[stop]) <= cells:
            widest = max(widest, widths[stop])
            stop += 1
        found.append(slice(start, stop))
        start = stop
    return found


def padded_rows(
    values: Float[np.ndarray, "galaxy"], n: Int[np.ndarray, "row"], *, padding: float = np.inf
) -> Float[np.ndarray, "row widest"]:
    """A row for each run of n values, padded to at least one column."""
    real = np.arange(max(n.max(initial=0), 1)) < n[:, None]
    rows = np.full(real.shape, padding, values.dtype)
    rows[real] = values
    return rows


def rows_of_runs(first: Int[np.ndarray, "run"], n: Int[np.ndarray, "run"]) -> Int[np.ndarray, "row"]:
    """Indices of the n rows from `first` on of each run, one run after another."""
    return np.arange(n.sum()) + np.repeat(first - (np.cumsum(n) - n), n)

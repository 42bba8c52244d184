"""Interlopers removed by clipping velocities [km/s] about the median, of many clusters at once."""

import numpy as np
from jaxtyping import Bool, Float, Int

from clustermocks.kinematics.padding import padded_rows, parts, rows_of_runs

CLIP = 3.0  # standard deviations from the median
_AT_ONCE = 100_000  # velocities: they stay in the processor's cache


def sigma_clipping(
    v_los: Float[np.ndarray, "galaxy"], n: Int[np.ndarray, "cluster"], *, clip: float = CLIP
) -> Bool[np.ndarray, "galaxy"]:
    """Drop what is more than `clip` standard deviations from its cluster's median, until nothing is left to drop.

    Args:
        v_los: Velocities [km/s], one cluster after another.
        n: Number of galaxies of each cluster.
        clip: Standard deviations from the median beyond which a galaxy is dropped.

    Returns:
        True for the galaxies kept.

    References:
        Yahil & Vidal 1977, ApJ 214, 347.
    """
    start, order = np.cumsum(n) - n, np.argsort(n, kind="stable")
    slowest, fastest = np.zeros((2, len(n)), v_los.dtype)
    for part in parts(n[order], _AT_ONCE):
        some = order[part]
        rows = padded_rows(v_los[rows_of_runs(start[some], n[some])], n[some])
        rows.sort(axis=1)
        (low, high), row = clipped_range(rows, n[some], clip=clip), np.arange(len(some))
        slowest[some], fastest[some] = rows[row, low], rows[row, high - 1]
    return (v_los >= np.repeat(slowest, n)) & (v_los <= np.repeat(fastest, n))


def clipped_range(
    v_los: Float[np.ndarray, "row galaxy"], n: Int[np.ndarray, "row"], *, clip: float = CLIP
) -> tuple[Int[np.ndarray, "row"], Int[np.ndarray, "row"]]:
    """First and one past the last of the n velocities, in rising order, that `sigma_clipping` keeps of each row."""
    low, high = np.zeros_like(n), n.copy()
    moving = np.flatnonzero(n > 1)
    while moving.size:  # each round drops a velocity of every row that moves; real clusters need three
        kept = _within_clip(v_los[moving], low[moving], high[moving], clip)
        new = kept.argmax(axis=1), v_los.shape[1] - kept[:, ::-1].argmax(axis=1)
        changed = (new[0] != low[moving]) | (new[1] != high[moving])
        low[moving], high[moving] = new
        moving = moving[changed & (high[moving] - low[moving] > 1)]
    return low, high


def _within_clip(
    v: Float[np.ndarray, "row galaxy"], low: Int[np.ndarray, "row"], high: Int[np.ndarray, "row"], clip: float
) -> Bool[np.ndarray, "row galaxy"]:
    """Which of the velocities from `low` to `high` are within `clip` standard deviations of their median."""
    place, row = np.arange(v.shape[1]), np.arange(len(v))
    inside = (place >= low[:, None]) & (place < high[:, None])
    median = (v[row, (low + high - 1) // 2] + v[row, (low + high) // 2]) / 2
    offset = np.where(inside, v - median[:, None], 0).astype(float)
    n = high - low
    mean = offset.sum(axis=1) / n
    spread = np.sqrt(np.maximum((offset**2).sum(axis=1) / n - mean**2, 0))
    return inside & (np.abs(offset) <= clip * spread[:, None])

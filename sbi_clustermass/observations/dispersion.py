"""Robust velocity dispersions of many clusters at once, with errors from resampled galaxies.

Velocities are in the cluster's frame [km/s].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from jaxtyping import Bool, Float, Int

CLIP = 3.0  # standard deviations from the median
RESAMPLINGS = 100  # an error is known to 7 %
_ROUNDS = 50  # each drops at least one galaxy; real clusters need three
MOST = 10_000  # galaxies to resample; of more, so many are drawn, and the error falls with the root of the number
_AT_ONCE = 2_000_000  # velocities
Velocities: TypeAlias = Float[np.ndarray, "galaxy"]


@final
@dataclass(frozen=True)
class Dispersion:
    """Velocity dispersion of one cluster.

    Attributes:
        value: By gaps between ordered velocities, after 3-sigma clipping [km/s]; NaN of fewer than two galaxies.
        error: Standard error, clipping included [km/s].
        n_galaxies: Galaxies left by the clipping.
    """

    value: float
    error: float
    n_galaxies: int


def robust_dispersions(v_los: Sequence[Velocities], seeds: Sequence[int]) -> list[Dispersion]:
    r"""Gapper dispersion $\sqrt\pi / (n (n - 1)) \sum_i i (n - i) g_i$ of each cluster, after 3-sigma clipping.

    Velocities more than 3 standard deviations from their median are dropped until none is left to drop (Yahil & Vidal
    1977). The error is the standard deviation over clusters whose galaxies are drawn with replacement and clipped anew
    (Efron 1979, Annals of Statistics 7, 1). It does not know of interlopers inside 3 sigma.

    Args:
        v_los: Velocities of each cluster's galaxies [km/s], in the cluster's frame.
        seeds: Of the resampling, one a cluster: a cluster's error depends on no other cluster.

    References:
        Wainer & Thissen 1976; Beers, Flynn & Gebhardt 1990, AJ 100, 32, eq. 8.
    """
    found: list[Dispersion] = []
    for rows in _parts([len(v) for v in v_los]):
        found += _of_part(v_los[rows], seeds[rows])
    return found


def _parts(sizes: Sequence[int]) -> list[slice]:
    """Slices of clusters whose resampled velocities fit in memory at once."""
    parts, start = [], 0
    while start < len(sizes):
        stop, widest = start + 1, min(sizes[start], MOST)
        while stop < len(sizes) and (stop + 1 - start) * max(widest, sizes[stop]) * RESAMPLINGS <= _AT_ONCE:
            widest = max(widest, sizes[stop])
            stop += 1
        parts.append(slice(start, stop))
        start = stop
    return parts


def _of_part(v_los: Sequence[Velocities], seeds: Sequence[int]) -> list[Dispersion]:
    sigma, left = _measured(v_los)
    drawn = [row for v, seed in zip(v_los, seeds, strict=True) for row in _resampled(v, seed)]
    again = _measured(drawn)[0].reshape(len(v_los), RESAMPLINGS)
    share = np.array([min(len(v), MOST) / max(len(v), 1) for v in v_los])
    errors = np.std(again, axis=1, ddof=1) * np.sqrt(share)
    return [Dispersion(float(s), float(e), int(n)) for s, e, n in zip(sigma, errors, left, strict=True)]


def _resampled(v: Velocities, seed: int) -> Float[np.ndarray, "resampling galaxy"]:
    if len(v) < 2:
        return np.zeros((RESAMPLINGS, 0))
    return v[np.random.default_rng(seed).integers(len(v), size=(RESAMPLINGS, min(len(v), MOST)))]


def _measured(v_los: Sequence[Velocities]) -> tuple[Float[np.ndarray, "row"], Int[np.ndarray, "row"]]:
    """Dispersion of each row of velocities after clipping, and how many are left."""
    n = np.array([len(v) for v in v_los])
    rows = np.full((len(v_los), max(n.max(initial=0), 1)), np.inf, np.float32)
    rows[np.arange(rows.shape[1]) < n[:, None]] = np.concatenate(v_los)
    rows.sort(axis=1)
    return _gapper(rows, *_clipped(rows, n))


def _clipped(
    v: Float[np.ndarray, "row galaxy"], n: Int[np.ndarray, "row"]
) -> tuple[Int[np.ndarray, "row"], Int[np.ndarray, "row"]]:
    """First and one past the last velocity that clipping leaves of each row: of ordered velocities an interval."""
    low, high = np.zeros_like(n), n.copy()
    moving = np.flatnonzero(n > 1)
    for _ in range(_ROUNDS):
        if not moving.size:
            break
        kept = _within(v[moving], low[moving], high[moving])
        new = kept.argmax(axis=1), v.shape[1] - kept[:, ::-1].argmax(axis=1)
        changed = (new[0] != low[moving]) | (new[1] != high[moving])
        low[moving], high[moving] = new
        moving = moving[changed & (high[moving] - low[moving] > 1)]
    return low, high


def _within(
    v: Float[np.ndarray, "row galaxy"], low: Int[np.ndarray, "row"], high: Int[np.ndarray, "row"]
) -> Bool[np.ndarray, "row galaxy"]:
    """Which of the velocities from `low` to `high` are within 3 standard deviations of their median."""
    place, row = np.arange(v.shape[1]), np.arange(len(v))
    inside = (place >= low[:, None]) & (place < high[:, None])
    median = (v[row, (low + high - 1) // 2] + v[row, (low + high) // 2]) / 2
    offset = np.where(inside, v - median[:, None], 0).astype(float)
    n = high - low
    mean = offset.sum(axis=1) / n
    spread = np.sqrt(np.maximum((offset**2).sum(axis=1) / n - mean**2, 0))
    return inside & (np.abs(offset) <= CLIP * spread[:, None])


def _gapper(
    v: Float[np.ndarray, "row galaxy"], low: Int[np.ndarray, "row"], high: Int[np.ndarray, "row"]
) -> tuple[Float[np.ndarray, "row"], Int[np.ndarray, "row"]]:
    """Dispersion of the velocities from `low` to `high`, and their number; gaps summed by parts, as orders (2k-n-1)."""
    n, place = high - low, np.arange(v.shape[1])
    inside = (place >= low[:, None]) & (place < high[:, None])
    order = 2 * (place - low[:, None] + 1) - n[:, None] - 1
    total = np.where(inside, order * np.where(inside, v, 0.0), 0.0).sum(axis=1)
    some = np.maximum(n, 2)
    return np.where(n > 1, np.sqrt(np.pi) / (some * (some - 1)) * total, np.nan), n

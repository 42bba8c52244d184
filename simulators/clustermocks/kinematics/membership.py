"""Interlopers removed by their velocities, as observers do who do not know the members.

Distances are comoving [h^-1 Mpc], velocities [km/s]. A function of one cluster's galaxies returns True for those kept.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from clustermocks.io.registry import lookup

Removal = Literal["none", "clipping", "shifting_gapper"]
GalaxyColumn = Float[np.ndarray, "galaxy"]
Kept = Bool[np.ndarray, "galaxy"]

CLIP = 3.0  # standard deviations from the median
GAP = 1000.0  # [km/s]
BIN = 0.4  # [h^-1 Mpc]
FEWEST = 15  # galaxies in a bin
_TIE = 1e-6  # of a galaxy: decides between groups of equal number


class Clusters(Protocol):
    """Clusters whose galaxies are known one cluster at a time, as those of a `Catalogue`."""

    def __len__(self) -> int: ...
    def galaxies(self, index: int, /) -> tuple[np.ndarray, np.ndarray]: ...


def _keep_all(R_proj: GalaxyColumn, v_los: GalaxyColumn) -> Kept:
    return np.ones(len(v_los), bool)


def sigma_clipping(R_proj: GalaxyColumn, v_los: GalaxyColumn) -> Kept:
    """Drop what is more than 3 standard deviations in velocity from the median, until nothing is left to drop.

    References:
        Yahil & Vidal 1977, ApJ 214, 347.
    """
    rising = np.sort(np.asarray(v_los, float))
    low, high = (int(end[0]) for end in clipped_range(rising[None], np.array([len(rising)])))
    return (v_los >= rising[low]) & (v_los <= rising[high - 1]) if len(rising) else np.ones(0, bool)


def clipped_range(
    v_los: Float[np.ndarray, "row galaxy"], n: Int[np.ndarray, "row"]
) -> tuple[Int[np.ndarray, "row"], Int[np.ndarray, "row"]]:
    """First and one past the last of the n velocities, in rising order, that `sigma_clipping` keeps of each row."""
    low, high = np.zeros_like(n), n.copy()
    moving = np.flatnonzero(n > 1)
    while moving.size:  # each round drops a velocity of every row that moves; real clusters need three
        kept = _within_clip(v_los[moving], low[moving], high[moving])
        new = kept.argmax(axis=1), v_los.shape[1] - kept[:, ::-1].argmax(axis=1)
        changed = (new[0] != low[moving]) | (new[1] != high[moving])
        low[moving], high[moving] = new
        moving = moving[changed & (high[moving] - low[moving] > 1)]
    return low, high


def _within_clip(
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


def shifting_gapper(
    R_proj: GalaxyColumn, v_los: GalaxyColumn, *, gap: float = GAP, width: float = BIN, fewest: int = FEWEST
) -> Kept:
    """Drop what a gap in velocity parts from the main body of galaxies at similar distance, until nothing is dropped.

    A bin in distance shifts from galaxy to galaxy: all within width / 2 of it, or the `fewest` nearest in distance
    where those are fewer. In a bin, velocities with no gap above `gap` between them are a group; the main body is the
    largest, of equals the one nearer to velocity 0. A galaxy outside the main body of its own bin goes.

    The published method leaves open how the bin shifts and which group is the main body: both are choices made here.
    Its numbers (1000 km/s; .4 h^-1 Mpc, or more for 15 galaxies) are taken from public implementations, not from the
    paper itself.

    Args:
        R_proj: Distances from the centre [comoving h^-1 Mpc]; the paper's bins are physical, 12 % wider at z = .117.
        v_los: Velocities relative to the cluster [km/s].
        gap: Widest gap inside the main body [km/s].
        width: Width of a bin [h^-1 Mpc].
        fewest: Least number of galaxies in a bin.

    References:
        Fadda et al. 1996, ApJ 473, 670.
    """
    R_proj, v_los = np.asarray(R_proj, float), np.asarray(v_los, float)
    here = np.arange(len(v_los))
    while here.size:
        outside = _outside_main_body(_bins(R_proj[here], width, fewest), v_los[here], gap)
        if not outside.any():
            break
        here = here[~outside]
    return np.isin(np.arange(len(v_los)), here)


def _bins(R_proj: GalaxyColumn, width: float, fewest: int) -> Bool[np.ndarray, "galaxy galaxy"]:
    """A row for the bin around each galaxy: which galaxies are in it."""
    distance, nearest = np.abs(R_proj[:, None] - R_proj), min(fewest, len(R_proj)) - 1
    reach = np.partition(distance, nearest, axis=1)[:, nearest]
    return distance <= np.maximum(reach, width / 2)[:, None]


def _outside_main_body(bins: Bool[np.ndarray, "galaxy galaxy"], v_los: GalaxyColumn, gap: float) -> Kept:
    n, order = len(v_los), np.argsort(v_los, kind="stable")
    inside, v_los = bins[:, order], v_los[order]
    fastest = np.maximum.accumulate(np.where(inside, v_los, -np.inf), axis=1)
    before = np.concatenate([np.full((n, 1), -np.inf), fastest[:, :-1]], axis=1)
    group = np.cumsum(inside & (v_los - before > gap), axis=1)  # from 1: the slowest has none before it
    key = group + (n + 1) * np.arange(n)[:, None]
    weight = 1 + _TIE * (1 - np.abs(v_los) / max(np.abs(v_los).max(), 1.0)) / n
    size = np.bincount(key[inside], np.broadcast_to(weight, key.shape)[inside], minlength=n * (n + 1))
    own = group[np.arange(n), np.argsort(order)]
    return own != size.reshape(n, n + 1).argmax(axis=1)


REMOVALS: dict[str, Callable[[GalaxyColumn, GalaxyColumn], Kept]] = {
    "none": _keep_all,
    "clipping": sigma_clipping,
    "shifting_gapper": shifting_gapper,
}


def kept_galaxies(clusters: Clusters, removal: Removal = "none") -> Iterator[tuple[GalaxyColumn, GalaxyColumn]]:
    """R_proj [h^-1 Mpc] and v_los [km/s], in float64, of the galaxies kept in each cluster in turn."""
    keep = lookup("removal of interlopers", removal, REMOVALS)
    for i in range(len(clusters)):
        R_proj, v_los = (column.astype(float) for column in clusters.galaxies(i))
        kept = keep(R_proj, v_los)
        yield R_proj[kept], v_los[kept]


def members(clusters: Clusters, removal: Removal) -> Kept:
    """Which galaxies are kept, one cluster after another as in `Catalogue.galaxy_column`."""
    keep = lookup("removal of interlopers", removal, REMOVALS)
    masks = [keep(*clusters.galaxies(i)) for i in range(len(clusters))]
    return np.concatenate([np.zeros(0, bool), *masks])


def kept_by(removal: Removal, R_proj: GalaxyColumn, v_los: GalaxyColumn, cluster: np.ndarray, *, n: int) -> Kept:
    """Which galaxies are kept of n clusters, whose index is in `cluster`, rising."""
    keep, edges = lookup("removal of interlopers", removal, REMOVALS), np.searchsorted(cluster, np.arange(n + 1))
    masks = [keep(R_proj[first:last], v_los[first:last]) for first, last in pairwise(edges)]
    return np.concatenate([np.zeros(0, bool), *masks])

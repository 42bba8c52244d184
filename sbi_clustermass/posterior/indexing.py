"""Clusters selected by names, positions, slices and masks."""

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike


def row_indices(which: ArrayLike | slice | str, names: Sequence[str]) -> Int[np.ndarray, "some"]:
    """Positions of the clusters that an index selects.

    Raises:
        KeyError: No cluster has that name.
        IndexError: A position is out of range, a mask has another length, or the index is of another type.
    """
    if isinstance(which, slice):
        return np.arange(len(names))[which]
    index = np.atleast_1d(np.asarray(which))
    if index.ndim > 1:
        raise IndexError(f"clusters are picked by one index, a list or a mask; found an array of shape {index.shape}.")
    if index.dtype.kind in "UO" and index.size:
        return _named([str(name) for name in index], names)
    if index.dtype == bool:
        if len(index) != len(names):
            raise IndexError(f"a mask of {len(index)} values cannot pick from {len(names)} clusters.")
        return np.flatnonzero(index)
    return _positions(index, len(names))


def _named(wanted: Sequence[str], names: Sequence[str]) -> Int[np.ndarray, "some"]:
    known = np.asarray(names, str)
    found = [np.flatnonzero(known == name) for name in wanted]
    for name, rows in zip(wanted, found, strict=True):
        if not rows.size:
            near = get_close_matches(name, names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            raise KeyError(f"no cluster is named {name!r}.{hint} There are {len(names)}: {some}")
    return np.concatenate(found)


def _positions(index: np.ndarray, n: int) -> Int[np.ndarray, "some"]:
    if not index.size:
        return np.zeros(0, int)
    if index.dtype.kind not in "iu":
        raise IndexError(f"clusters are picked by name, position, slice or mask; found {index.dtype} values.")
    bad = index[(index < -n) | (index >= n)]
    if bad.size:
        raise IndexError(f"no cluster at position {bad[0]}: there are {n}, counted from 0.")
    return index % n if n else index

"""HDF5 files, a bounded number of rows at a time, with errors that name the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np

_Member = TypeVar("_Member", h5py.Group, h5py.Dataset)


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to read.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not HDF5, or truncated.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path}: not a readable HDF5 file, or truncated ({error}).") from error
    with file:
        yield file


def group(path: Path, file: h5py.File, name: str) -> h5py.Group:
    """A group of a file.

    Raises:
        ValueError: There is no such group.
    """
    return _member(path, file, name, h5py.Group)


def dataset(path: Path, group: h5py.Group, name: str) -> h5py.Dataset:
    """A dataset of a file or group.

    Raises:
        ValueError: There is no such dataset.
    """
    return _member(path, group, name, h5py.Dataset)


def _member(path: Path, parent: h5py.Group, name: str, kind: type[_Member]) -> _Member:
    found = parent.get(name)
    if not isinstance(found, kind):
        what = kind.__name__.lower()
        raise ValueError(f"{path}: no {what} {name}.\n  found:  {', '.join(parent) or 'none'}")
    return found


def spans(n: int, rows: int) -> Iterator[slice]:
    """Slices of at most `rows` that cover n rows."""
    return (slice(low, min(low + rows, n)) for low in range(0, n, rows))


def part(path: Path, data: h5py.Dataset, span: slice) -> np.ndarray:
    """Some rows of a dataset.

    Raises:
        ValueError: They cannot be read: the file is damaged.
    """
    try:
        return data[span]
    except OSError as error:
        raise ValueError(f"{path}: dataset {data.name} cannot be read; the file is damaged ({error}).") from error


def common_length(path: Path, columns: dict[str, h5py.Dataset]) -> int:
    """Number of rows of all the datasets.

    Raises:
        ValueError: They differ in length.
    """
    lengths = {name: data.shape[0] for name, data in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{path}: datasets differ in length: {lengths}. Files of different snapshots, or truncated?")
    return next(iter(lengths.values()))


def number(file: h5py.File, group: str, name: str) -> float | None:
    """A number among the attributes of a group; None if it is not there."""
    attributes = file[group].attrs if group in file else {}
    return float(np.asarray(attributes[name]).item()) if name in attributes else None

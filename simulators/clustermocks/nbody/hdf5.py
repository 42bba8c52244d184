"""HDF5 files, a bounded number of rows at a time, with errors that name the file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clustermocks.io.paths import as_path

if TYPE_CHECKING:
    import h5py


@contextmanager
def opened(path: Path) -> "Iterator[h5py.File]":
    """Open an HDF5 file to read.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not HDF5, or truncated.
    """
    import h5py

    path = as_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path}: not a readable HDF5 file, or truncated ({error}).") from error
    with file:
        yield file


def datasets(group: "h5py.Group", names: Mapping[str, str]) -> "dict[str, h5py.Dataset]":
    """Find the datasets of a file or group, by our names for those in the file."""
    import h5py

    found = {ours: group.get(theirs) for ours, theirs in names.items()}
    there = {ours: data for ours, data in found.items() if isinstance(data, h5py.Dataset)}
    missing = [theirs for ours, theirs in names.items() if ours not in there]
    if missing:
        listed = ", ".join(group) or "none"
        raise ValueError(f"{group.file.filename}: no dataset {missing[0]}.\n  found:  {listed}")
    return there


def stream(columns: "Mapping[str, h5py.Dataset]", rows: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield datasets of equal length by name, at most `rows` rows at a time."""
    lengths = {name: data.shape[0] for name, data in columns.items()}
    if len(set(lengths.values())) > 1:
        path = next(iter(columns.values())).file.filename
        raise ValueError(f"{path}: datasets differ in length: {lengths}. Files of different snapshots, or truncated?")
    for low in range(0, next(iter(lengths.values())), rows):
        yield {name: _part(data, slice(low, low + rows)) for name, data in columns.items()}


def _part(data: "h5py.Dataset", span: slice) -> np.ndarray:
    try:
        return data[span]
    except OSError as error:
        path = data.file.filename
        raise ValueError(f"{path}: dataset {data.name} cannot be read; the file is damaged ({error}).") from error


def number(file: "h5py.File", group: str, name: str) -> float | None:
    """A number among the attributes of a group; None if it is not there."""
    attributes = file[group].attrs if group in file else {}
    return float(np.asarray(attributes[name]).item()) if name in attributes else None

"""A periodic box of haloes or galaxies, in memory or as a folder of Parquet files, one for each slab along x.

Positions are comoving [h^-1 Mpc] in [0, side); columns and units are those of `schema`. The folder is an ordinary
Hive-partitioned data set (`slab=3/part-0.parquet`), with `_box.json` saying what it is.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clustermocks.files import new_folder
from clustermocks.nbody.schema import SCHEMAS, Kind, Reader, as_table

SLAB_WIDTH = 50.0  # [h^-1 Mpc]; a cylinder reaches over about one slab on either side
MAX_SLABS = 64
ROW_GROUP = 50_000
_FORMAT = 1
_HEADER = "_box.json"


class Box(Protocol):
    """Haloes or galaxies of a periodic box.

    Attributes:
        kind: "haloes" or "galaxies".
        side: Side of the box [comoving h^-1 Mpc].
        n_slabs: Number of slabs along x that are best read one at a time.
    """

    @property
    def kind(self) -> Kind: ...
    @property
    def side(self) -> float: ...
    @property
    def n_slabs(self) -> int: ...

    def between(self, low: float, high: float) -> pa.Table:
        """Rows with low <= x < high [h^-1 Mpc], around the box where low < 0 or high > side."""
        ...


@final
@dataclass(frozen=True)
class ArrayBox:
    """A box in memory; build it with `from_arrays`."""

    kind: Kind
    side: float
    table: pa.Table
    n_slabs: int = 1

    @classmethod
    def from_arrays(cls, kind: Kind, side: float, columns: Mapping[str, np.ndarray]) -> Self:
        """Take arrays (row,) with the columns and units of `Reader`; positions may lie up to a tenth outside the box.

        Args:
            kind: "haloes" or "galaxies".
            side: Side of the box [comoving h^-1 Mpc].
            columns: id, host_id, is_central, x, y, z, vx, vy, vz; M200c of haloes; R_vir and masses where known.

        Raises:
            ValueError: A column is missing or unknown, or a value impossible.
        """
        _check_side(side)
        return cls(kind, float(side), _wrapped(as_table(kind, columns), side, f"these {kind}"))

    def between(self, low: float, high: float) -> pa.Table:
        """See `Box.between`."""
        return _cut(self.table, low, high, self.side)


@final
@dataclass(frozen=True)
class StoredBox:
    """A folder that `convert` wrote, read slab by slab; build it with `open`."""

    folder: Path
    kind: Kind
    side: float
    counts: tuple[int, ...]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a folder.

        Raises:
            FileNotFoundError: No such folder.
            ValueError: It is not a box, or of a later format.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder.")
        try:
            header = json.loads((folder / _HEADER).read_text(encoding="utf-8"))
            if header["format"] != _FORMAT:
                raise ValueError(f"box format {header['format']!r}; this version reads format {_FORMAT}")
            return cls(folder, header["kind"], header["side"], tuple(header["counts"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{folder}: not a box that convert wrote, or damaged ({error}).") from error

    @property
    def n_slabs(self) -> int:
        """Number of slabs along x."""
        return len(self.counts)

    def between(self, low: float, high: float) -> pa.Table:
        """See `Box.between`.

        Raises:
            ValueError: A part is missing, truncated or damaged; the message names it.
        """
        n, width = self.n_slabs, self.side / self.n_slabs
        rounding = 1e-9 * self.side  # a row at a slab's face may have been written to either
        first, last = int(np.floor((low - rounding) / width)), int(np.ceil((high + rounding) / width))
        slabs = range(n) if last - first >= n else sorted({i % n for i in range(first, last)})
        table = pa.concat_tables([SCHEMAS[self.kind].empty_table(), *(self._slab(i) for i in slabs)])
        return _cut(table, low, high, self.side)

    def _slab(self, index: int) -> pa.Table:
        path = _part(self.folder, index)
        if not self.counts[index]:
            return SCHEMAS[self.kind].empty_table()
        try:
            table = pq.ParquetFile(path).read(columns=SCHEMAS[self.kind].names).cast(SCHEMAS[self.kind])
        except (OSError, pa.ArrowException, ValueError, KeyError) as error:
            raise ValueError(
                f"{path}: missing, truncated or damaged; convert the catalogue again ({error})."
            ) from error
        if len(table) != self.counts[index]:
            raise ValueError(f"{path}: {len(table)} rows, expected {self.counts[index]}; convert the catalogue again.")
        return table


def convert(
    reader: Reader,
    source: str | Path | Iterable[str | Path],
    folder: str | Path,
    *,
    kind: Kind,
    side: float,
    minimum: Mapping[str, float] | None = None,
) -> StoredBox:
    """Stream a catalogue of any size into a folder of Parquet files, a bounded number of rows in memory at a time.

    Args:
        reader: The format.
        source: The file, or all files of one snapshot.
        folder: Where to write; it must not exist, and appears whole or not at all.
        kind: "haloes" or "galaxies".
        side: Side of the periodic box [comoving h^-1 Mpc].
        minimum: Least value of some columns, in the units of `Reader`: {"stellar_mass": 10**9.5}, {"M200c": 1e13}.

    Returns:
        The box, ready for `observe_box`.

    Raises:
        FileNotFoundError: No such source file.
        FileExistsError: The folder exists.
        ValueError: The source is damaged or has impossible values, or no row passes the minimum.
        OSError: The disk is full, or not writable.

    Example:
        >>> convert(
        ...     RockstarHlist(), "hlist_0.89510.list", "haloes", kind="haloes", side=1000.0
        ... )  # doctest: +SKIP
    """
    _check_side(side)
    sources = [Path(source)] if isinstance(source, str | Path) else [Path(path) for path in source]
    n_slabs = int(np.clip(side // SLAB_WIDTH, 1, MAX_SLABS))
    with new_folder(Path(folder)) as temporary:
        counts = _write(_tables(reader, sources, kind, side, minimum or {}), temporary, side, n_slabs)
        if not counts.sum():
            raise ValueError(f"{', '.join(map(str, sources))}: no row of {kind} passes {dict(minimum or {})}.")
        header = {"format": _FORMAT, "kind": kind, "side": float(side), "counts": counts.tolist()}
        made = {"reader": repr(reader), "source": [path.name for path in sources], "minimum": dict(minimum or {})}
        (temporary / _HEADER).write_text(json.dumps({**header, **made}), encoding="utf-8")
    return StoredBox.open(folder)


def _tables(
    reader: Reader, sources: list[Path], kind: Kind, side: float, minimum: Mapping[str, float]
) -> Iterator[pa.Table]:
    """Rows that pass the cuts, wrapped into the box."""
    unknown = [name for name in minimum if name not in SCHEMAS[kind].names]
    if unknown:
        raise ValueError(f"minimum: {kind} have no column {unknown[0]}. Choose from: {', '.join(SCHEMAS[kind].names)}.")
    for path in sources:
        for table in reader.read(path, kind):
            keep = np.ones(len(table), bool)
            for name, least in minimum.items():
                values = table[name].to_numpy()
                if len(values) and np.isnan(values).all():
                    raise ValueError(f"{path}: {type(reader).__name__} finds no {name} there; cut in another column.")
                keep &= values >= least
            yield _wrapped(table.filter(pa.array(keep)), side, str(path))


class _Slabs:
    """Open files of all slabs; rows are written in groups, whose number (not theirs) costs memory and reading time."""

    def __init__(self, folder: Path, n: int) -> None:
        self.folder, self.counts = folder, np.zeros(n, np.int64)
        self._writers: dict[int, pq.ParquetWriter] = {}
        self._waiting: dict[int, list[pa.Table]] = {}

    def add(self, index: int, rows: pa.Table) -> None:
        """Take some rows of a slab."""
        waiting = self._waiting.setdefault(index, [])
        waiting.append(rows)
        self.counts[index] += len(rows)
        if sum(map(len, waiting)) >= ROW_GROUP:
            self._flush(index)

    def _flush(self, index: int) -> None:
        rows = pa.concat_tables(self._waiting.pop(index)).combine_chunks()
        if index not in self._writers:
            path = _part(self.folder, index)
            path.parent.mkdir()
            self._writers[index] = pq.ParquetWriter(path, rows.schema, compression="zstd")
        self._writers[index].write_table(rows)

    def finish(self) -> None:
        """Write what waits."""
        for index in list(self._waiting):
            self._flush(index)

    def close(self) -> None:
        """Close all files."""
        for writer in self._writers.values():
            writer.close()


def _write(tables: Iterable[pa.Table], folder: Path, side: float, n_slabs: int) -> np.ndarray:
    """Write each slab's rows to its own file; return the number of rows of each."""
    slabs = _Slabs(folder, n_slabs)
    with closing(slabs):
        for table in tables:
            slab = np.minimum((table["x"].to_numpy() / side * n_slabs).astype(int), n_slabs - 1)
            for index in np.unique(slab):
                slabs.add(int(index), table.filter(pa.array(slab == index)))
        slabs.finish()
    return slabs.counts


def _part(folder: Path, index: int) -> Path:
    return folder / f"slab={index}" / "part-0.parquet"


def _check_side(side: float) -> None:
    if not (np.isfinite(side) and side > 0):
        raise ValueError(f"side of the box must be positive [h^-1 Mpc], found {side!r}.")


def _wrapped(table: pa.Table, side: float, where: str) -> pa.Table:
    """The table with positions in [0, side)."""
    for name in ("x", "y", "z", "vx", "vy", "vz"):
        values = table[name].to_numpy()
        if not np.isfinite(values).all():
            raise ValueError(f"{where}: {name} is not a finite number in {np.sum(~np.isfinite(values))} rows; damaged?")
        if name in "xyz" and len(values):
            low, high = values.min(), values.max()
            if low < -0.1 * side or high > 1.1 * side:
                raise ValueError(
                    f"{where}: {name} runs from {low:.6g} to {high:.6g}, the side of the box is {side:g} h^-1 Mpc. "
                    "Check the side, and that positions are comoving h^-1 Mpc."
                )
            inside = np.mod(values, side)
            inside[inside >= side] = 0.0  # -1e-20 mod side is side
            table = table.set_column(table.column_names.index(name), name, pa.array(inside))
    return table


def _cut(table: pa.Table, low: float, high: float, side: float) -> pa.Table:
    if high - low >= side:
        return table
    x = table["x"].to_numpy()
    inside = (x >= low) & (x < high) if low >= 0 and high <= side else np.mod(x - low, side) < high - low
    return table.filter(pa.array(inside))

"""A periodic box of haloes or galaxies, in memory or as a folder of Parquet files, one for each slab along x.

Positions are comoving [h^-1 Mpc] in [0, side); columns and units are those of `schema`. The folder is an ordinary
Hive-partitioned data set (`slab=3/part-0.parquet`), with `_box.json` saying what it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clustermocks.io.atomic import read_header
from clustermocks.io.paths import as_path
from clustermocks.nbody.schema import SCHEMAS, Kind, as_table

FORMAT = 1
HEADER = "_box.json"


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
        check_side(side)
        return cls(kind, float(side), wrapped(as_table(kind, columns), side, f"these {kind}"))

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
        what, names = "a box that convert wrote", ("kind", "side", "counts")
        folder = as_path(folder)
        kind, side, counts = read_header(folder, HEADER, form=FORMAT, what=what, fields=names)
        return cls(folder, kind, side, tuple(counts))

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
        path = part_path(self.folder, index)
        if not self.counts[index]:
            return SCHEMAS[self.kind].empty_table()
        try:
            table = pq.ParquetFile(path.absolute()).read(columns=SCHEMAS[self.kind].names).cast(SCHEMAS[self.kind])
        except (OSError, pa.ArrowException, ValueError, KeyError) as error:
            raise ValueError(
                f"{path}: missing, truncated or damaged; convert the catalogue again ({error})."
            ) from error
        if len(table) != self.counts[index]:
            raise ValueError(f"{path}: {len(table)} rows, expected {self.counts[index]}; convert the catalogue again.")
        return table


def part_path(folder: Path, index: int) -> Path:
    """File of one slab."""
    return folder / f"slab={index}" / "part-0.parquet"


def check_side(side: float) -> None:
    """Refuse a side that no box has."""
    if not (np.isfinite(side) and side > 0):
        raise ValueError(f"side of the box must be positive [h^-1 Mpc], found {side!r}.")


def wrapped(table: pa.Table, side: float, where: str) -> pa.Table:
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

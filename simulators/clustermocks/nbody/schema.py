"""Tables that every reader of N-body catalogues gives: one schema for haloes, one for galaxies, whatever the format.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities physical and peculiar [km/s]; stellar masses are
[Msun], without h, as all formats have them. Identifiers are 64-bit integers: orphan galaxies exceed 2^53.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal, Protocol, TypeAlias

import numpy as np
import pyarrow as pa

from clustermocks.io.paths import as_path

Kind: TypeAlias = Literal["haloes", "galaxies"]
ROWS = 500_000  # rows of a file held in memory at a time

_COMMON = [
    ("id", pa.int64()),
    ("host_id", pa.int64()),
    ("is_central", pa.bool_()),
    *((name, pa.float64()) for name in ("x", "y", "z")),
    *((name, pa.float32()) for name in ("vx", "vy", "vz")),
]
SCHEMAS: dict[str, pa.Schema] = {
    "haloes": pa.schema([*_COMMON, ("M200c", pa.float64()), ("R_vir", pa.float64())]),
    "galaxies": pa.schema(
        [*_COMMON, *((name, pa.float32()) for name in ("halo_mass", "peak_mass", "accretion_mass", "stellar_mass"))]
    ),
}
_OPTIONAL = ("R_vir", "halo_mass", "peak_mass", "accretion_mass", "stellar_mass")


class Reader(Protocol):
    """A format: gives the rows of a file, a bounded number at a time, in the units of this module.

    Columns of both kinds: id; host_id, the distinct halo it belongs to (its own id if it is one); is_central, whether
    it is a distinct halo or the galaxy at the centre of one; x, y, z [comoving h^-1 Mpc]; vx, vy, vz [km/s].
    Haloes: M200c [h^-1 Msun], R_vir (Bryan & Norman 1998) [comoving h^-1 Mpc]. Galaxies: halo_mass, peak_mass and
    accretion_mass of their (sub)halo [h^-1 Msun], stellar_mass [Msun]. What a format lacks is NaN.

    Attributes:
        kinds: What the format holds.
        rows: Rows of the file in memory at a time.
    """

    kinds: ClassVar[tuple[Kind, ...]]

    @property
    def rows(self) -> int: ...

    def side(self, path: Path) -> float | None:
        """Side of the box that the file states [comoving h^-1 Mpc]; None, as here, if the format does not."""
        return None

    def read(self, path: Path, kind: Kind) -> Iterator[pa.Table]:
        """Yield tables of at most `rows` rows.

        Raises:
            FileNotFoundError: No such file.
            ValueError: The format has no such kind, a column is missing, or the file is damaged or truncated.
        """
        ...


def as_table(kind: Kind, columns: Mapping[str, np.ndarray]) -> pa.Table:
    """Columns as a table of the kind's schema; what a format need not have is filled with NaN.

    Raises:
        ValueError: A column that every format has is missing, or one is unknown.
    """
    schema = SCHEMAS[kind]
    unknown = [name for name in columns if name not in schema.names]
    missing = [name for name in schema.names if name not in columns and name not in _OPTIONAL]
    if unknown or missing:
        raise ValueError(
            f"{kind}: unknown columns {unknown}, missing columns {missing}. Known: {', '.join(schema.names)}."
        )
    empty = np.full(len(columns["id"]), np.nan)
    arrays = [pa.array(np.asarray(columns.get(name, empty)), type=schema.field(name).type) for name in schema.names]
    return pa.table(arrays, schema=schema)


def with_hosts(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Replace `upid` (-1 for distinct haloes and centrals, else the id of the largest parent): host_id, is_central.

    An integer type's largest number stands for -1, too: unsigned integers cannot hold it.
    """
    upid = np.asarray(columns["upid"])
    distinct = (upid == np.iinfo(upid.dtype).max) | (upid < 0) if upid.dtype.kind in "iu" else ~(upid >= 0)
    rest = {name: values for name, values in columns.items() if name != "upid"}
    return {**rest, "host_id": np.where(distinct, columns["id"], upid), "is_central": distinct}


def check_kind(reader: Reader, kind: str, path: Path) -> None:
    """Refuse a kind that a format does not hold, and a file that does not exist."""
    if kind not in reader.kinds:
        hint = " It has no M200c: take the haloes from the halo finder's catalogue." if kind == "haloes" else ""
        raise ValueError(f"{type(reader).__name__} reads {' and '.join(reader.kinds)}, not {kind!r}.{hint}")
    if not as_path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file.")


def match_columns(
    path: Path, found: list[str], wanted: Mapping[str, str], optional: Mapping[str, str]
) -> dict[str, str]:
    """Match our names of columns to those found in the file, whatever their case and whether `@` is escaped.

    Args:
        path: The file, for the message.
        found: Names of its columns.
        wanted: Our name to the format's, of columns that must be there.
        optional: Our name to the format's, of columns that may be absent.
    """
    plain = [name.replace("\\", "").lower() for name in found]
    names = {ours: theirs.lower() for ours, theirs in {**wanted, **optional}.items()}
    missing = [theirs for ours, theirs in wanted.items() if names[ours] not in plain]
    if missing:
        raise ValueError(
            f"{path}: no column {', '.join(missing)}.\n  needs:  {', '.join(wanted.values())}"
            f"\n  found:  {', '.join(found) or 'no named columns'}"
        )
    twice = [theirs for theirs in names.values() if plain.count(theirs) > 1]
    if twice:
        raise ValueError(f"{path}: the column {twice[0]} is there twice; which one is meant is not clear.")
    return {ours: found[plain.index(theirs)] for ours, theirs in names.items() if theirs in plain}

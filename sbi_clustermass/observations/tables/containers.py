"""Readers of FITS, VOTable, HDF5 and Parquet files, the first three of which may hold several tables."""

import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from sbi_clustermass.observations.tables.access import meta_of, set_unit
from sbi_clustermass.observations.tables.column_reader import as_text
from sbi_clustermass.observations.tables.errors import closest, problem, shorten

if TYPE_CHECKING:
    import h5py
    import pyarrow as pa
    from astropy.table import Table

_META = "__table_column_meta__"  # written by astropy next to its tables
_READ_ALL = """
import sys, h5py
def read(name, member):
    if isinstance(member, h5py.Dataset):
        member[()]
with h5py.File(sys.argv[1], "r") as file:
    file.visititems(read)
"""
_PATIENCE = 30.0  # s, and one more for each 10 MB

T = TypeVar("T")


def read_fits(path: Path, wanted: str | None) -> "Table":
    """Read a binary or ASCII table of a FITS file."""
    from astropy.io import fits
    from astropy.table import Table

    with fits.open(path, memmap=False) as units:
        tables = {
            hdu.name or str(i): i for i, hdu in enumerate(units) if isinstance(hdu, (fits.BinTableHDU, fits.TableHDU))
        }
        index = _chosen(path, tables, wanted)
        table = cast("Table", Table.read(units[index], format="fits"))
        header = cast("fits.BinTableHDU", units[index]).header
        for i, name in enumerate(table.colnames, 1):
            if ucd := header.get(f"TUCD{i}"):  # a convention of TOPCAT and others
                meta_of(table, name)["ucd"] = str(ucd)
    return table


def read_votable(path: Path, wanted: str | None) -> "Table":
    """Read a table of a VOTable; its UCDs stay in the columns' `meta`."""
    from astropy.io.votable import parse

    found = enumerate(parse(path, verify="ignore").iter_tables(), 1)
    tables = {table.name or table.ID or str(i): table for i, table in found}
    return _chosen(path, tables, wanted).to_table(use_names_over_ids=True)


def read_hdf5(path: Path, wanted: str | None) -> "Table":
    """Read a table of an HDF5 file: a dataset of records, or a group of one-dimensional datasets of equal length."""
    import h5py
    from astropy.table import Table

    _read_in_child(path)
    with h5py.File(path, "r") as file:
        tables: dict[str, h5py.Dataset | h5py.Group] = {}
        _collect(file, tables)
        table = _chosen(path, tables, wanted)
        if isinstance(table, h5py.Dataset):
            return cast("Table", Table.read(file, format="hdf5", path=table.name))
        return _table_from_group(table)


def _read_in_child(path: Path) -> None:
    """Read a file once in another process: a damaged one can crash or hang the HDF5 library, past any `except`."""
    child = subprocess.Popen(
        [sys.executable, "-c", _READ_ALL, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        _, message = child.communicate(timeout=_PATIENCE + path.stat().st_size / 1e7)
    except subprocess.TimeoutExpired as error:
        child.kill()
        child.communicate()
        raise ValueError("damaged: reading it does not end") from error
    if child.returncode:
        lines = message.strip().splitlines()
        raise ValueError(lines[-1] if child.returncode > 0 and lines else "damaged: it crashes the HDF5 library")


def read_parquet(path: Path) -> "Table":
    """Read a Parquet file.

    Astropy reads one with pandas; only what it wrote of quantities, coordinates and masked columns is left to it.
    """
    from astropy.table import Table
    from pyarrow import parquet

    metadata = parquet.read_schema(path).metadata or {}
    if b"clustermocks" in metadata:
        advice = f"clustermass posteriors {path.name} --model FOLDER infers it"
        raise problem(path.name, "a catalogue of clusters, not a table of galaxies.", advice=advice)
    if b"__serialized_columns__" not in metadata.get(b"table_meta_yaml", b""):
        return _table_from_arrow(parquet.read_table(path))
    if find_spec("pandas") is None:
        found = "quantities, coordinates or masked columns of astropy, which reads them with pandas"
        raise problem(
            path.name, "cannot be read.", found=found, advice="pip install pandas, or write the table as ECSV"
        )
    return cast("Table", Table.read(path, format="parquet"))


def _table_from_arrow(arrow: "pa.Table") -> "Table":
    """Table with the columns of a Parquet file, and units where astropy wrote it."""
    from astropy.table import Table
    from astropy.table.meta import get_header_from_yaml

    text = (arrow.schema.metadata or {}).get(b"table_meta_yaml", b"").decode()
    header = get_header_from_yaml(text.split("\n")) if text else {}
    columns = {name: _numpy(arrow[name]) for name in arrow.column_names}
    table = Table(columns, meta=header.get("meta"))
    for each in header.get("datatype", ()):
        if "unit" in each:
            set_unit(table, each["name"], each["unit"])
    return table


def _numpy(values: "pa.ChunkedArray") -> np.ndarray:
    """Values of a column; text without a value is masked, a number without one is not a number.

    Bytes are text: astropy writes the names of a FITS table so. Lists are vectors, or text if their lengths differ.
    """
    from pyarrow import types

    kind = values.type.value_type if types.is_dictionary(values.type) else values.type
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        rows = values.to_pylist()
        regular = len({None if row is None else len(row) for row in rows}) == 1
        return np.array(rows if regular else list(map(str, rows)))
    text = types.is_string, types.is_large_string, types.is_string_view
    octets = types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary
    if not any(is_kind(kind) for is_kind in text + octets):
        return values.cast(kind).to_numpy()
    words = values.to_pylist()
    missing = [word is None for word in words]
    filled = np.array(["" if word is None else as_text(word) for word in words], dtype=str)
    return np.ma.array(filled, mask=missing) if any(missing) else filled


def _chosen(path: Path, tables: Mapping[str, T], wanted: str | None) -> T:
    """Return the only table, or the one that is wanted."""
    names = ", ".join(tables)
    if not tables:
        raise problem(path.name, "no table in the file.", advice="save the galaxies as a table, a row each")
    if wanted is not None:
        if wanted not in tables:
            near = closest(wanted, tables)
            raise problem(path.name, f"no table {wanted!r}.", found=names, advice=f"--table {near}" if near else "")
        return tables[wanted]
    if len(tables) > 1:
        advice = f"--table {next(iter(tables))}"
        raise problem(path.name, "several tables in the file.", found=shorten(tables), advice=advice)
    return next(iter(tables.values()))


def _collect(group: "h5py.Group", tables: "dict[str, h5py.Dataset | h5py.Group]") -> None:
    """Add every table in a group and in the groups below."""
    import h5py

    members = [(name, group.get(name)) for name in map(str, group) if not name.endswith(_META)]
    lists = [m for _, m in members if isinstance(m, h5py.Dataset) and m.dtype.names is None and m.ndim == 1]
    if len(lists) > 1 and len({len(each) for each in lists}) == 1:
        tables[(group.name or "").strip("/") or "/"] = group
    for name, member in members:
        inner = f"{group.name or ''}/{name}".strip("/")
        if isinstance(member, h5py.Group):
            _collect(member, tables)
        elif isinstance(member, h5py.Dataset) and member.dtype.names is not None and member.ndim == 1:
            tables[inner] = member


def _table_from_group(group: "h5py.Group") -> "Table":
    import h5py
    from astropy.table import Table

    table = Table()
    for name, member in group.items():
        if isinstance(member, h5py.Dataset) and member.ndim == 1 and member.dtype.names is None:
            table[name] = member[()]
            unit = next((member.attrs[key] for key in ("unit", "units", "Unit", "Units") if key in member.attrs), None)
            if unit is not None:
                set_unit(table, name, unit)
    return table

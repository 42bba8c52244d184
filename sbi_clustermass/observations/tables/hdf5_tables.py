"""Reader of HDF5 files: tables are datasets of records, or groups of datasets of equal length."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from sbi_clustermass.observations.tables.chosen_table import chosen_table
from sbi_clustermass.observations.tables.errors import problem
from sbi_clustermass.observations.tables.raw_columns import RawColumn, as_text, table_of

if TYPE_CHECKING:
    import h5py
    from astropy.table import Table

Member: TypeAlias = "h5py.Dataset | h5py.Group"

_META = "__table_column_meta__"  # written by astropy next to its tables
_PANDAS, _INDEX = "axis0", "_i_table"  # names of columns in a DataFrame's group; groups of a table's indices
_WAYS = ({"locking": False}, {}, {"swmr": True})  # the first reads a file that another program has open
_READ_ALL = f"""
import sys, h5py
def read(name, member):
    if isinstance(member, h5py.Dataset):
        try:
            member[()]
        except Exception:
            pass
for i, way in enumerate(ways := {_WAYS}):
    try:
        with h5py.File(sys.argv[1], "r", **way) as file:
            file.visititems(read)
        break
    except OSError:
        if way is ways[-1]:
            raise
"""
_PATIENCE = 30.0  # s, and one more for each 10 MB


def read_hdf5(path: Path, wanted: str | None) -> "Table":
    """Read a table of an HDF5 file, also where another program has the file open."""
    import h5py

    _read_in_child(path)
    with _open(path) as file:
        tables: dict[str, Member] = {}
        _collect(file, tables)
        table = chosen_table(path, list(tables.items()), wanted)
        if isinstance(table, h5py.Dataset):
            _refuse_unnamed(path, table.dtype.names)
            return _of_records(table, file)
        return _of_frame(table) if _PANDAS in table else _of_group(table)


def _refuse_unnamed(path: Path, names: tuple[str, ...]) -> None:
    """Refuse blocks of columns whose names pandas pickled."""
    if blocks := [name for name in names if name.startswith("values_block_")]:
        advice = "in Python, infer(pandas.read_hdf(PATH)); or write it with to_hdf(..., data_columns=True)"
        what = "pandas wrote blocks of columns without readable names."
        raise problem(path.name, what, found=", ".join(blocks), advice=advice)


def _open(path: Path) -> "h5py.File":
    import h5py

    for way in _WAYS[:-1]:
        try:
            return h5py.File(path, "r", **way)
        except OSError:
            continue
    return h5py.File(path, "r", **_WAYS[-1])


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


def _collect(group: "h5py.Group", tables: dict[str, Member]) -> None:
    """Add every table in a group and in the groups below."""
    import h5py

    if _PANDAS in group or _length(group):
        tables[(group.name or "").strip("/") or "/"] = group
    for name in map(str, group):
        inner, member = f"{group.name or ''}/{name}".strip("/"), group.get(name)
        if isinstance(member, h5py.Group) and name != _INDEX:
            _collect(member, tables)
        elif isinstance(member, h5py.Dataset) and not name.endswith(_META) and member.ndim == 1 and member.dtype.names:
            tables[inner] = member


def _length(group: "h5py.Group") -> int | None:
    """Number of rows of a group that is a table: most of its lists have that length, and two at least."""
    counts = Counter(len(each) for each in _lists(group).values() if each.ndim == 1)
    length, count = counts.most_common(1)[0] if counts else (None, 0)
    return length if count > max(1, counts.total() / 2) else None


def _lists(group: "h5py.Group") -> "dict[str, h5py.Dataset]":
    import h5py

    members = {name: group.get(name) for name in map(str, group) if not name.endswith(_META)}
    return {
        name: each
        for name, each in members.items()
        if isinstance(each, h5py.Dataset) and each.dtype.names is None and each.ndim
    }


def _of_group(group: "h5py.Group") -> "Table":
    rows = _length(group) or 0
    columns = [
        RawColumn(name, lambda member=member: member[()], _unit(member))
        for name, member in _lists(group).items()
        if len(member) == rows
    ]
    return table_of(columns, rows)


def _of_frame(group: "h5py.Group") -> "Table":
    """A DataFrame as pandas writes it by default: a block for the columns of each type; text is pickled, not read."""
    blocks = [str(name).removesuffix("_items") for name in group if str(name).endswith("_items")]
    columns = [
        RawColumn(as_text(name), lambda block=block, i=i: _block_column(group, block, i))
        for block in blocks
        for i, name in enumerate(_members(group, f"{block}_items"))
    ]
    return table_of(columns, len(_members(group, "axis1")))


def _block_column(group: "h5py.Group", block: str, i: int) -> np.ndarray:
    values = _members(group, f"{block}_values")
    if values.ndim < 2:
        raise ValueError("objects that pandas pickled: in Python, infer(pandas.read_hdf(PATH)) reads them")
    return values[:, i]


def _members(group: "h5py.Group", name: str) -> np.ndarray:
    return np.asarray(cast("h5py.Dataset", group[name])[()])


def _unit(member: "h5py.Dataset") -> object:
    return next((member.attrs[key] for key in ("unit", "units", "Unit", "Units") if key in member.attrs), None)


def _of_records(dataset: "h5py.Dataset", file: "h5py.File") -> "Table":
    from astropy.table.meta import get_header_from_yaml

    written: Any = file.get(f"{dataset.name}.{_META}")
    lines = dataset.attrs.get(_META, ()) if written is None else written[()]
    header = get_header_from_yaml(line.decode() for line in lines) if len(lines) else {}
    about = {each["name"]: each for each in header.get("datatype", ())}
    records = np.asarray(dataset[()])
    columns = [
        RawColumn(
            name,
            lambda name=name: records[name],
            about.get(name, {}).get("unit"),
            str(about.get(name, {}).get("meta", {}).get("ucd", "")),
        )
        for name in records.dtype.names or ()
    ]
    return table_of(columns, len(records), header.get("meta"))

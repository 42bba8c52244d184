"""Columns of a file -> an astropy table, converted one by one: a column that cannot be read costs only itself."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast, final

import numpy as np
from numpy.typing import ArrayLike

from sbi_clustermass.observations.tables.access import SHARED_NAME, UNREADABLE, unreadable
from sbi_clustermass.observations.tables.errors import first_line

if TYPE_CHECKING:
    from astropy.table import MaskedColumn, Table

PLAIN, _TIMES = "iufbSU", "mM"
_OBJECTS = "__serialized_columns__"  # where astropy describes the quantities, coordinates and times that it took apart
_KINDS = {"c": "complex numbers", "V": "records of several values"}
_NUMBERS = (int, float, Decimal, np.number, np.bool_)


@final
@dataclass(frozen=True)
class RawColumn:
    """A column as a file has it.

    Attributes:
        name: Name in the file, which other columns may have, too.
        read: Returns the values, one for each row; called once.
        unit: Unit, None if the file gives none.
        ucd: UCD, "" if the file gives none.
        description: Its meaning in words, "" if the file gives none.
    """

    name: str
    read: Callable[[], ArrayLike]
    unit: object = None
    ucd: str = ""
    description: str = ""


def table_of(columns: Sequence[RawColumn], rows: int, meta: Mapping[str, Any] | None = None) -> "Table":
    """Build a table; a column that cannot be read has no values there, and the reason in its metadata.

    Columns of one name are told apart by their number in the file, from 1: z#3 and z#7.

    Args:
        columns: Columns in the order of the file.
        rows: Number of rows.
        meta: Metadata of the file; the objects that astropy describes there are put together.
    """
    from astropy.table import Table

    names = [column.name.strip() or f"column {i}" for i, column in enumerate(columns, 1)]
    shared = {name for name, count in Counter(names).items() if count > 1}
    out = []
    for i, (name, raw) in enumerate(zip(names, columns, strict=True), 1):
        column = read_column(replace(raw, name=f"{name}#{i}" if name in shared else name), rows)
        if name in shared:
            cast("dict[str, Any]", column.meta)[SHARED_NAME] = name
        out.append(column)
    plain = {key: value for key, value in (meta or {}).items() if key != _OBJECTS}
    return _assembled(Table(out, meta=plain, copy=False), (meta or {}).get(_OBJECTS, {}))


def read_column(raw: RawColumn, rows: int) -> "MaskedColumn":
    """Read a column of some number of rows; one that cannot be read has no values, and the reason in its metadata."""
    from astropy.table import Column, MaskedColumn

    meta = {"ucd": raw.ucd} if raw.ucd else {}
    try:
        values = as_plain(raw.read())
        if values.shape[:1] != (rows,):
            raise ValueError(f"values for {len(values) if values.ndim else 0} of {rows} rows")
    except Exception as error:  # a damaged or foreign column may raise anything
        values, meta[UNREADABLE] = np.ma.array(np.zeros(rows, "U1"), mask=True), first_line(error)
    kind = MaskedColumn if isinstance(values, np.ma.MaskedArray) else Column
    unit = raw.unit.decode() if isinstance(raw.unit, bytes) else str(raw.unit or "")
    about = {"name": raw.name, "unit": unit or None, "description": raw.description or None, "meta": meta}
    return cast("MaskedColumn", kind(values, copy=False, **about))


def as_plain(values: ArrayLike) -> np.ndarray:
    """Convert values to numbers, truth values or text, masked where one is missing.

    Raises:
        ValueError: They are of another kind, such as records or lists of different lengths.
    """
    from astropy.utils.masked import Masked

    array = np.ma.array(values.unmasked, mask=values.mask) if isinstance(values, Masked) else np.asanyarray(values)
    kind = array.dtype.kind
    if kind in PLAIN:
        return array
    if kind in _TIMES:
        return np.ma.array(array.astype(str), mask=np.isnat(array)) if np.isnat(array).any() else array.astype(str)
    if kind == "O" and array.ndim == 1:
        return _from_objects(array)
    if kind == "T":
        return array.astype(str)
    raise ValueError(_KINDS.get(kind, f"values of type {array.dtype}"))


def _from_objects(array: np.ndarray) -> np.ndarray:
    """Text or numbers from Python objects, of which None, NaN and what is masked are missing."""
    values = np.ma.getdata(array).tolist()
    missing = np.ma.getmaskarray(array) | np.array([_is_missing(value) for value in values], bool)
    present = [value for value, is_missing in zip(values, missing, strict=True) if not is_missing]
    other = next((value for value in present if not isinstance(value, (*_NUMBERS, str, bytes))), None)
    if other is not None:
        raise ValueError(f"values of type {type(other).__name__}, such as {str(other)[:40]}")
    if not present or any(isinstance(value, (str, bytes)) for value in present):
        texts = ["" if is_missing else as_text(value) for value, is_missing in zip(values, missing, strict=True)]
        found = np.array(texts, dtype=str)
        return np.ma.array(found, mask=missing) if missing.any() else found
    return np.array([np.nan if gone else float(value) for value, gone in zip(values, missing, strict=True)])


def _is_missing(value: object) -> bool:
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


def _assembled(table: "Table", objects: Mapping[str, Any]) -> "Table":
    """Put together the objects that astropy took apart; the parts of one that cannot be stay as they are."""
    from astropy.table import Table, serialize

    for name, description in objects.items():
        if any(unreadable(table, part) for part in table.colnames if part == name or part.startswith(f"{name}.")):
            continue
        try:  # the readers of astropy share this function, but do so for all objects or for none
            meta = {**cast("dict[str, Any]", table.meta), _OBJECTS: {name: description}}
            table = serialize._construct_mixins_from_columns(Table(table, meta=meta, copy=False))
        except Exception:
            continue
    return table


def as_text(value: object) -> str:
    """Convert a field to text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

"""Columns and rows of astropy tables; `table[...]` gives either, which type checkers cannot tell apart."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from jaxtyping import Int

if TYPE_CHECKING:
    from astropy.table import Column, Table


def column_of(table: "Table", name: str) -> "Column":
    """One column."""
    return cast("Column", table[name])


def columns_of(table: "Table", names: Sequence[str]) -> "Table":
    """Some columns, as a table."""
    return cast("Table", table[list(names)])


def rows_of(table: "Table", rows: Int[np.ndarray, "row"]) -> "Table":
    """Some rows, as a table."""
    return cast("Table", table[rows])


def meta_of(table: "Table", name: str) -> dict[str, Any]:
    """What the file says of a column beside its unit, such as its UCD."""
    return cast("dict[str, Any]", column_of(table, name).meta)


def set_unit(table: "Table", name: str, unit: object) -> None:
    """Give a column the unit that stands elsewhere in its file."""
    column_of(table, name).unit = unit.decode() if isinstance(unit, bytes) else str(unit)

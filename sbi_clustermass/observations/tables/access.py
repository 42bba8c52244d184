"""Typed access to columns and rows of astropy tables, since `table[...]` may be either to a type checker."""

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from jaxtyping import Int

if TYPE_CHECKING:
    from astropy.table import Column, Table


def column_of(table: "Table", name: str) -> "Column":
    """Return one column."""
    return cast("Column", table[name])


def rows_of(table: "Table", rows: Int[np.ndarray, "row"]) -> "Table":
    """Return some rows as a table."""
    return cast("Table", table[rows])


def meta_of(table: "Table", name: str) -> dict[str, Any]:
    """Return the metadata of a column other than its unit, such as its UCD."""
    return cast("dict[str, Any]", column_of(table, name).meta)


def set_unit(table: "Table", name: str, unit: object) -> None:
    """Set the unit of a column."""
    column_of(table, name).unit = unit.decode() if isinstance(unit, bytes) else str(unit)

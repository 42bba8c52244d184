"""Typed access to columns and rows of astropy tables, since `table[...]` may be either to a type checker.

What is known of a file besides its values is kept in the metadata of its table and columns, under names of our own.
"""

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from jaxtyping import Int

UNREADABLE = "clustermass: unreadable"  # of a column: why it has no values
SHARED_NAME = "clustermass: name"  # of a column: its name in the file, which another column has, too
ROWS_LOST = "clustermass: rows lost"  # of a table: sentences about rows that could not be read
NO_NAMES = "clustermass: no names"  # of a table: the first row of a file that does not name its columns

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


def unreadable(table: "Table", name: str) -> str:
    """Return the reason why a column could not be read, "" if it could."""
    return str(meta_of(table, name).get(UNREADABLE, ""))


def said_of(table: "Table", key: str) -> list[str]:
    """Return what is known of a table under one of our names."""
    return list(cast("dict[str, Any]", table.meta).get(key, ()))

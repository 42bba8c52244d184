"""Columns of an observer's table -> float64 arrays in our units, NaN where a value is missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast, final

import numpy as np
from jaxtyping import Bool, Float

from sbi_clustermass.tables.errors import problem, shorten
from sbi_clustermass.tables.names import find_column, suggestion

if TYPE_CHECKING:
    from astropy.table import Column, Table

_MISSING = {"", "nan", "--", "-", "null", "none", "n/a", "na", "masked"}
_NUMBERS = "iufb"
_UNITS = {"ra": "deg", "dec": "deg", "ra_cluster": "deg", "dec_cluster": "deg", "cz": "km/s", "v_los": "km/s"}

Values: TypeAlias = Float[np.ndarray, "row"]


@final
@dataclass(frozen=True)
class Reader:
    """Finds and checks columns of one table.

    Attributes:
        table: What the file held.
        where: The file's name.
        chosen: The user's choices of columns, ours -> theirs.
    """

    table: "Table"
    where: str
    chosen: Mapping[str, str]

    def find(self, ours: str) -> str | None:
        """Name of the column that holds one of our quantities, or None."""
        return find_column(self.where, self.table.colnames, ours, self.chosen)

    def column(self, name: str) -> "Column":
        """A column as it is in the file."""
        return cast("Column", self.table[name])

    def read(self, ours: str, name: str) -> Values:
        """A column as float64 in our unit, NaN where a value is missing.

        Raises:
            TableError: Not one number a row, or a unit that is no unit of this quantity.
        """
        column = self.column(name)
        values = self._numbers(column, _parser(ours))
        if ours not in _UNITS or column.unit is None or column.dtype.kind not in _NUMBERS:
            return values
        return values * self._factor(column, _UNITS[ours])

    def constant(self, ours: str) -> float | None:
        """The one value of a column that describes the cluster, or None.

        Raises:
            TableError: The column has several values: several clusters in one table.
        """
        name = self.find(ours)
        if name is None:
            return None
        values = np.unique(self.read(ours, name))
        values = values[np.isfinite(values)]
        if len(values) > 1:
            what, found = "more than one cluster in the table.", f"{name} from {values[0]:g} to {values[-1]:g}"
            raise problem(self.where, what, found=found, advice="a table for each cluster")
        return float(values[0]) if len(values) else None

    def missing(self, what: str, ours: str) -> Exception:
        """The error for a quantity that no column gives."""
        names = self.table.colnames
        return problem(self.where, what, found=shorten(names), advice=suggestion(names, ours))

    def refuse(self, bad: Bool[np.ndarray, "row"], values: Values, what: str, advice: str) -> None:
        """Raise an error that names the first bad row, if there is one."""
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            found = f"{values[row]:g} in row {row + 1} of {len(values)}"
            raise problem(self.where, what, found=found, advice=advice)

    def _factor(self, column: "Column", unit: str) -> float:
        from astropy import units as u

        try:
            return float(cast("float", u.Quantity(1.0, column.unit).to_value(unit)))
        except (u.UnitConversionError, ValueError, TypeError) as error:
            what, found = f"column {column.name} cannot be read in {unit}.", f"unit {column.unit}"
            raise problem(self.where, what, found=found, advice=f"convert it to {unit}") from error

    def _numbers(self, column: "Column", parse: Callable[[str], float]) -> Values:
        if column.ndim != 1:
            found = f"an array of shape {column.shape[1:]} in each row"
            raise problem(self.where, f"column {column.name} is not one number a row.", found=found)
        masked = np.ma.getmaskarray(np.ma.asarray(column))
        if column.dtype.kind in _NUMBERS:
            return np.where(masked, np.nan, np.asarray(column, dtype=float))
        values = np.full(len(column), np.nan)
        for row in np.flatnonzero(~masked):
            values[row] = self._number(column, int(row), parse)
        return values

    def _number(self, column: "Column", row: int, parse: Callable[[str], float]) -> float:
        """One field of text as a number, NaN if it is one of the usual signs for a missing value."""
        value = column[row]
        text = (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).strip()
        try:
            return np.nan if text.lower() in _MISSING else parse(text)
        except ValueError as error:
            what, found = f"column {column.name} is not a number.", f"{text!r} in row {row + 1} of {len(column)}"
            advice = "correct it, or leave the field empty to drop the row"
            raise problem(self.where, what, found=found, advice=advice) from error


def _parser(ours: str) -> Callable[[str], float]:
    """Text to number; angles may be sexagesimal, right ascensions then in hours."""
    return {"ra": lambda text: _degrees(text, "hourangle"), "dec": lambda text: _degrees(text, "deg")}.get(ours, float)


def _degrees(text: str, unit: str) -> float:
    from astropy.coordinates import Angle

    if len(text.replace(":", " ").split()) == 3:
        return cast("float", Angle(text, unit=unit).to_value("deg"))
    return float(text)

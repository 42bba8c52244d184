"""Columns of an observer's table -> float64 arrays in our units, NaN where a value is missing."""

import math
import re
import shlex
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, final

import numpy as np
from jaxtyping import Bool, Float, Int

from sbi_clustermass.observations.tables.access import (
    NO_NAMES,
    ROWS_LOST,
    SHARED_NAME,
    column_of,
    meta_of,
    said_of,
    set_unit,
    unreadable,
)
from sbi_clustermass.observations.tables.column_names import (
    ALIASES,
    base_name,
    choice,
    factor_and_unit,
    is_main,
    is_quantity,
    length_words,
    most_usual,
    speed_word,
    split_unit,
    suggestion,
    ucd_contradicts,
    ucd_quantity,
)
from sbi_clustermass.observations.tables.errors import TableError, counted, encodable, problem, shorten
from sbi_clustermass.observations.tables.parsing import angles, is_missing, is_sexagesimal, numbers
from sbi_clustermass.observations.tables.raw_columns import as_text
from sbi_clustermass.observations.tables.units import Unit

if TYPE_CHECKING:
    from astropy.table import Column, Table

_NUMBERS = "iufb"
_NO_ID = re.compile(rf"|-\d+(\.0*)?|--|nan|none|null|{'|'.join(str(2**n - 1) for n in (31, 32, 63, 64))}", re.I)
_WHOLE = re.compile(r"\d+\.0*")
_HUGE = 1e30  # none of our quantities is as large in any unit: it marks a missing value, or damage
_BY_NUMBER = "name the columns in a first line, or count them from 1: --column ra=1 --column dec=2 --column z=3"
_FACTORS: dict[str, Callable[[Unit], float]] = {
    **dict.fromkeys(("ra", "dec", "ra_cluster", "dec_cluster"), Unit.degrees),
    **dict.fromkeys(("cz", "v", "v_los", "v_err"), Unit.kilometres_per_second),
    **dict.fromkeys(("z", "z_err", "z_cluster"), Unit.redshift),
}
_BY_UNIT = {"R_proj": lambda unit: length_words(unit)[0], "v": lambda unit: speed_word(factor_and_unit(unit)[1])}

Values: TypeAlias = Float[np.ndarray, "row"]


def by_name(names: Sequence[str], chosen: Mapping[str, str]) -> dict[str, str]:
    """Replace the numbers of columns, from 1, by their names, where no column has that name."""
    numbered = {str(i): name for i, name in enumerate(names, 1)}
    return {ours: theirs if theirs in names else numbered.get(theirs, theirs) for ours, theirs in chosen.items()}


def choose(table: "Table", chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the names of the user's columns; a unit in brackets behind one is set: 'R [arcmin]', '3 [1e3 km/s]'."""
    split = {o: (theirs, "") if theirs in table.colnames else split_unit(theirs) for o, theirs in chosen.items()}
    names = by_name(table.colnames, {ours: name for ours, (name, _) in split.items()})
    for ours, (_, unit) in split.items():
        if unit and names[ours] in table.colnames:
            set_unit(table, names[ours], unit)
    return names


@final
@dataclass(frozen=True)
class ColumnReader:
    """Finder and checker of one table's columns.

    Attributes:
        table: Rows of a file.
        where: Name of the file and the cluster, for messages.
        chosen: The user's choices of columns, ours -> theirs.
        numbers: Numbers of the rows in the file, from 0, (row,); None where the table is all of it.
        rows_lost: Sentences about fields that are no numbers, of the columns read so far.
    """

    table: "Table"
    where: str
    chosen: Mapping[str, str]
    numbers: Int[np.ndarray, "row"] | None = None
    rows_lost: list[str] = field(default_factory=list)

    def find(self, ours: str) -> str | None:
        """Find the column of one of our quantities by the user's choice, name, UCD or unit; None if there is none."""
        if ours in self.chosen:
            return choice(self.where, self.table.colnames, ours, self.chosen[ours])
        found = self.candidates(ours)
        if len(found) > 1:
            main = [name for name in found if is_main(self.ucd(name))]
            found = main if len(main) == 1 else found
        sound = [name for name in found if not unreadable(self.table, name)]
        found = sound if len(sound) == 1 else most_usual(found, ours)
        if len(found) > 1:
            what, advice = f"more than one column could be {ours}.", f"--column {shlex.quote(f'{ours}={found[0]}')}"
            raise problem(self.where, what, found=", ".join(found), advice=advice)
        return found[0] if found else None

    def candidates(self, ours: str) -> list[str]:
        """List the columns that could hold one of our quantities: by name, or else by UCD, or else by unit."""
        taken = set(self.chosen.values())
        names = [name for name in self.table.colnames if name not in taken]
        found = [
            n for n in names if is_quantity(self._title(n), ours, self.unit(n).text) and not self._is_other(n, ours)
        ]
        return found or [name for name in names if ucd_quantity(self.ucd(name)) == ours] or self._by_unit(names, ours)

    def column(self, name: str, ours: str = "id") -> "Column":
        """Return a column as it is in the file.

        Raises:
            TableError: It cannot be read; the advice is on the quantity of ours that it should hold.
        """
        if reason := unreadable(self.table, name):
            advice = f"convert it to numbers or text{_another(ours)}"
            raise problem(self.where, f"column {name} cannot be read.", found=reason, advice=advice)
        return column_of(self.table, name)

    def unit(self, name: str) -> Unit:
        """Return the unit of a column."""
        return Unit(self.where, self._title(name), column_of(self.table, name).unit)

    def ucd(self, name: str) -> str:
        """Return the UCD of a column, "" if it has none."""
        return str(meta_of(self.table, name).get("ucd", "") or "")

    def read(self, ours: str, name: str) -> Values:
        """Read a column as float64 in our unit (distances from the centre in their own), NaN where one is missing."""
        values, converted = self.numbers_of(name, ours)
        values = np.where(np.abs(values) < _HUGE, values, np.nan)
        if not converted and ours in _FACTORS:
            return values * _FACTORS[ours](self.unit(name))
        return values

    def numbers_of(self, name: str, ours: str) -> tuple[Values, bool]:
        """Read the numbers of a column, and whether they are in our unit already, as sexagesimal angles are."""
        column = self.column(name, ours)
        if column.ndim != 1:
            found = f"an array of shape {column.shape[1:]} in each row"
            advice = f"store one number a row{_another(ours)}"
            raise problem(self.where, f"column {name} is not one number a row.", found=found, advice=advice)
        masked = np.ma.getmaskarray(np.ma.asarray(column))
        if column.dtype.kind in _NUMBERS:
            with np.errstate(over="ignore", invalid="ignore"):
                return np.where(masked, np.nan, np.asarray(column, dtype=float)), False
        texts = ["" if hidden else as_text(value) for value, hidden in zip(column, masked, strict=True)]
        sky = ours in ("ra", "dec", "ra_cluster", "dec_cluster") and is_sexagesimal(texts)
        return self._parsed(name, texts, ours, sky=sky), sky

    def _parsed(self, name: str, texts: Sequence[str], ours: str, *, sky: bool) -> Values:
        """Numbers in a column of text; fields that are none are taken as missing unless they are half of it."""
        try:
            values = angles(texts, hours=ours.startswith("ra")) if sky else numbers(texts)
        except ValueError as error:
            row = [text.strip() for text in texts].index(str(error))
            raise self._not_numbers(name, row, texts, ours) from error
        bad = [row for row in np.flatnonzero(np.isnan(values)).tolist() if not is_missing(texts[row])]
        if bad and 2 * len(bad) >= sum(not is_missing(text) for text in texts):
            raise self._not_numbers(name, bad[0], texts, ours)
        if bad:
            rows, first = counted(len(bad), "row"), f"{_shown(texts[bad[0]])} in row {self._row(bad[0])}"
            self.rows_lost.append(f"{rows} without a number in column {name}, taken as missing (the first has {first})")
        return values

    def optional(self, ours: str) -> Values | None:
        """Read the column of a quantity that no mass needs: None if there is none, or none that can be read."""
        name = self.find(ours)
        try:
            return None if name is None else self.read(ours, name)
        except TableError as error:
            found = f" ({error.found})" if error.found else ""
            self.rows_lost.append(f"{error.what.rstrip('.')}, and is not used{found}")
            return None

    def constant(self, ours: str) -> float | None:
        """Read the single value of a column that describes the cluster, None without such a column."""
        name = self.find(ours)
        if name is None:
            return None
        values = np.unique(self.read(ours, name))
        values = values[np.isfinite(values)]
        if len(values) > 1:
            what, found = "more than one cluster in the table.", f"{name} from {values[0]:g} to {values[-1]:g}"
            raise problem(self.where, what, found=found, advice="--id COLUMN, or a table for each cluster")
        return float(values[0]) if len(values) else None

    def missing(self, what: str, ours: str) -> Exception:
        """Make the error for a quantity that no column gives."""
        names = self.table.colnames
        if first := said_of(self.table, NO_NAMES):
            found = f"the first line is {first[0]!r}"
            return problem(self.where, "no line of column names.", found=found, advice=_BY_NUMBER)
        return problem(self.where, what, found=shorten(names), advice=suggestion(names, ours))

    def without(self, bad: Bool[np.ndarray, "row"], values: Values, what: str, advice: str) -> Values:
        """Take bad values as missing, and keep account of them; an error where they are as many as the others."""
        if not bad.any():
            return values
        first = int(np.flatnonzero(bad)[0])
        found = f"{values[first]:g} in row {self._row(first)}"
        if 2 * bad.sum() >= np.isfinite(values).sum():
            raise problem(self.where, f"{what}.", found=f"{found} of {len(values)}", advice=advice)
        self.rows_lost.append(f"{counted(int(bad.sum()), 'row')} taken as missing: {what} (the first has {found})")
        return np.where(bad, np.nan, values)

    def warn_of_lost_rows(self) -> None:
        """Warn of rows and fields that could not be read, where no account of a cluster lists them."""
        for text in (*said_of(self.table, ROWS_LOST), *self.rows_lost):
            warnings.warn(f"{self.where}: {text}", UserWarning, stacklevel=3)

    def _title(self, name: str) -> str:
        """Name of a column in the file, where two may have the same."""
        return str(meta_of(self.table, name).get(SHARED_NAME, name))

    def _is_other(self, name: str, ours: str) -> bool:
        """Whether the UCD or the unit of a column contradicts its name."""
        unit = self.unit(name).text.lower()
        return ucd_contradicts(self.ucd(name), ours) or (ours in ("z", "v") and unit.startswith(("mag", "ab", "mmag")))

    def _by_unit(self, names: Sequence[str], ours: str) -> list[str]:
        if ours not in _BY_UNIT:
            return []
        known = {alias for aliases in ALIASES.values() for alias in aliases}
        fits = [name for name in names if _BY_UNIT[ours](self.unit(name).text) and base_name(name) not in known]
        return [n for n in fits if not any(word in n.lower() for word in ("err", "e_", "sig", "disp", "200", "500"))]

    def _not_numbers(self, name: str, row: int, texts: Sequence[str], ours: str) -> Exception:
        """Make the error for a column of text in the place of numbers."""
        found = f"{_shown(texts[row])} in row {self._row(row)} of {len(texts)}"
        advice = f"correct it, or leave missing values empty{_another(ours)}"
        return problem(self.where, f"column {name} is not a number.", found=found, advice=advice)

    def _row(self, index: int) -> int:
        """Number of a row in the file, from 1."""
        return index + 1 if self.numbers is None else int(self.numbers[index]) + 1


def _another(ours: str) -> str:
    return f"; or --column {ours}=NAME of another column" if ours in ALIASES else ""


def _shown(text: str) -> str:
    short = text.strip()
    return repr(short if len(short) <= 40 else f"{short[:40]}...")


def id_texts(column: "Column", where: str) -> list[str]:
    """Convert names or numbers of clusters to text, "" for no cluster: missing, negative, or the largest integer."""
    values = np.ma.asarray(column)
    if column.dtype.kind == "f":
        _check_exact(column, where)
        whole = [str(int(v)) if math.isfinite(v) and v == int(v) else "" for v in np.ma.getdata(values).tolist()]
    else:
        whole = [encodable(as_text(value)).strip() for value in np.ma.getdata(values).tolist()]
    masked = np.ma.getmaskarray(values).tolist()
    texts = ["" if hidden or _NO_ID.fullmatch(text) else text for text, hidden in zip(whole, masked, strict=True)]
    if all(_WHOLE.fullmatch(text) for text in texts if text):  # numbers that were floating point, since one was missing
        return [text.partition(".")[0] for text in texts]
    return texts


def _check_exact(column: "Column", where: str) -> None:
    """Refuse numbers of clusters that floating point has rounded: two may have become one."""
    values = np.ma.getdata(column)
    largest = float(np.max(np.abs(values), where=np.isfinite(values), initial=0))
    if 2.0 ** (np.finfo(values.dtype).nmant + 1) < largest < _HUGE:
        what = f"column {column.name} holds numbers of clusters that {values.dtype} rounds: two may have become one."
        raise problem(where, what, found=f"{largest:.17g}", advice="store them as whole numbers (int64) or text")

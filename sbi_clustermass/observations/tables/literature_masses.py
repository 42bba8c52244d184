"""Published masses of clusters from a table, in our units.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, cast, final

import numpy as np
from jaxtyping import Float

from clustermocks.io.paths import as_path
from sbi_clustermass.observations.tables.access import column_of
from sbi_clustermass.observations.tables.cluster_list import simplified, unmatched
from sbi_clustermass.observations.tables.column_reader import ColumnReader, id_texts
from sbi_clustermass.observations.tables.errors import problem, shorten
from sbi_clustermass.observations.tables.files import read_file
from sbi_clustermass.observations.tables.raw_columns import as_text

if TYPE_CHECKING:
    from astropy.table import Table

_NAMES = ("name", "cluster", "id", "object")
_ERRORS = (("err", "err"), ("error", "error"), ("err_low", "err_high"), ("error_low", "error_high"))
_LITTLE_H = re.compile(r"/\s*(little)?h\b|\b(little)?h(inv|\^?\s*\{?\(?-1\)?\}?)")
_DEX = re.compile(r"\s*dex\s*(?:\((.*)\)\s*)?", re.IGNORECASE)
_OTHERS = ("log10_mass", "mass", "method", "reference", "unit", "h")
_FARTHEST = 1.0  # dex: length of an error that reaches below zero mass
_RANGE = (12.0, 17.0)  # log10 mass of groups and clusters of galaxies


@final
@dataclass(frozen=True)
class PublishedMass:
    """One published mass of a cluster.

    Attributes:
        log10_mass: M200c [dex of h^-1 Msun].
        below: Error towards lower masses [dex], NaN if unknown.
        above: Error towards higher masses [dex], NaN if unknown.
        method: Method, such as "caustic", "X-ray", "lensing"; "" if unknown.
        reference: Authors or paper; "" if unknown.
    """

    log10_mass: float
    below: float
    above: float
    method: str
    reference: str

    @property
    def label(self) -> str:
        """Method and reference in a few words."""
        return ", ".join(part for part in (self.method, self.reference) if part) or "published"


@final
@dataclass(frozen=True)
class PublishedMasses:
    """Published masses by cluster, found by name whatever its case, blanks, underscores and hyphens.

    Attributes:
        masses: The masses by the simplified names of their clusters.
        names: Names in the table, by the simplified ones.
        where: Name of the file, for messages.
    """

    masses: Mapping[str, tuple[PublishedMass, ...]]
    names: Mapping[str, str] = field(default_factory=dict)
    where: str = "published masses"

    def for_cluster(self, name: str) -> tuple[PublishedMass, ...]:
        """Return the masses of one cluster, in the table's order; empty if there are none."""
        return self.masses.get(_simple(name), ())

    def unmatched(self, found: Sequence[str]) -> str:
        """Name the clusters of the table that are none of those found; "" if there are none."""
        used = set(map(_simple, found))
        rest = [name for simple, name in self.names.items() if simple not in used]
        return unmatched(self.where, rest, found, what="published masses")


def read_published_masses(path: str | Path, *, h: float) -> PublishedMasses:
    """Read a table of published masses, one a row; a cluster may have several.

    Columns, in capitals or not: name; log10_mass [dex of h^-1 Msun], or mass; err, or err_low and err_high, in the same
    unit; and optionally method, reference, unit and h. A column's unit (ECSV, FITS), or the text in
    column unit, may be "Msun", "1e14 Msun", "1e14 Msun/h", "10^14 h^-1 Msun" or astropy's "solMass / littleh"; mass
    needs one. "dex(Msun)" gives the unit of ten to the power of the column; "dex" alone adds nothing to log10_mass.

    Args:
        path: A table in any format that `read_table` reads.
        h: Hubble constant of masses without h^-1 in their unit, where the table has no column h [100 km/s/Mpc].

    Raises:
        TableError: A column is missing, a unit is no mass, or a value is not the mass of a cluster.
    """
    path = as_path(path)
    table = _in_small_letters(read_file(path, ids={*_NAMES}), path.name)
    reader = ColumnReader(table, path.name, {})
    names = id_texts(reader.column(_column(table, path.name, _NAMES, "names of clusters"), "name"), path.name)
    value = _column(table, path.name, ("log10_mass", "mass"), "masses")
    errors = next((pair for pair in _ERRORS if set(pair) <= set(table.colnames)), ("", ""))
    values, low, high = (_numbers(reader, name) for name in (value, *errors))
    units = _units(table, value)
    factors = np.array([_solar_masses(unit, path.name, value) for unit in units]) * _to_per_h(reader, units, h)
    linear = [value == "mass" and _DEX.fullmatch(unit) is None for unit in units]
    found: dict[str, tuple[PublishedMass, ...]] = {}
    for i, name in enumerate(names):
        if name and np.isfinite(values[i]):
            numbers = _in_dex(values[i], low[i], high[i], linear=linear[i])
            mass = PublishedMass(numbers[0] + float(np.log10(factors[i])), *numbers[1:], *_words(table, i))
            _check(path.name, name, mass)
            found[_simple(name)] = (*found.get(_simple(name), ()), mass)
    reader.warn_of_lost_rows()
    return PublishedMasses(found, {_simple(name): name for name in names if _simple(name) in found}, path.name)


def _in_dex(value: float, low: float, high: float, *, linear: bool) -> tuple[float, float, float]:
    """Log10 of a mass and its errors [dex]; NaN for a mass that is not positive."""
    if not linear:
        return float(value), float(low), float(high)
    if not value > 0:
        return np.nan, np.nan, np.nan
    below = _FARTHEST if low >= value else float(-np.log10(1 - low / value))
    return float(np.log10(value)), min(below, _FARTHEST) if low == low else np.nan, float(np.log10(1 + high / value))


def _check(where: str, name: str, mass: PublishedMass) -> None:
    if not _RANGE[0] <= mass.log10_mass <= _RANGE[1]:
        found = f"{name}: log10 of {mass.log10_mass:.2f} h^-1 Msun"
        raise problem(where, "not the mass of a cluster.", found=found, advice="check its unit: 1e14 Msun, 1e14 Msun/h")
    if mass.below < 0 or mass.above < 0:
        raise problem(where, "a negative error of a mass.", found=name, advice="errors are positive, below as above")


def _in_small_letters(table: "Table", where: str) -> "Table":
    """Rename the columns that count to lower case."""
    for word in {*_NAMES, *chain(*_ERRORS), *_OTHERS}:
        found = [name for name in table.colnames if name.strip().lower() == word]
        if len(found) > 1:
            advice = "leave one of them out"
            raise problem(where, "two columns of one name.", found=shorten(found), advice=advice)
        if found and found[0] != word:
            table.rename_column(found[0], word)
    return table


def _column(table: "Table", where: str, names: tuple[str, ...], what: str) -> str:
    found = [name for name in names if name in table.colnames]
    if not found:
        advice = f"name the column {' or '.join(names[:2])}"
        raise problem(where, f"no {what}.", found=shorten(table.colnames), advice=advice)
    return found[0]


def _numbers(reader: ColumnReader, name: str) -> Float[np.ndarray, "row"]:
    """Numbers of a column, NaN where a value or the column is missing."""
    if name not in reader.table.colnames:
        return np.full(len(reader.table), np.nan)
    return reader.numbers_of(name, name)[0]


def _words(table: "Table", row: int) -> tuple[str, str]:
    texts = [as_text(column_of(table, name)[row]) if name in table.colnames else "" for name in ("method", "reference")]
    return texts[0].strip().strip("-"), texts[1].strip().strip("-")  # -- stands for a missing text


def _units(table: "Table", value: str) -> list[str]:
    """Unit of each row, "" where there is none."""
    if "unit" in table.colnames:
        return [as_text(text).strip().strip("-") for text in column_of(table, "unit")]
    return [str(column_of(table, value).unit or "")] * len(table)


def _solar_masses(unit: str, where: str, value: str) -> float:
    """Solar masses in one unit, whatever its h."""
    from astropy import units as u

    text = _LITTLE_H.sub(" ", _bare(unit)).replace("10^", "1e").strip()
    if not text and value == "log10_mass":
        return 1.0
    try:
        if not isinstance(found := u.Unit(text), u.UnitBase):
            raise TypeError("a unit of magnitudes or the like")
        return cast("float", found.to(u.Unit("solMass")))
    except (ValueError, TypeError, u.UnitsError) as error:
        advice = "a unit beside the column, or a column unit: 1e14 Msun, 1e14 Msun/h"
        raise problem(where, f"no unit of mass for {value}.", found=repr(unit), advice=advice) from error


def _bare(unit: str) -> str:
    """Strip the logarithm off a unit, "" for "dex" alone.

    Example:
        >>> _bare("dex(solMass / littleh)")
        'solMass / littleh'
    """
    log = _DEX.fullmatch(unit)
    return unit if log is None else (log[1] or "").strip()


def _to_per_h(reader: ColumnReader, units: Sequence[str], h: float) -> Float[np.ndarray, "row"]:
    """Factor from Msun to h^-1 Msun of each row: h where the unit has none, else 1."""
    own = _numbers(reader, "h")
    own = np.where(np.isfinite(own), own, h)
    if not ((own > 0.3) & (own < 1.5)).all():
        what, advice = "column h holds no Hubble constants.", "0.7, say; or another name for it"
        raise problem(reader.where, what, found=f"{own.min():g}", advice=advice)
    per_h = [_LITTLE_H.search(unit) is not None or not unit for unit in map(_bare, units)]
    return np.where(per_h, 1.0, own)


def _simple(name: str) -> str:
    return simplified(name).replace("-", "")

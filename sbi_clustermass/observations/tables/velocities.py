"""Velocities in an observer's table: redshifts, c z, or relative to the cluster; other numbers are refused.

Velocities are in km/s.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from jaxtyping import Bool, Float

from clustermocks.haloes.cosmology import SPEED_OF_LIGHT
from sbi_clustermass.estimator.verdict import Grade, Reason
from sbi_clustermass.observations.tables.column_names import is_photometric, is_radio
from sbi_clustermass.observations.tables.column_reader import ColumnReader
from sbi_clustermass.observations.tables.errors import problem

FEWEST = 10  # values below which their unit is not questioned
NARROW = 60.0  # km/s: no group of ten galaxies is that cold, nor that near as c z
NEAREST_CZ, NEAREST_REST = 900.0, 1000.0  # km/s: c z of the nearest clusters; medians of velocities about a cluster
_MISSING = (-99.0, -999.0, -9999.0, -99999.0, -99.9, -99.99, -999.9, -999.99)

Values: TypeAlias = Float[np.ndarray, "galaxy"]


@final
@dataclass(frozen=True)
class Redshifts:
    """Observed redshifts [1], (galaxy,)."""

    values: Values

    @property
    def usable(self) -> Bool[np.ndarray, "galaxy"]:
        """False for NaN and what surveys write for it (0, -9.99, 9999); the most blueshifted galaxies have -0.001."""
        return (self.values > -0.01) & (self.values < 9) & (self.values != 0)

    @property
    def velocities(self) -> Values:
        """c ln(1+z) [km/s]: differences of these are velocities at any redshift."""
        return SPEED_OF_LIGHT * np.log1p(self.values)


@final
@dataclass(frozen=True)
class Velocities:
    """Line-of-sight velocities relative to the cluster [km/s], (galaxy,)."""

    values: Values

    @property
    def usable(self) -> Bool[np.ndarray, "galaxy"]:
        """False for NaN and for speeds of light or more."""
        return np.abs(self.values) < SPEED_OF_LIGHT

    @property
    def velocities(self) -> Values:
        """The velocities themselves [km/s]."""
        return self.values


Velocity: TypeAlias = Redshifts | Velocities
Found: TypeAlias = tuple[Velocity, tuple[Reason, ...], tuple[str, ...]]


def read_velocities(reader: ColumnReader, *, relative: bool) -> Found:
    """Read the table's velocities, relative ones first if asked so.

    A column that is only called v or velocity is c z if nearly all of it is above 0 and the median above 900 km/s, and
    relative to the cluster if the median is below 1000 km/s and a part of it negative. So is a column that is called a
    redshift without a unit, where most of its values can be none.

    Returns:
        The velocities, reasons to doubt them, and notes on what was assumed.
    """
    for ours in ("v_los", "z", "cz", "v") if relative else ("z", "cz", "v", "v_los"):
        if name := reader.find(ours):
            values = reader.read(ours, name)
            if ours == "z":
                _refuse_photometric(reader, [name])
            if ours == "z" and (
                reader.unit(name).text or _spread(values) < NARROW or np.isfinite(values).sum() < FEWEST
            ):
                return Redshifts(values), (), ()
            kind = _kind(reader, name, values) if ours in ("v", "z") else ours
            meaning = "c z" if kind == "cz" else "velocity relative to the cluster"
            velocity, reasons = (_recession if kind == "cz" else _relative)(reader, name, values)
            return velocity, reasons, (f"column {name} read as {meaning}",) if ours in ("v", "z") else ()
    _refuse_photometric(reader, reader.table.colnames)
    raise reader.missing("no velocity. It needs column z (redshift), cz [km/s] or v_los [km/s].", "z")


def _refuse_photometric(reader: ColumnReader, names: Sequence[str]) -> None:
    """Refuse photometric redshifts, which a column's name, description or UCD says that it holds."""
    for name in names:
        described = str(reader.column(name).description or "").lower()
        says = re.search(r"photo[-\s]*(metric)?[-\s]*(z\b|redshift)", described) and "spec" not in described
        if is_photometric(name) or says or reader.ucd(name).lower().startswith(("src.redshift.phot", "redshift_phot")):
            found = f"column {name}, whose errors of some 10 000 km/s are wider than any cluster"
            what, advice = "photometric redshifts give no mass.", "--column z=NAME, a column of spectroscopic redshifts"
            raise problem(reader.where, what, found=found, advice=advice)


def _kind(reader: ColumnReader, name: str, values: Values) -> str:
    finite = values[np.isfinite(values)]
    low, middle = np.percentile(finite, [5, 50]) if len(finite) else (0.0, 0.0)
    if low > 0 and middle > NEAREST_CZ:
        return "cz"
    if low < 0 and abs(middle) < NEAREST_REST:
        return "v_los"
    found, advice = f"5 % below {low:.3g}, median {middle:.3g} km/s", f"--column cz={name}, or --column v_los={name}"
    if len(finite) and 0 <= low <= np.max(finite) < 3:
        advice = f"if they are redshifts, --column z={name}; in units of c, --column 'v_los={name} [c]'"
    raise problem(reader.where, f"is {name} c z, or relative to the cluster?", found=found, advice=advice)


def _recession(reader: ColumnReader, name: str, values: Values) -> tuple[Velocity, tuple[Reason, ...]]:
    """Redshifts from c z, or from velocities of the radio convention."""
    finite = values[np.isfinite(values)]
    if len(finite) >= FEWEST and np.median(np.abs(finite)) < NARROW:
        found, advice = f"median {np.median(finite):.3g}", f"if they are redshifts, --column z={name}"
        raise problem(reader.where, f"{name} is no c z in km/s.", found=found, advice=advice)
    beta = values / SPEED_OF_LIGHT
    if is_radio(reader.ucd(name)):
        return Redshifts(np.where(beta < 1, beta / np.where(beta < 1, 1 - beta, 1), np.nan)), ()
    return Redshifts(beta), ()


def _relative(reader: ColumnReader, name: str, values: Values) -> tuple[Velocity, tuple[Reason, ...]]:
    """Relative velocities; a value such as -999 that repeats stands for a missing one."""
    marks = [mark for mark in _MISSING if (values == mark).sum() > 2]
    missing = np.isin(values, marks)
    finite = values[np.isfinite(values) & ~missing]
    if len(finite) >= FEWEST:
        _check_size(reader, name, finite)
    counts = {mark: int((values == mark).sum()) for mark in marks}
    found = (f"{n} rows have {name} = {mark:g}: taken as missing" for mark, n in counts.items())
    return Velocities(np.where(missing, np.nan, values)), tuple(Reason(text, Grade.USE) for text in found)


def _check_size(reader: ColumnReader, name: str, finite: Values) -> None:
    advice, spread = f"name its unit: --column 'v_los={name} [m/s]', or [c], [1e3 km/s]", _spread(finite)
    if spread < NARROW:
        found = f"half of them within {spread / 1.4826:.3g} of their median"
        raise problem(reader.where, f"{name} is no velocity in km/s.", found=found, advice=advice)
    fast = float((np.abs(finite) > SPEED_OF_LIGHT).mean())
    if fast > 0.05:
        raise problem(reader.where, f"{name} is no velocity in km/s.", found=f"{fast:.0%} above c", advice=advice)


def _spread(values: Values) -> float:
    """Standard deviation of most values, 0 if none is finite: outliers and marks of missing values do not count."""
    finite = values[np.isfinite(values)]
    return 1.4826 * float(np.median(np.abs(finite - np.median(finite)))) if len(finite) else 0.0

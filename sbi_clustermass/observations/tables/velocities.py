"""Velocities in an observer's table: redshifts, c z, or relative to the cluster; and what is none of them.

Velocities are in km/s.
"""

from typing import TypeAlias

import numpy as np

from clustermocks.haloes.cosmology import SPEED_OF_LIGHT
from sbi_clustermass.observations.tables.column_reader import ColumnReader
from sbi_clustermass.observations.tables.coordinates import Redshifts, Values, Velocities, Velocity
from sbi_clustermass.observations.tables.errors import problem
from sbi_clustermass.observations.tables.ucds import is_radio

FEWEST = 10  # values below which nothing is said about their unit
NARROW = 60.0  # km/s: no group of ten galaxies is that cold, nor that near as c z
NEAREST_CZ, NEAREST_REST = 900.0, 1000.0  # km/s: c z of the nearest clusters; medians of velocities about a cluster
_MISSING = (-99.0, -999.0, -9999.0, -99999.0, -99.9, -99.99, -999.9, -999.99)

Found: TypeAlias = tuple[Velocity, tuple[str, ...], tuple[str, ...]]


def read_velocities(reader: ColumnReader, *, relative: bool) -> Found:
    """Whatever the table has, relative velocities first if asked so; then warnings, and notes on what was assumed.

    A column that is only called v or velocity is c z if nearly all of it is above 0 and the median above 900 km/s, and
    relative to the cluster if the median is below 1000 km/s and a part of it negative.

    Raises:
        TableError: No velocity, several columns could be meant, or the numbers are no km/s.
    """
    for ours in ("v_los", "z", "cz", "v") if relative else ("z", "cz", "v", "v_los"):
        if name := reader.find(ours):
            values = reader.read(ours, name)
            if ours == "z":
                return Redshifts(values), (), ()
            if ours == "v":
                ours, note = _meaning(reader, name, values), True
            else:
                note = False
            notes = (f"column {name} read as {'c z' if ours == 'cz' else 'velocity relative to the cluster'}",)
            velocity, said = (_recession if ours == "cz" else _relative)(reader, name, values)
            return velocity, said, notes if note else ()
    raise reader.missing("no velocity. It needs column z (redshift), cz [km/s] or v_los [km/s].", "z")


def _meaning(reader: ColumnReader, name: str, values: Values) -> str:
    finite = values[np.isfinite(values)]
    low, middle = np.percentile(finite, [5, 50]) if len(finite) else (0.0, 0.0)
    if low > 0 and middle > NEAREST_CZ:
        return "cz"
    if low < 0 and abs(middle) < NEAREST_REST:
        return "v_los"
    found, advice = f"5 % below {low:.0f}, median {middle:.0f} km/s", f"--column cz={name}, or --column v_los={name}"
    raise problem(reader.where, f"is {name} c z, or relative to the cluster?", found=found, advice=advice)


def _recession(reader: ColumnReader, name: str, values: Values) -> tuple[Velocity, tuple[str, ...]]:
    """c z as redshifts, those of the radio convention too."""
    finite = values[np.isfinite(values)]
    if len(finite) >= FEWEST and np.median(np.abs(finite)) < NARROW:
        found, advice = f"median {np.median(finite):.3g}", f"if they are redshifts, --column z={name}"
        raise problem(reader.where, f"{name} is no c z in km/s.", found=found, advice=advice)
    beta = values / SPEED_OF_LIGHT
    if is_radio(reader.ucd(name)):
        return Redshifts(np.where(beta < 1, beta / np.where(beta < 1, 1 - beta, 1), np.nan)), ()
    return Redshifts(beta), ()


def _relative(reader: ColumnReader, name: str, values: Values) -> tuple[Velocity, tuple[str, ...]]:
    """Relative velocities; a value such as -999 that repeats is a sign for a missing one."""
    marks = [mark for mark in _MISSING if (values == mark).sum() > 2]
    missing = np.isin(values, marks)
    finite = values[np.isfinite(values) & ~missing]
    if len(finite) >= FEWEST:
        _check_size(reader, name, finite)
    said = tuple(f"{(values == mark).sum()} rows have {name} = {mark:g}: taken as missing" for mark in marks)
    return Velocities(np.where(missing, np.nan, values)), said


def _check_size(reader: ColumnReader, name: str, finite: Values) -> None:
    advice = "give the column the unit that it has, or convert it to km/s"
    spread = 1.4826 * float(np.median(np.abs(finite - np.median(finite))))  # a standard deviation, without outliers
    if spread < NARROW:
        found = f"half of them within {spread / 1.4826:.3g} of their median"
        raise problem(reader.where, f"{name} is no velocity in km/s.", found=found, advice=advice)
    fast = float((np.abs(finite) > SPEED_OF_LIGHT).mean())
    if fast > 0.05:
        raise problem(reader.where, f"{name} is no velocity in km/s.", found=f"{fast:.0%} above c", advice=advice)

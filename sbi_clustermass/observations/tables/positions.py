"""Positions in an observer's table: on the sky, or distances from the cluster's centre in Mpc or as angles.

Angles are in degrees, distances in Mpc of whatever convention the table follows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from jaxtyping import Float

from sbi_clustermass.observations.tables.column_names import angle_word, is_scaled_distance, may_be_distance
from sbi_clustermass.observations.tables.column_reader import ColumnReader
from sbi_clustermass.observations.tables.errors import problem
from sbi_clustermass.observations.tables.parsing import join_sexagesimal
from sbi_clustermass.observations.tables.raw_columns import as_text
from sbi_clustermass.observations.tables.units import Length

LARGEST_MEDIAN = 50.0  # Mpc: no field around a cluster is that wide
UNIT_CLEAR = 4.0  # Mpc: half of a field of galaxies around one cluster; distances in arcmin or kpc reach farther
CENTRAL = 3  # galaxies at the centre itself: one, or those of a few components
_PARTS = {"ra": ("rah", "ram", "ras"), "dec": ("ded", "dem", "des")}  # in tables of journals and the CDS
_SIGNS = ("de-", "design", "decsign")
_FIELD, _FEW = 0.05, 20  # extent: of any field in radians, of hardly one in degrees; galaxies that show it


@final
@dataclass(frozen=True)
class Sky:
    """Right ascension and declination of galaxies [deg], (galaxy, 2)."""

    values: Float[np.ndarray, "galaxy 2"]


@final
@dataclass(frozen=True)
class Distances:
    """Distances of galaxies from the cluster's centre, as the table gives them.

    Attributes:
        values: Projected distances in Mpc of the convention below, (galaxy,).
        h: Hubble constant that the unit states [100 km/s/Mpc]: 1 for h^-1 Mpc; None if it states none.
        frame: "comoving" or "physical", None if neither the column's name nor its unit says.
        column: Name of the column, for messages.
        unit_known: Whether its name or the file says that they are in Mpc, kpc or the like.
    """

    values: Float[np.ndarray, "galaxy"]
    h: float | None
    frame: str | None
    column: str
    unit_known: bool = True


@final
@dataclass(frozen=True)
class Angles:
    """Angles between galaxies and the cluster's centre [deg], (galaxy,)."""

    values: Float[np.ndarray, "galaxy"]


Position: TypeAlias = Sky | Distances | Angles


def read_positions(reader: ColumnReader) -> Position:
    """Read sky positions if there are any and the user did not choose a column of distances, else distances."""
    ra, dec = reader.find("ra") or _decimal_hours(reader), reader.find("dec")
    if "R_proj" not in reader.chosen:
        if ra and dec:
            return _sky(reader, ra, dec)
        parts = sexagesimal_parts(reader.table.colnames)
        if not ra and not dec and all(part in parts for names in _PARTS.values() for part in names):
            return _sky_from_parts(reader, parts)
    distance = reader.find("R_proj")
    if distance:
        return _distances(reader, distance)
    for name in () if ra or dec else reader.table.colnames:
        if is_scaled_distance(name):
            raise _scaled(reader, name)
        if may_be_distance(name):
            raise _unit_question(reader, name, "it may also be a magnitude")
    raise reader.missing("no positions. It needs columns ra and dec [deg], or R_proj [Mpc].", "dec" if ra else "ra")


def _decimal_hours(reader: ColumnReader) -> str | None:
    """A column RAh, which holds right ascensions in hours where no column has their minutes."""
    parts = sexagesimal_parts(reader.table.colnames)
    return None if "ram" in parts else parts.get("rah")


def sexagesimal_parts(names: Sequence[str]) -> dict[str, str]:
    """Names of columns of hours or degrees, minutes, seconds and signs, by what they hold."""
    known = {*_SIGNS, *(part for parts in _PARTS.values() for part in parts)}
    return {part: name for name in names if (part := name.lower().replace("_", "")) in known}


def _unit_question(reader: ColumnReader, name: str, found: str) -> Exception:
    """Ask for the unit of a distance that nothing says."""
    advice = f"--column 'R_proj={name} [arcmin]', or [Mpc], [kpc], [h_70^-1 kpc], [arcsec], [deg]"
    what = f"in which unit is {name}, the distance from the centre: Mpc, kpc, arcmin?"
    return problem(reader.where, what, found=found, advice=advice)


def _scaled(reader: ColumnReader, name: str) -> Exception:
    what, found = f"{name} is no distance from the centre in Mpc.", "by its name it is a logarithm, or in units of r200"
    advice = "convert it to Mpc in a column R_proj, or give ra and dec; the radius of the cluster is what we infer"
    return problem(reader.where, what, found=found, advice=advice)


def _sky(reader: ColumnReader, ra: str, dec: str) -> Sky:
    longitude, latitude = reader.read("ra", ra), reader.read("dec", dec)
    _ask_about_radians(reader, {ra: longitude, dec: latitude})
    advice = "leave missing positions empty; angles are in degrees unless the column has another unit"
    off = (longitude < -180) | (longitude > 360)
    longitude = reader.without(off, longitude, f"{ra} lies outside 0 to 360 degrees", advice)
    latitude = reader.without(np.abs(latitude) > 90, latitude, f"{dec} lies outside -90 to 90 degrees", advice)
    return Sky(np.stack([longitude, latitude], axis=1))


def _ask_about_radians(reader: ColumnReader, angles: Mapping[str, Float[np.ndarray, "row"]]) -> None:
    """Ask whether angles of no stated unit are in radians, where they would make a tiny field near 0 degrees."""
    ra, dec = (values[np.isfinite(values)] for values in angles.values())
    stated = any(reader.unit(name).text or angle_word(name) for name in angles)
    if stated or min(len(ra), len(dec)) < _FEW or (ra < 0).any() or ra.max() > 2 * np.pi or np.abs(dec).max() > 1.6:
        return
    around = (ra - ra[0] + np.pi) % (2 * np.pi)  # a field across 0
    if max(np.ptp(np.percentile(values, [5, 95])) for values in (around, dec)) < _FIELD:
        names = " and ".join(angles)
        found = f"{len(ra)} galaxies within {_FIELD:g} of each other, near {ra[0]:.4g}, {dec[0]:.4g}"
        advice = " ".join(f"--column '{ours}={name} [rad]'" for ours, name in zip(("ra", "dec"), angles, strict=True))
        raise problem(reader.where, f"are {names} in radians?", found=found, advice=f"{advice}; or [deg] for both")


def _sky_from_parts(reader: ColumnReader, parts: Mapping[str, str]) -> Sky:
    """Positions from separate columns for hours or degrees, minutes, seconds and the sign of the declination."""
    hours, degrees = ([reader.read("part", parts[each]) for each in names] for names in _PARTS.values())  # no unit
    signs, sign = np.ones(len(reader.table)), next((parts[each] for each in _SIGNS if each in parts), None)
    if sign:
        signs = np.array([-1.0 if as_text(each).strip() == "-" else 1.0 for each in reader.column(sign)])
    elif (degrees[0] <= 0).any():
        what, found = "the sign of the declination is not clear.", "DEd of 0 or less, and no column DE- for the sign"
        raise problem(reader.where, what, found=found, advice="--column dec=NAME")
    ra = 15 * join_sexagesimal(np.ones(len(signs)), *hours)
    dec = join_sexagesimal(signs, *degrees)
    advice = "correct it, or leave it empty"
    ra = reader.without((ra < 0) | (ra > 360), ra, "RAh lies outside 0 to 24 hours", advice)
    dec = reader.without(np.abs(dec) > 90, dec, "DEd lies outside -90 to 90 degrees", advice)
    return Sky(np.stack([ra, dec], axis=1))


def _distances(reader: ColumnReader, name: str) -> Distances | Angles:
    if is_scaled_distance(name):
        raise _scaled(reader, name)
    known, unit, values = reader.unit(name).is_known, reader.unit(name).separation(), reader.read("R_proj", name)
    values = reader.without(values < 0, values, f"{name} is negative", "projected distances are 0 or more")
    centred = (values == 0) & ((values == 0).sum() > CENTRAL)
    values = reader.without(centred, values, f"{name} is 0", "leave missing distances empty")
    if not isinstance(unit, Length):
        values = values * unit
        return Angles(
            reader.without(values > 180, values, f"{name} is larger than the sky", "angles up to 180 degrees")
        )
    values = values * unit.mpc
    median = float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0
    if median > UNIT_CLEAR and not known:
        raise _unit_question(reader, name, f"a median of {median:.3g}, too far for Mpc")
    if median > LARGEST_MEDIAN:
        advice = f"if it is, --column 'R_proj={name} [kpc]'"
        raise problem(reader.where, f"{name} looks like kpc.", found=f"median {median:.0f} Mpc", advice=advice)
    return Distances(values, unit.h, unit.frame, name, known)

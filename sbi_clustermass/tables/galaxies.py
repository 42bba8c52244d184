"""An observer's table -> its usable galaxies: a position and a velocity each, on the sky or relative to the cluster.

Angles are in degrees, velocities in km/s, distances in Mpc of whatever convention the table follows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias, final

import numpy as np
from jaxtyping import Bool, Float

from clustermocks.cosmology import SPEED_OF_LIGHT
from sbi_clustermass.tables.columns import Reader
from sbi_clustermass.tables.errors import problem
from sbi_clustermass.tables.names import length_words

if TYPE_CHECKING:
    from astropy.table import Table

LARGEST_MEDIAN = 50.0  # Mpc: no field around a cluster is that wide

Values: TypeAlias = Float[np.ndarray, "galaxy"]


@final
@dataclass(frozen=True)
class Sky:
    """Where galaxies are.

    Attributes:
        values: Right ascension and declination [deg], (galaxy, 2).
    """

    values: Float[np.ndarray, "galaxy 2"]


@final
@dataclass(frozen=True)
class Distances:
    """How far galaxies are from the cluster's centre, as the table gives it.

    Attributes:
        values: Projected distances in Mpc, of the convention below, (galaxy,).
        per_h: Whether the unit is h^-1 Mpc.
        frame: "comoving" or "physical", None if neither the column's name nor its unit says.
        column: The column's name, for messages.
    """

    values: Values
    per_h: bool
    frame: str | None
    column: str


@final
@dataclass(frozen=True)
class Redshifts:
    """Observed redshifts [1], (galaxy,)."""

    values: Values

    @property
    def usable(self) -> Bool[np.ndarray, "galaxy"]:
        """False for NaN and what surveys write for it (0, -9.99, 9999); the most blueshifted galaxies have -0.001."""
        return (self.values > -0.01) & (self.values < 9) & (self.values != 0)


@final
@dataclass(frozen=True)
class Velocities:
    """Line-of-sight velocities relative to the cluster [km/s], (galaxy,)."""

    values: Values

    @property
    def usable(self) -> Bool[np.ndarray, "galaxy"]:
        """False for NaN and what is no velocity."""
        return np.abs(self.values) < SPEED_OF_LIGHT


@final
@dataclass(frozen=True)
class Galaxies:
    """The usable rows of a table.

    Attributes:
        position: On the sky, or relative to the centre.
        velocity: From us, or relative to the cluster.
        n_rows: Rows of the table.
        n_dropped: Rows without a usable position or velocity.
        redshift: The cluster's, where a column of the table gives it.
        centre: The cluster's right ascension and declination [deg], where columns give them.
    """

    position: Sky | Distances
    velocity: Redshifts | Velocities
    n_rows: int
    n_dropped: int
    redshift: float | None
    centre: tuple[float, float] | None


def read_galaxies(table: "Table", where: str, chosen: Mapping[str, str]) -> Galaxies:
    """Find positions and velocities and keep the rows that have both.

    Sky positions are preferred to distances, unless the user chose a column for R_proj. Where a table has both kinds of
    velocity, redshifts go with sky positions and relative velocities with distances.

    Args:
        table: What the file held.
        where: The file's name.
        chosen: The user's choices of columns, ours -> theirs.

    Raises:
        TableError: A column is missing, ambiguous, or holds something other than the numbers it should.
    """
    reader = Reader(table, where, chosen)
    position = _positions(reader)
    velocity = _velocities(reader, relative="v_los" in chosen or isinstance(position, Distances))
    placed = np.isfinite(position.values.reshape(len(table), -1)).all(axis=1)
    keep = placed & velocity.usable
    if not keep.any():
        found = f"{placed.sum()} positions and {velocity.usable.sum()} velocities in {len(table)} rows"
        advice = "redshifts are about 0.1; velocities c z [km/s] are read with --column cz=NAME"
        raise problem(where, "no row has both a position and a velocity.", found=found, advice=advice)
    ra, dec = reader.constant("ra_cluster"), reader.constant("dec_cluster")
    return Galaxies(
        position=replace(position, values=position.values[keep]),
        velocity=replace(velocity, values=velocity.values[keep]),
        n_rows=len(table),
        n_dropped=int(np.sum(~keep)),
        redshift=reader.constant("z_cluster"),
        centre=None if ra is None or dec is None else (ra, dec),
    )


def _positions(reader: Reader) -> Sky | Distances:
    ra, dec = reader.find("ra"), reader.find("dec")
    if ra and dec and "R_proj" not in reader.chosen:
        return _sky(reader, ra, dec)
    distance = reader.find("R_proj")
    if distance:
        return _distances(reader, distance)
    raise reader.missing("no positions. It needs columns ra and dec [deg], or R_proj [Mpc].", "dec" if ra else "ra")


def _sky(reader: Reader, ra: str, dec: str) -> Sky:
    longitude, latitude = reader.read("ra", ra), reader.read("dec", dec)
    advice = "leave missing positions empty; angles are in degrees unless the column has another unit"
    reader.refuse((longitude < -180) | (longitude > 360), longitude, f"{ra} lies outside 0 to 360 degrees.", advice)
    reader.refuse(np.abs(latitude) > 90, latitude, f"{dec} lies outside -90 to 90 degrees.", advice)
    return Sky(np.stack([longitude, latitude], axis=1))


def _distances(reader: Reader, name: str) -> Distances:
    unit = reader.column(name).unit
    in_name, in_unit = length_words(name), length_words(str(unit or ""))
    if unit is not None and in_unit[0] is None:
        raise problem(reader.where, f"{name} is not a length.", found=f"unit {unit}", advice="give it in Mpc or kpc")
    prefix, per_h, _ = in_unit if in_unit[0] else in_name
    values = reader.read("R_proj", name) * (1e-3 if prefix == "kpc" else 1.0)
    reader.refuse(values < 0, values, f"{name} is negative.", "projected distances are 0 or more")
    median = float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0
    if median > LARGEST_MEDIAN:
        advice = "if it is, name the column R_proj_kpc"
        raise problem(reader.where, f"{name} looks like kpc.", found=f"median {median:.0f} Mpc", advice=advice)
    return Distances(values, per_h, in_unit[2] or in_name[2], name)


def _velocities(reader: Reader, *, relative: bool) -> Redshifts | Velocities:
    """Whatever the table has, relative velocities first if asked so."""
    for ours in ("v_los", "z", "cz") if relative else ("z", "cz", "v_los"):
        if name := reader.find(ours):
            values = reader.read(ours, name)
            if ours == "v_los":
                return Velocities(values)
            return Redshifts(values / SPEED_OF_LIGHT if ours == "cz" else values)
    raise reader.missing("no velocity. It needs column z (redshift), cz [km/s] or v_los [km/s].", "z")

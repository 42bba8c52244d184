"""An observer's table -> its usable galaxies, each once: a position and a velocity, and how many rows gave neither."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from clustermocks.haloes.cosmology import SPEED_OF_LIGHT
from sbi_clustermass.observations.tables.column_reader import ColumnReader
from sbi_clustermass.observations.tables.coordinates import Position, Redshifts, Sky, UsableGalaxies, Values, Velocity
from sbi_clustermass.observations.tables.duplicates import DistinctRows, distinct_rows
from sbi_clustermass.observations.tables.errors import problem
from sbi_clustermass.observations.tables.positions import read_positions
from sbi_clustermass.observations.tables.velocities import read_velocities

if TYPE_CHECKING:
    from astropy.table import Table

Rows: TypeAlias = Bool[np.ndarray, "row"]

LARGE_ERROR = 1000.0  # km/s: a photometric redshift, whatever else it is


def read_galaxies(table: "Table", where: str, chosen: Mapping[str, str]) -> UsableGalaxies:
    """Find positions and velocities and keep the rows that have both, each galaxy once.

    Sky positions are preferred to distances, unless the user chose a column for R_proj. Where a table has both kinds of
    velocity, redshifts go with sky positions and relative velocities with distances.

    Args:
        table: What the file held.
        where: The file's name.
        chosen: The user's choices of columns, ours -> theirs.

    Raises:
        TableError: A column is missing, ambiguous, or holds something other than the numbers it should.
    """
    reader = ColumnReader(table, where, chosen)
    position = read_positions(reader)
    relative = "v_los" in chosen or not isinstance(position, Sky)
    velocity, warnings, notes = read_velocities(reader, relative=relative)
    errors, weights = _errors(reader, velocity), reader.optional("weight")
    placed = np.asarray(np.isfinite(position.values.reshape(len(table), -1)).all(axis=1))
    usable = placed & velocity.usable
    weighed = np.ones(len(table), bool) if weights is None else ~np.asarray(weights <= 0)
    _check_some(where, placed, velocity.usable, usable & weighed)
    once = _once(position, velocity, errors, usable & weighed)
    return UsableGalaxies(
        position=replace(position, values=position.values[once.keep]),
        velocity=replace(velocity, values=velocity.values[once.keep]),
        errors=errors[once.keep],
        n_rows=len(table),
        no_position=int(np.sum(~placed)),
        no_velocity=int(np.sum(placed & ~usable)),
        no_weight=int(np.sum(usable & ~weighed)),
        duplicates=int(np.sum(usable & weighed) - once.keep.sum()),
        redshift=reader.constant("z_cluster"),
        centre=_centre(reader),
        warnings=(*warnings, *_doubts(errors[once.keep], weights, once)),
        notes=(*notes, *_behind(once)),
    )


def _centre(reader: ColumnReader) -> tuple[float, float] | None:
    ra, dec = reader.constant("ra_cluster"), reader.constant("dec_cluster")
    return None if ra is None or dec is None else (ra, dec)


def _check_some(where: str, placed: Rows, moving: Rows, usable: Rows) -> None:
    if usable.any():
        return
    found = f"{placed.sum()} positions and {moving.sum()} velocities in {len(usable)} rows"
    advice = "redshifts are about 0.1; velocities c z [km/s] are read with --column cz=NAME"
    raise problem(where, "no row has both a position and a velocity.", found=found, advice=advice)


def _errors(reader: ColumnReader, velocity: Velocity) -> Values:
    """Velocity errors [km/s], NaN where missing, zero or negative."""
    of_redshifts, of_velocities = (reader.optional(name) for name in ("z_err", "v_err"))
    if isinstance(velocity, Redshifts) and of_redshifts is not None:
        errors = SPEED_OF_LIGHT * of_redshifts / np.maximum(1 + velocity.values, 0.9)
    else:
        errors = np.full(len(reader.table), np.nan) if of_velocities is None else of_velocities
    return np.where(errors > 0, errors, np.nan)


def _once(position: Position, velocity: Velocity, errors: Values, usable: Rows) -> DistinctRows:
    """Usable rows of sky positions, each galaxy once; distances from the centre do not tell galaxies apart."""
    if not isinstance(position, Sky):
        return DistinctRows(usable, 0)
    velocities = replace(velocity, values=velocity.values[usable]).velocities
    found = distinct_rows(position.values[usable], velocities, errors[usable])
    keep = usable.copy()
    keep[usable] = found.keep
    return DistinctRows(keep, found.behind)


def _doubts(errors: Values, weights: Float[np.ndarray, "row"] | None, once: DistinctRows) -> tuple[str, ...]:
    large, found = int((errors > LARGE_ERROR).sum()), []
    if large:
        found.append(f"{large} galaxies have velocity errors above {LARGE_ERROR:g} km/s: photometric redshifts?")
    used = np.array([]) if weights is None else weights[once.keep & np.isfinite(weights)]
    if len(used) and np.ptp(used) > 0:
        found.append(f"weights from {used.min():g} to {used.max():g} are not used: each galaxy counts once")
    return tuple(found)


def _behind(once: DistinctRows) -> tuple[str, ...]:
    said = f"{once.behind} galaxies within 2 arcsec of another were kept: their velocities differ by 1000 km/s or more"
    return (said,) if once.behind else ()

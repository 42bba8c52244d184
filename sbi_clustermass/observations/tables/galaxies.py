"""The usable galaxies of an observer's table, each once: positions, velocities, and counts of the rows left out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias, final

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from clustermocks.haloes.cosmology import SPEED_OF_LIGHT
from sbi_clustermass.estimator.verdict import Grade, Reason
from sbi_clustermass.observations.tables.column_reader import ColumnReader
from sbi_clustermass.observations.tables.duplicates import DistinctRows, distinct_rows
from sbi_clustermass.observations.tables.errors import problem
from sbi_clustermass.observations.tables.positions import Position, Sky, read_positions
from sbi_clustermass.observations.tables.quality import UNMET, Exclusions
from sbi_clustermass.observations.tables.rows import Fate
from sbi_clustermass.observations.tables.velocities import Redshifts, Velocity, read_velocities

if TYPE_CHECKING:
    from astropy.table import Table

Rows: TypeAlias = Bool[np.ndarray, "row"]

_BEHIND = "galaxies within 2 arcsec of another were kept: their velocities differ by 1000 km/s or more"
LARGE_ERROR = 1000.0  # km/s: a photometric redshift, whatever else it is
IN_KM_S = 3.0  # median error: of redshifts not even photometric ones have it, and no spectrograph less in km/s
IN_C = 0.02  # km/s, median error: no galaxy's velocity is known so well
_MARKS = (9.0, 9.99, 9.999, 9.9999, 99.0, 99.9, 99.99, 999.0, 9999.0)
_PHOTOMETRIC = f"velocity error above {LARGE_ERROR:g} km/s: photometric redshifts"


@final
@dataclass(frozen=True)
class RowCounts:
    """Numbers of rows of a cluster's table by their fate; each row counts once, and they add up to `rows`.

    Attributes:
        rows: All rows.
        excluded: Rows that a quality flag, their error or the user's condition excludes.
        without_position: Rows without a usable position.
        without_redshift: Rows with a position, but no usable redshift or velocity.
        without_weight: Rows with both, and a weight of 0 or less.
        duplicates: Rows of a galaxy that another row holds.
        outside_aperture: Galaxies farther from the centre than the mocks' aperture.
        outside_velocity: Galaxies inside the aperture, beyond the velocity cut: stars, foreground, background.
        used: Galaxies in the cylinder.
        used_without_error: Galaxies in the cylinder that have no velocity error; they are part of `used`.
    """

    rows: int
    excluded: int
    without_position: int
    without_redshift: int
    without_weight: int
    duplicates: int
    outside_aperture: int = 0
    outside_velocity: int = 0
    used: int = 0
    used_without_error: int = 0

    @property
    def dropped(self) -> int:
        """Number of rows that are excluded, or have no usable position, velocity or weight."""
        return self.excluded + self.without_position + self.without_redshift + self.without_weight

    @property
    def unused(self) -> dict[str, int]:
        """Numbers of usable rows that are not used, by the reason in words."""
        return {
            "duplicates": self.duplicates,
            "outside the aperture": self.outside_aperture,
            "outside the velocity cut": self.outside_velocity,
        }

    def __str__(self) -> str:
        """The counts in words, zeros left out."""
        unusable = {
            "excluded": self.excluded,
            "without a position": self.without_position,
            "without a redshift": self.without_redshift,
            "of weight 0": self.without_weight,
        }
        left_out = unusable | self.unused
        listed = ", ".join(f"{count} {words}" for words, count in left_out.items() if count)
        return f"{self.used} of {self.rows} rows used" + (f"; {listed}" if listed else "")


@final
@dataclass(frozen=True)
class UsableGalaxies:
    """The usable rows of a table, each galaxy once.

    Attributes:
        position: On the sky, or relative to the centre.
        velocity: From us, or relative to the cluster.
        errors: Velocity errors [km/s], NaN where missing, (galaxy,).
        fates: What became of each row, a `Fate`, (row,); those of the galaxies are `USED`.
        counts: Numbers of the rows left out, before any cylinder.
        redshift: Redshift of the cluster, where a column of the table gives it.
        centre: Right ascension and declination of the cluster [deg], where columns give them.
        reasons: Reasons to doubt these numbers.
        notes: Assumptions made to read them.
    """

    position: Position
    velocity: Velocity
    errors: Float[np.ndarray, "galaxy"]
    fates: UInt8[np.ndarray, "row"]
    counts: RowCounts
    redshift: float | None
    centre: tuple[float, float] | None
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...]


def read_galaxies(
    table: "Table",
    where: str,
    chosen: Mapping[str, str],
    numbers: Int[np.ndarray, "row"],
    excluded: Exclusions,
) -> UsableGalaxies:
    """Find positions and velocities and keep the rows that have both, each galaxy once.

    Sky positions are preferred to distances, unless the user chose a column for R_proj. Where a table has both kinds of
    velocity, redshifts go with sky positions and relative velocities with distances.
    """
    reader = ColumnReader(table, where, chosen, numbers)
    position = read_positions(reader)
    relative = "v_los" in chosen or not isinstance(position, Sky)
    velocity, reasons, notes = read_velocities(reader, relative=relative)
    (errors, assumed), weights = _errors(reader, velocity), reader.optional("weight")
    notes = (*notes, *assumed)
    excluded = excluded.also(errors > LARGE_ERROR, _PHOTOMETRIC)
    kept = excluded.code == 0
    placed = np.asarray(np.isfinite(position.values.reshape(len(table), -1)).all(axis=1))
    usable = placed & velocity.usable
    weighted = np.ones(len(table), bool) if weights is None else ~np.asarray(weights <= 0)
    _check_some(where, placed, velocity.usable, usable & weighted, excluded)
    distinct = _each_once(position, velocity, errors, usable & weighted & kept)
    ra, dec = reader.constant("ra_cluster"), reader.constant("dec_cluster")
    return UsableGalaxies(
        position=replace(position, values=position.values[distinct.keep]),
        velocity=replace(velocity, values=velocity.values[distinct.keep]),
        errors=errors[distinct.keep],
        fates=_fates(kept, placed, usable, weighted, distinct.keep),
        counts=RowCounts(
            rows=len(table),
            excluded=int(np.sum(~kept)),
            without_position=int(np.sum(kept & ~placed)),
            without_redshift=int(np.sum(kept & placed & ~usable)),
            without_weight=int(np.sum(kept & usable & ~weighted)),
            duplicates=int(np.sum(kept & usable & weighted) - distinct.keep.sum()),
        ),
        redshift=reader.constant("z_cluster"),
        centre=None if ra is None or dec is None else (ra, dec),
        reasons=(
            *reasons,
            *(Reason(text, Grade.USE) for text in reader.rows_lost),
            *excluded.reasons(),
            *_unused_weights(weights, distinct),
        ),
        notes=(*notes, f"{distinct.behind} {_BEHIND}") if distinct.behind else notes,
    )


def _fates(*conditions: Rows) -> UInt8[np.ndarray, "row"]:
    """Fate of each row: the first of the conditions that it does not meet."""
    fates = [Fate.EXCLUDED, Fate.NO_POSITION, Fate.NO_REDSHIFT, Fate.NO_WEIGHT, Fate.DUPLICATE]
    return np.select([~met for met in conditions], fates, Fate.USED).astype(np.uint8)


def _check_some(where: str, placed: Rows, moving: Rows, usable: Rows, excluded: Exclusions) -> None:
    if (usable & (excluded.code == 0)).any():
        return
    if usable.any():
        counts = excluded.counts()
        found = "; ".join(f"{n} with {rule}" for rule, n in counts.items())
        what, advice = "no row is left.", "--where CONDITION, which replaces the rule of a flag that it names"
        if all(rule.startswith(UNMET) for rule in counts):
            advice = "another condition, unless these rows are to be left out"
        raise problem(where, what, found=found, advice=advice)
    found = f"{placed.sum()} positions and {moving.sum()} velocities in {len(usable)} rows"
    advice = "redshifts are about 0.1; velocities c z [km/s] are read with --column cz=NAME"
    raise problem(where, "no row has both a position and a velocity.", found=found, advice=advice)


def _errors(reader: ColumnReader, velocity: Velocity) -> tuple[Float[np.ndarray, "row"], tuple[str, ...]]:
    """Velocity errors [km/s], NaN where missing, zero, negative, or as large as a mark of a missing value.

    Also notes where their size shows that errors of redshifts are in km/s, or those of velocities in units of c.
    """
    of_redshifts, of_velocities = (reader.optional(name) for name in ("z_err", "v_err"))
    errors, notes = np.full(len(reader.table), np.nan) if of_velocities is None else of_velocities, ()
    if isinstance(velocity, Redshifts) and of_redshifts is not None:
        in_km_s = _median(of_redshifts) > IN_KM_S
        errors = (1 if in_km_s else SPEED_OF_LIGHT) * of_redshifts / np.maximum(1 + velocity.values, 0.9)
        notes = (f"errors in column {reader.find('z_err')} read as km/s: too large for redshifts",) if in_km_s else ()
    elif of_velocities is not None and 0 < _median(of_velocities) < IN_C:
        errors = SPEED_OF_LIGHT * of_velocities
        notes = (f"errors in column {reader.find('v_err')} read in units of c: too small for km/s",)
    return np.where((errors > 0) & (errors < SPEED_OF_LIGHT), errors, np.nan), notes


def _median(errors: Float[np.ndarray, "row"]) -> float:
    """Median of the errors that are no marks of missing values, 0 if there are none."""
    known = errors[(errors > 0) & ~np.isin(errors, _MARKS)]
    return float(np.median(known)) if len(known) else 0.0


def _each_once(position: Position, velocity: Velocity, errors: Float[np.ndarray, "row"], usable: Rows) -> DistinctRows:
    """Usable rows of sky positions, each galaxy once; equal distances from the centre do not make one galaxy."""
    if not isinstance(position, Sky):
        return DistinctRows(usable, 0)
    velocities = replace(velocity, values=velocity.values[usable]).velocities
    found = distinct_rows(position.values[usable], velocities, errors[usable])
    keep = usable.copy()
    keep[usable] = found.keep
    return DistinctRows(keep, found.behind)


def _unused_weights(weights: Float[np.ndarray, "row"] | None, distinct: DistinctRows) -> Iterator[Reason]:
    used = np.array([]) if weights is None else weights[distinct.keep & np.isfinite(weights)]
    if len(used) and np.ptp(used) > 0:
        text = f"weights from {used.min():g} to {used.max():g} are not used: each galaxy counts once"
        yield Reason(text, Grade.USE)

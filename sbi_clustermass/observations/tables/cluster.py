"""A cluster as read from a table, and the account of how it was made.

Lengths are comoving [h^-1 Mpc], velocities [km/s], angles [deg].
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.observation import Observation, in_cylinder
from sbi_clustermass.observations.tables.centring import Centring, PhaseSpace
from sbi_clustermass.observations.tables.field import NarrowField, narrow_field
from sbi_clustermass.observations.tables.row_counts import RowCounts
from sbi_clustermass.observations.tables.warnings import table_warnings


@final
@dataclass(frozen=True)
class ObservedCluster:
    """A cluster as read from a table.

    Attributes:
        catalogue: The cluster, without a mass; empty if it has too few galaxies.
        name: In the table's column of names, or the file's name without its suffix.
        redshift: The cluster's [1], NaN if unknown.
        redshift_error: Standard error of a redshift estimated from the galaxies [1], else NaN.
        redshift_source: Such as "given (0.0235), velocities recentred by -12 km/s" or "biweight of 251 galaxies".
        ra: Right ascension of the centre [deg], NaN if unknown.
        dec: Declination of the centre [deg], NaN if unknown.
        centre_error: Standard error of an estimated centre, along one axis [h^-1 Mpc], else NaN.
        centre_source: "given", "column", "densest point of the galaxies" or "distances in the table".
        velocity_error: Median velocity error of the galaxies used [km/s], NaN if none has one.
        counts: What became of the rows.
        narrow: How far the field reaches, if it ends inside the aperture.
        reason: Why the cluster gets no mass; None if it does.
        warnings: What should make one doubt the mass.
        notes: What was assumed to read the table.
    """

    catalogue: Catalogue
    name: str
    redshift: float
    redshift_error: float
    redshift_source: str
    ra: float
    dec: float
    centre_error: float
    centre_source: str
    velocity_error: float
    counts: RowCounts
    narrow: NarrowField | None
    reason: str | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def n_galaxies(self) -> int:
        """Galaxies in the cylinder."""
        return self.counts.used

    @property
    def n_rows(self) -> int:
        """Rows of the table."""
        return self.counts.rows

    @property
    def n_dropped(self) -> int:
        """Rows without a usable position, velocity or weight."""
        return self.counts.dropped


def cylinder(observation: Observation) -> str:
    """The cylinder in words."""
    return f"R_proj < {observation.aperture:g} comoving h^-1 Mpc, |v_los| < {observation.v_cut:g} km/s"


def observed_cluster(name: str, centring: Centring, phase_space: PhaseSpace) -> ObservedCluster:
    """Put together what was found out about one cluster.

    Args:
        name: The cluster's.
        view: Its galaxies, and what the user said.
        located: Where they are.
    """
    inside = in_cylinder(phase_space.R_proj, phase_space.v_los, centring.observation)
    counts, least = (
        RowCounts.from_galaxies(centring.galaxies, phase_space, centring.observation),
        centring.observation.min_galaxies,
    )
    reason = f"{counts.used} galaxies in the cylinder {cylinder(centring.observation)}; a mass needs at least {least}"
    errors = centring.galaxies.errors[inside]
    error = float(np.nanmedian(errors)) if np.isfinite(errors).any() else np.nan
    narrow = narrow_field(phase_space.R_proj, centring.observation.aperture)
    in_aperture = np.abs(phase_space.v_los[phase_space.R_proj < centring.observation.aperture])
    told = {
        "n_outside_velocity": -1 if narrow else counts.outside_velocity,  # of another field than the mocks' not known
        "fastest": float(in_aperture.max(initial=0.0)),
        "velocity_error": error,
    }
    return ObservedCluster(
        catalogue=_catalogue(name, centring, phase_space, counts, told),
        name=name,
        redshift=phase_space.redshift,
        redshift_error=phase_space.redshift_error,
        redshift_source=phase_space.redshift_source,
        ra=phase_space.centre[0],
        dec=phase_space.centre[1],
        centre_error=phase_space.centre_error,
        centre_source=phase_space.centre_source,
        velocity_error=error,
        counts=counts,
        narrow=narrow,
        reason=reason if counts.used < least else None,
        warnings=(*centring.galaxies.warnings, *table_warnings(centring, phase_space)),
        notes=centring.galaxies.notes,
    )


def _catalogue(
    name: str, centring: Centring, phase_space: PhaseSpace, counts: RowCounts, told: Mapping[str, float]
) -> Catalogue:
    """The galaxies in the cylinder, with what is known of the cluster and what warnings are to be told."""
    inside = in_cylinder(phase_space.R_proj, phase_space.v_los, centring.observation)
    columns = {
        "log10_mass": np.nan,
        "host_id": np.int64(zlib.crc32(name.encode())),  # two tables of one cluster never fall on both sides of a split
        "name": name,
        "redshift": phase_space.redshift,
        "redshift_source": phase_space.redshift_source,
        "ra": phase_space.centre[0],
        "dec": phase_space.centre[1],
        "centre_source": phase_space.centre_source,
        "n_rows": counts.rows,
        "n_dropped": counts.dropped,
        "n_used": counts.used,
        **told,
    }
    return Catalogue.from_arrays(
        centring.observation,
        centring.cosmology,
        clusters={key: np.array([value]) for key, value in columns.items()},
        galaxies={"R_proj": phase_space.R_proj[inside], "v_los": phase_space.v_los[inside]},
        offsets=np.array([0, inside.sum()]),
    )

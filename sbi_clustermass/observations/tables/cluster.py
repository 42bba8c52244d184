"""A cluster as read from a table, and the account of how it was made.

Lengths are comoving [h^-1 Mpc], velocities [km/s], angles [deg].
"""

import zlib
from dataclasses import dataclass, replace
from typing import Self, final

import numpy as np
from jaxtyping import Float, UInt8

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.observation import Observation, in_cylinder
from sbi_clustermass.estimator.verdict import Reason
from sbi_clustermass.observations.tables.centring import Centring, PhaseSpace
from sbi_clustermass.observations.tables.density_peaks import position_angle
from sbi_clustermass.observations.tables.field import NarrowField, narrow_field
from sbi_clustermass.observations.tables.galaxies import RowCounts
from sbi_clustermass.observations.tables.positions import Sky
from sbi_clustermass.observations.tables.rows import Fate, RowFates, RowNumbers
from sbi_clustermass.observations.tables.warnings import coverage, table_reasons

_CLEANED = (
    "interlopers were removed from the table, as it is stated: what a cleaning leaves are nearly all members, so that "
    "probabilities of membership hardly tell its galaxies apart"
)
FEWEST_SPREAD = 20  # galaxies whose velocities can be told from an even spread
SLOW, WINDOW = 1000.0, 5000.0  # km/s
CROWDED, HARDLY = 0.4, 0.35  # largest share of slow galaxies: with an even background, and without
EVEN = 0.15  # density of redshifts beyond the window relative to that within it
COARSEST = 300.0  # km/s: to .001 in redshift, the coarsest rounding of mocks


@final
@dataclass(frozen=True)
class ObservedCluster:
    """A cluster as read from a table.

    Attributes:
        catalogue: The cluster, without a mass; empty if it has too few galaxies.
        name: Name in the table's column of names, or the file's name without its suffix.
        redshift: Redshift of the cluster [1], NaN if unknown.
        redshift_error: Standard error of a redshift estimated from the galaxies [1], else NaN.
        redshift_source: Such as "given (0.0235), velocities recentred by -12 km/s" or "biweight of 251 galaxies".
        ra: Right ascension of the centre [deg], NaN if unknown.
        dec: Declination of the centre [deg], NaN if unknown.
        centre_error: Standard error of an estimated centre, along one axis [h^-1 Mpc], else NaN.
        centre_source: "given", "column", "densest point of the galaxies" or "distances in the table".
        velocity_error: Median velocity error of the galaxies used [km/s], NaN if none has one.
        counts: Numbers of rows by their fate.
        fates: Fate of each row.
        narrow: Extent of the field, if it ends inside the aperture.
        covered: Observed share of the aperture's circle [1], and the widest sector of it without galaxies [deg], 0 for
            none that is significant.
        reason: Reason why the cluster gets no mass; None if it does.
        reasons: Reasons to doubt the mass, but those of the field, which depend on the mocks.
        notes: Assumptions made to read the table.
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
    fates: RowFates
    narrow: NarrowField | None
    covered: tuple[float, float]
    reason: str | None
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...]

    @classmethod
    def from_phase_space(cls, name: str, centring: Centring, phase_space: PhaseSpace, rows: RowNumbers) -> Self:
        """Count and check the galaxies of one cluster, and make a catalogue of those in the cylinder."""
        galaxies, observation = centring.galaxies, centring.seen(phase_space.redshift)
        inside = in_cylinder(phase_space.R_proj, phase_space.v_los, observation)
        beyond, least = phase_space.R_proj >= observation.aperture, observation.min_galaxies
        counts = replace(
            galaxies.counts,
            outside_aperture=int(beyond.sum()),
            outside_velocity=int(np.sum(~beyond & ~inside)),
            used=int(inside.sum()),
            used_without_error=int(np.isnan(galaxies.errors[inside]).sum()),
        )
        few = f"{counts.used} galaxies in the cylinder {describe_cylinder(observation)}; a mass needs at least {least}"
        velocities = coarse_velocities(phase_space.v_los[inside]) or spread_velocities(
            phase_space.R_proj[~beyond], phase_space.v_los[~beyond]
        )
        reason = few if counts.used < least else velocities
        errors = galaxies.errors[inside]
        error = float(np.nanmedian(errors)) if np.isfinite(errors).any() else np.nan
        return cls(
            catalogue=_catalogue(name, centring, phase_space, counts, velocity_error=error),
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
            fates=_fates(rows, galaxies.fates, phase_space, observation),
            narrow=narrow_field(phase_space.R_proj, observation.aperture),
            covered=coverage(centring, phase_space),
            reason=reason,
            reasons=(*galaxies.reasons, *table_reasons(centring, phase_space)),
            notes=(*galaxies.notes, *((_CLEANED,) if centring.options.cleaned else ())),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """The reasons as sentences."""
        return tuple(each.text for each in self.reasons)

    @property
    def is_cleaned(self) -> bool:
        """Whether it is stated that interlopers were removed from the table."""
        return _CLEANED in self.notes

    @property
    def n_galaxies(self) -> int:
        """Number of galaxies in the cylinder."""
        return self.counts.used


def coarse_velocities(v_los: Float[np.ndarray, "galaxy"]) -> str | None:
    """Say why velocities [km/s] that are all equal, or were rounded more coarsely than any mock's, give no mass."""
    values = np.unique(np.round(v_los))
    step = float(np.diff(values).min(initial=np.inf))
    if len(v_los) < 2 or len(values) > len(v_los) / 2 or step < 1.2 * COARSEST:
        return None
    found = "all one value" if len(values) == 1 else f"{len(values)} values, {step:.0f} km/s apart or more"
    return (
        f"the velocities of {len(v_los)} galaxies are {found}: rounded redshifts (.01 is 3000 km/s)? A mass needs "
        f"steps of {COARSEST:.0f} km/s or less"
    )


def spread_velocities(R_proj: Float[np.ndarray, "galaxy"], v_los: Float[np.ndarray, "galaxy"]) -> str | None:
    """Say why velocities [km/s] that hardly crowd at the cluster's give no mass: the redshifts are photometric.

    Of an even spread a fifth of the galaxies with |v| < 5000 km/s, or of their inner half where they are many,
    have |v| < 1000 km/s; of clusters with dispersions up to 1500 km/s half, unless a background hides them.

    Args:
        R_proj: Distances of the galaxies inside the aperture, at any velocity [comoving h^-1 Mpc].
        v_los: Their velocities relative to the cluster.
    """
    speed, near = np.abs(v_los), np.abs(v_los) < WINDOW
    inner = R_proj <= (np.median(R_proj[near]) if near.sum() >= 2 * FEWEST_SPREAD else np.inf)
    n, beyond = int((near & inner).sum()), int((inner & ~near & (speed < 3 * WINDOW)).sum())
    if n < FEWEST_SPREAD:
        return None
    slow, chance = float((speed[near & inner] < SLOW).mean()), SLOW / WINDOW
    most = slow + 2 * np.sqrt(chance * (1 - chance) / n)
    if most > (CROWDED if beyond > EVEN * 2 * n else HARDLY):
        return None
    return (
        f"the redshifts do not crowd at the cluster's: of {n} galaxies near its centre {slow:.0%} are within "
        f"{SLOW:.0f} km/s, and {chance:.0%} would be by chance: photometric redshifts? A mass needs spectroscopic ones"
    )


def describe_cylinder(observation: Observation) -> str:
    """Describe the cylinder in words."""
    return f"R_proj < {observation.aperture:g} comoving h^-1 Mpc, |v_los| < {observation.v_cut:g} km/s"


def _fates(
    rows: RowNumbers, fates: UInt8[np.ndarray, "row"], phase_space: PhaseSpace, observation: Observation
) -> RowFates:
    galaxy, fates = np.flatnonzero(fates == Fate.USED), fates.copy()
    R_proj, v_los = np.full((2, len(fates)), np.nan, np.float32)
    R_proj[galaxy], v_los[galaxy] = phase_space.R_proj, phase_space.v_los
    beyond = phase_space.R_proj >= observation.aperture
    inside = in_cylinder(phase_space.R_proj, phase_space.v_los, observation)
    fates[galaxy[beyond]], fates[galaxy[~beyond & ~inside]] = Fate.OUTSIDE_APERTURE, Fate.OUTSIDE_VELOCITY
    return RowFates(*rows, fates, R_proj, v_los)


def _catalogue(
    name: str, centring: Centring, phase_space: PhaseSpace, counts: RowCounts, *, velocity_error: float
) -> Catalogue:
    """The galaxies in the cylinder, with what is known of the cluster and what the estimator's warnings need."""
    inside = in_cylinder(phase_space.R_proj, phase_space.v_los, centring.seen(phase_space.redshift))
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
        "velocity_error": velocity_error,
        "cleaning": "stated" if centring.options.cleaned else "none",
    }
    galaxies = {"R_proj": phase_space.R_proj[inside], "v_los": phase_space.v_los[inside]}
    position = centring.galaxies.position
    if isinstance(position, Sky):
        galaxies["position_angle"] = np.deg2rad(position_angle(position.values[inside], phase_space.centre))
    return Catalogue.from_arrays(
        centring.observation,
        centring.cosmology,
        clusters={key: np.array([value]) for key, value in columns.items()},
        galaxies=galaxies,
        offsets=np.array([0, inside.sum()]),
    )

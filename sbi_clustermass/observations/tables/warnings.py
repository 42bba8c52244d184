"""Reasons to distrust the mass of a cluster that was read from a table, graded and with numbers.

Lengths are comoving [h^-1 Mpc], velocities [km/s], angles [deg].
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool

from clustermocks.haloes.cosmology import SPEED_OF_LIGHT
from clustermocks.observation import in_cylinder
from sbi_clustermass.estimator.verdict import Grade, Reason
from sbi_clustermass.observations.tables.centring import Centring, PhaseSpace
from sbi_clustermass.observations.tables.density_peaks import position_angle, rival_point, rival_redshift
from sbi_clustermass.observations.tables.field import NarrowField, covered_share
from sbi_clustermass.observations.tables.positions import Distances, Sky
from sbi_clustermass.observations.tables.velocities import Redshifts

LARGE_SHIFT = 500.0
FASTEST_STAR = 600.0  # km/s
HALF = 180.0  # deg of position angle
MANY = 0.1  # of the rows; mocks have up to .02 with a wrong redshift
FAR = 20  # apertures: a field of 30 h^-1 Mpc around one cluster would be a survey
HOURS = 24.0
FLAT = 3.0  # between the extents in right ascension and declination: the longest clusters have 2


def table_reasons(centring: Centring, phase_space: PhaseSpace) -> tuple[Reason, ...]:
    """List every reason to doubt the cluster's mass but those of its field."""
    checks = (_many, _shift, _line_of_sight, _neighbour, _stars, _flat, _cosmology, _repeated)
    return tuple(reason for check in checks if (reason := check(centring, phase_space)))


def field_reasons(
    narrow: NarrowField | None, covered: tuple[float, float], *, aperture: float, surveys: Mapping[str, Any]
) -> Iterator[Reason]:
    """Name a field that is smaller than those of the mocks, or lacks a wider sector.

    Args:
        narrow: Extent of the field, if it ends inside the aperture.
        covered: Observed share of the aperture's circle [1], and the widest sector without galaxies [deg].
        aperture: Aperture of the mocks [h^-1 Mpc].
        surveys: Prior over surveys of the mocks, in JSON's types; empty if all had one full field.
    """
    (smallest, _), (_, sector) = surveys.get("aperture", (aperture, aperture)), surveys.get("sector", (0.0, 0.0))
    if narrow is not None and narrow.reach < smallest:
        lost = f"about {narrow.missing} galaxies ({1 - narrow.share:.0%} of a usual profile) lie beyond"
        text = f"the galaxies reach {narrow.reach:.2f} h^-1 Mpc, the mocks {smallest:g}: {lost}, the mass may be off"
        yield Reason(text)
    share, gap = covered
    if gap > sector:
        text = f"no galaxies over {gap:.0f} deg of position angle: {share:.0%} of the aperture's circle was observed"
        yield Reason(text, Grade.DO_NOT_USE if gap >= HALF else Grade.CARE)


def _many(centring: Centring, phase_space: PhaseSpace) -> Reason | None:
    """Name a table of many clusters that is read as one."""
    full = centring.observation.aperture
    far = float((phase_space.R_proj > FAR * full).mean())
    if not isinstance(centring.galaxies.position, Sky) or far <= 0.5:
        return None
    text = (
        f"{far:.0%} of the rows are farther out than {FAR} times the aperture: many clusters in one table? "
        "--id COLUMN tells them apart, --clusters TABLE says where they are"
    )
    return Reason(text, Grade.USE if centring.known_centre[0] else Grade.DO_NOT_USE)


def coverage(centring: Centring, phase_space: PhaseSpace) -> tuple[float, float]:
    """Observed share of the aperture's circle [1], and the widest sector without galaxies [deg], 0 for none."""
    position, full = centring.galaxies.position, centring.observation.aperture
    if not isinstance(position, Sky):
        return 1.0, 0.0
    return covered_share(position_angle(position.values, phase_space.centre), phase_space.R_proj, full)


def _shift(centring: Centring, phase_space: PhaseSpace) -> Reason | None:
    if abs(phase_space.shift) <= LARGE_SHIFT:
        return None
    text = f"the velocities' centre is {-phase_space.shift:+.0f} km/s from redshift {phase_space.redshift:g}"
    return Reason(text, Grade.DO_NOT_USE)


def _line_of_sight(centring: Centring, phase_space: PhaseSpace) -> Reason | None:
    velocity = centring.galaxies.velocity
    if not isinstance(velocity, Redshifts):
        return None
    along = velocity.values[(phase_space.R_proj < centring.observation.aperture) & ~_are_stars(centring, phase_space)]
    rival = rival_redshift(along, phase_space.redshift, centring.observation.v_cut)
    if rival is None:
        return None
    z, there, here = rival
    text = f"{there} galaxies at redshift {z:.4f} in the same line of sight, {here} at the cluster's"
    return Reason(text, _of_two(there, here))


def _of_two(there: int, here: int) -> Grade:
    """A rival as rich may be the cluster that the table means; a poorer one is outside the cylinder."""
    return Grade.DO_NOT_USE if there >= here else Grade.USE


def _neighbour(centring: Centring, phase_space: PhaseSpace) -> Reason | None:
    """Name another concentration on the sky, at any redshift, where the densest one was chosen."""
    position, (known, _) = centring.galaxies.position, centring.known_centre
    if known is not None or not isinstance(position, Sky):
        return None
    galaxies = position.values[~_are_stars(centring, phase_space)]
    distance = float(centring.cosmology.comoving_distance(phase_space.redshift))
    rival = rival_point(galaxies, phase_space.centre, distance, apart=centring.observation.aperture)
    if rival is None:
        return None
    ra, dec, there, here = rival
    text = f"{there} galaxies around {ra:.3f}, {dec:.3f} against {here} around the centre: choose with --centre"
    return Reason(text, _of_two(there, here))


def _stars(centring: Centring, phase_space: PhaseSpace) -> Reason | None:
    """Name a table that is not of galaxies alone: others of its stars may have got redshifts in the cylinder."""
    stars = _are_stars(centring, phase_space)
    text = f"{stars.sum()} of {len(stars)} rows have redshifts of stars: are these galaxies with checked redshifts?"
    return Reason(text) if stars.mean() > MANY else None


def _are_stars(centring: Centring, phase_space: PhaseSpace) -> Bool[np.ndarray, "galaxy"]:
    """Rows at the velocities of stars, where no galaxy of the cluster could have them."""
    speed = np.abs(centring.galaxies.velocity.velocities)
    nearest = SPEED_OF_LIGHT * np.log1p(phase_space.redshift) - centring.observation.v_cut
    is_redshift = isinstance(centring.galaxies.velocity, Redshifts)
    return (speed < FASTEST_STAR) & is_redshift & (nearest > FASTEST_STAR)


def _flat(centring: Centring, phase_space: PhaseSpace) -> Reason | None:
    """Name a field squeezed into a line, as by right ascensions in hours or declinations in radians."""
    position = centring.galaxies.position
    near = in_cylinder(phase_space.R_proj, phase_space.v_los, centring.observation)
    if not isinstance(position, Sky) or near.sum() < 10:
        return None
    angle = np.deg2rad(position_angle(position.values[near], phase_space.centre))
    offset = phase_space.R_proj[near] * np.stack([np.sin(angle), np.cos(angle)])
    ra, dec = np.std(offset, axis=1)
    if max(ra, dec) <= FLAT * min(ra, dec):
        return None
    longer, shorter = ("ra", "dec") if ra > dec else ("dec", "ra")
    ratio = max(ra, dec) / max(min(ra, dec), 1e-9)
    text = f"the field is {min(ratio, 999):.0f} times longer in {longer} than in {shorter}: are both in degrees?"
    if longer == "dec" and np.ptp(position.values[:, 0]) <= HOURS and position.values[:, 0].max() <= HOURS:
        text += " If ra is in hours: --column 'ra=NAME [hour]'"
    return Reason(text, Grade.DO_NOT_USE)


def _cosmology(centring: Centring, phase_space: PhaseSpace) -> Reason | None:
    """Note distances of the user that differ from ours: in h^-1 Mpc only the matter density matters."""
    options, position = centring.options, centring.galaxies.position
    if not isinstance(position, Distances):
        return _unused(centring, phase_space)
    if position.h is not None and options.h not in (None, position.h):
        unit = "h^-1" if position.h == 1 else f"h_{100 * position.h:g}^-1"
        return Reason(f"{position.column} is per {unit}: h = {options.h:g} is not used", Grade.USE)
    ratio = 1.0 if options.Om is None else float(centring.rescaling(phase_space.redshift))
    if abs(ratio - 1) < 1e-3:
        return None
    text = f"distances for Om = {options.Om:g} were multiplied by {ratio:.4f}"
    return Reason(f"{text}, those of the mocks (Om = {_ours(centring)})", Grade.USE)


def _unused(centring: Centring, phase_space: PhaseSpace) -> Reason | None:
    """Note that a cosmology is not used: the estimator's turns angles into distances."""
    options, z = centring.options, phase_space.redshift
    if options.Om is not None and not np.isnan(z) and abs(options.Om - centring.cosmology.Om0) > 1e-3:
        change = 100 * (1 / float(centring.rescaling(z)) - 1)
        ours = f"distances are for the mocks' Om = {_ours(centring)}"
        return Reason(f"{ours}; for {options.Om:g} they would change by {change:+.2f} %", Grade.USE)
    if options.h is not None and abs(options.h - centring.cosmology.h) > 1e-3:
        text = f"h = {options.h:g} changes no angle: it stands only in what is given in Mpc and Msun without h^-1"
        return Reason(text, Grade.USE)
    return None


def _ours(centring: Centring) -> str:
    return f"{centring.cosmology.Om0:.4g}"


def _repeated(centring: Centring, phase_space: PhaseSpace) -> Reason | None:
    """Note equal distances and velocities; of sky positions each galaxy is kept once already."""
    if isinstance(centring.galaxies.position, Sky):
        return None
    rows = np.column_stack([centring.galaxies.position.values, centring.galaxies.velocity.values])
    repeated = len(rows) - len(np.unique(rows, axis=0))
    text = f"{repeated} rows repeat the distance and velocity of another: the same galaxy twice?"
    return Reason(text, Grade.USE) if repeated else None

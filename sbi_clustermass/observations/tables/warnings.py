"""Warnings about a cluster that was read from a table, each a reason to doubt its mass, with numbers.

Lengths are comoving [h^-1 Mpc], velocities [km/s], angles [deg].
"""

from collections.abc import Iterator

import numpy as np

from clustermocks.observation import in_cylinder
from sbi_clustermass.observations.tables.centring import Centring, PhaseSpace
from sbi_clustermass.observations.tables.density_peaks import position_angle, rival_point, rival_redshift
from sbi_clustermass.observations.tables.field import NarrowField, covered_share
from sbi_clustermass.observations.tables.positions import Distances, Sky
from sbi_clustermass.observations.tables.velocities import Redshifts

LARGE_SHIFT = 500.0
UNCERTAIN = 0.2  # h^-1 Mpc: such an offset of the centre flattens the profile of the core
FAR = 20  # apertures: a field of 30 h^-1 Mpc around one cluster would be a survey
FLAT = 3.0  # between the extents in right ascension and declination: the longest clusters have 2


def table_warnings(centring: Centring, phase_space: PhaseSpace) -> tuple[str, ...]:
    """List every reason to doubt the cluster's mass but those of its field, one sentence each."""
    checks = (_many, _shift, _line_of_sight, _neighbour, _centre, _flat, _cosmology, _repeated)
    return tuple(sentence for check in checks if (sentence := check(centring, phase_space)))


def field_warnings(narrow: NarrowField | None, share: float, gap: float, aperture: float) -> Iterator[str]:
    """Warn of a field that is smaller than the aperture, or lacks a sector.

    Args:
        narrow: Extent of the field, if it ends inside the aperture.
        share: Observed share of the aperture's circle [1].
        gap: Widest sector without galaxies [deg]; 0 for none.
        aperture: Aperture of the mocks [h^-1 Mpc].
    """
    if narrow is not None:
        lost = f"about {narrow.missing} galaxies ({1 - narrow.share:.0%} of a usual profile) lie beyond"
        yield f"the galaxies reach {narrow.reach:.2f} h^-1 Mpc, the mocks {aperture:g}: {lost}, the mass may be off"
    if gap:
        yield f"no galaxies over {gap:.0f} deg of position angle: {share:.0%} of the aperture's circle was observed"


def _many(centring: Centring, phase_space: PhaseSpace) -> str:
    """Warn of a table of many clusters that is read as one."""
    full = centring.observation.aperture
    far = float((phase_space.R_proj > FAR * full).mean())
    if not isinstance(centring.galaxies.position, Sky) or far <= 0.5:
        return ""
    return (
        f"{far:.0%} of the rows are farther out than {FAR} times the aperture: many clusters in one table? "
        "--id COLUMN tells them apart, --clusters TABLE says where they are"
    )


def coverage(centring: Centring, phase_space: PhaseSpace) -> tuple[float, float]:
    """Observed share of the aperture's circle [1], and the widest sector without galaxies [deg], 0 for none."""
    position, full = centring.galaxies.position, centring.observation.aperture
    if not isinstance(position, Sky):
        return 1.0, 0.0
    return covered_share(position_angle(position.values, phase_space.centre), phase_space.R_proj, full)


def _shift(centring: Centring, phase_space: PhaseSpace) -> str:
    if abs(phase_space.shift) <= LARGE_SHIFT:
        return ""
    return f"the velocities' centre is {-phase_space.shift:+.0f} km/s from redshift {phase_space.redshift:g}"


def _line_of_sight(centring: Centring, phase_space: PhaseSpace) -> str:
    velocity = centring.galaxies.velocity
    if not isinstance(velocity, Redshifts):
        return ""
    along = velocity.values[phase_space.R_proj < centring.observation.aperture]
    rival = rival_redshift(along, phase_space.redshift, centring.observation.v_cut)
    if rival is None:
        return ""
    z, there, here = rival
    return f"{there} galaxies at redshift {z:.4f} in the same line of sight, {here} at the cluster's"


def _neighbour(centring: Centring, phase_space: PhaseSpace) -> str:
    position, (known, _) = centring.galaxies.position, centring.known_centre
    if known is not None or not isinstance(position, Sky):
        return ""
    near = position.values[np.abs(phase_space.v_los) < centring.observation.v_cut]
    distance = float(centring.cosmology.comoving_distance(phase_space.redshift))
    rival = rival_point(near, phase_space.centre, distance, apart=centring.observation.aperture)
    if rival is None:
        return ""
    ra, dec, there, here = rival
    return f"{there} galaxies around {ra:.3f}, {dec:.3f} against {here} around the centre: choose with --centre"


def _centre(centring: Centring, phase_space: PhaseSpace) -> str:
    if not phase_space.centre_error > UNCERTAIN:
        return ""
    return f"the centre is known to {phase_space.centre_error:.2f} h^-1 Mpc only: choose with --centre"


def _flat(centring: Centring, phase_space: PhaseSpace) -> str:
    """Warn of a field squeezed into a line, as by right ascensions in hours or declinations in radians."""
    position = centring.galaxies.position
    near = in_cylinder(phase_space.R_proj, phase_space.v_los, centring.observation)
    if not isinstance(position, Sky) or near.sum() < 10:
        return ""
    angle = np.deg2rad(position_angle(position.values[near], phase_space.centre))
    offset = phase_space.R_proj[near] * np.stack([np.sin(angle), np.cos(angle)])
    ra, dec = np.std(offset, axis=1)
    if max(ra, dec) <= FLAT * min(ra, dec):
        return ""
    longer, shorter = ("ra", "dec") if ra > dec else ("dec", "ra")
    ratio = max(ra, dec) / max(min(ra, dec), 1e-9)
    return f"the field is {min(ratio, 999):.0f} times longer in {longer} than in {shorter}: are both in degrees?"


def _cosmology(centring: Centring, phase_space: PhaseSpace) -> str:
    """Warn where the user's distances differ from ours: in h^-1 Mpc only the matter density matters."""
    options, position = centring.options, centring.galaxies.position
    if not isinstance(position, Distances):
        return _unused(centring, phase_space)
    if position.per_h and options.h not in (None, 1.0):
        return f"{position.column} is in h^-1 Mpc: h = {options.h:g} is not used"
    ratio = 1.0 if options.Om is None else float(centring.rescaling(phase_space.redshift))
    if abs(ratio - 1) < 1e-3:
        return ""
    return (
        f"distances for Om = {options.Om:g} were multiplied by {ratio:.4f}, those of the mocks (Om = {_ours(centring)})"
    )


def _unused(centring: Centring, phase_space: PhaseSpace) -> str:
    """Warn that a cosmology is not used: the estimator's turns angles into distances."""
    options, z = centring.options, phase_space.redshift
    if options.Om is not None and not np.isnan(z) and abs(options.Om - centring.cosmology.Om0) > 1e-3:
        change = 100 * (1 / float(centring.rescaling(z)) - 1)
        ours = f"distances are for the mocks' Om = {_ours(centring)}"
        return f"{ours}; for {options.Om:g} they would change by {change:+.2f} %"
    if options.h is not None and abs(options.h - centring.cosmology.h) > 1e-3:
        return f"h = {options.h:g} changes no angle: it stands only in what is given in Mpc and Msun without h^-1"
    return ""


def _ours(centring: Centring) -> str:
    return f"{centring.cosmology.Om0:.4g}"


def _repeated(centring: Centring, phase_space: PhaseSpace) -> str:
    """Warn of equal distances and velocities; of sky positions each galaxy is kept once already."""
    if isinstance(centring.galaxies.position, Sky):
        return ""
    rows = np.column_stack([centring.galaxies.position.values, centring.galaxies.velocity.values])
    repeated = len(rows) - len(np.unique(rows, axis=0))
    return f"{repeated} rows repeat the distance and velocity of another: the same galaxy twice?" if repeated else ""

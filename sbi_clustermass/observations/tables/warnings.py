"""What should make one doubt a cluster read from a table, in words and numbers.

Lengths are comoving [h^-1 Mpc], velocities [km/s], angles [deg].
"""

import numpy as np

from sbi_clustermass.observations.tables.centre import position_angle, rival_point, rival_redshift
from sbi_clustermass.observations.tables.centring import Located, View
from sbi_clustermass.observations.tables.coordinates import Distances, Redshifts, Sky
from sbi_clustermass.observations.tables.field import covered_share, narrow_field

LARGE_SHIFT = 500.0
UNCERTAIN = 0.2  # h^-1 Mpc: a centre off by as much flattens the profile of the core
FAR = 20  # apertures: a field of 30 h^-1 Mpc around one cluster would be a survey
FLAT = 3.0  # between the extents in right ascension and declination: the longest clusters have 2


def doubts(view: View, located: Located) -> tuple[str, ...]:
    """Every reason to doubt, one sentence each."""
    checks = (_many, _reach, _coverage, _shift, _line_of_sight, _neighbour, _centre, _flat, _cosmology, _repeated)
    return tuple(sentence for check in checks if (sentence := check(view, located)))


def _reach(view: View, located: Located) -> str:
    full = view.observation.aperture
    narrow = narrow_field(located.R_proj, full)
    if narrow is None:
        return ""
    lost = f"about {narrow.missing} galaxies ({1 - narrow.share:.0%} of a usual profile) lie beyond"
    return f"the galaxies reach {narrow.reach:.2f} h^-1 Mpc, the mocks {full:g}: {lost}, the mass may be off"


def _many(view: View, located: Located) -> str:
    """A table of many clusters, read as one."""
    full = view.observation.aperture
    far = float((located.R_proj > FAR * full).mean())
    if not isinstance(view.galaxies.position, Sky) or far <= 0.5:
        return ""
    return (
        f"{far:.0%} of the rows are farther out than {FAR} times the aperture: many clusters in one table? "
        "--id COLUMN tells them apart, --clusters TABLE says where they are"
    )


def _coverage(view: View, located: Located) -> str:
    position, full = view.galaxies.position, view.observation.aperture
    if not isinstance(position, Sky):
        return ""
    angles = position_angle(position.values, located.centre)
    share, gap = covered_share(angles, located.R_proj, full)
    if not gap:
        return ""
    return f"no galaxies over {gap:.0f} deg of position angle: {share:.0%} of the aperture's circle was observed"


def _shift(view: View, located: Located) -> str:
    if abs(located.shift) <= LARGE_SHIFT:
        return ""
    return f"the velocities' centre is {-located.shift:+.0f} km/s from redshift {located.redshift:g}"


def _line_of_sight(view: View, located: Located) -> str:
    velocity = view.galaxies.velocity
    if not isinstance(velocity, Redshifts):
        return ""
    along = velocity.values[located.R_proj < view.observation.aperture]
    rival = rival_redshift(along, located.redshift, view.observation.v_cut)
    if rival is None:
        return ""
    z, there, here = rival
    return f"{there} galaxies at redshift {z:.4f} in the same line of sight, {here} at the cluster's"


def _neighbour(view: View, located: Located) -> str:
    position, (known, _) = view.galaxies.position, view.known_centre
    if known is not None or not isinstance(position, Sky):
        return ""
    near = position.values[np.abs(located.v_los) < view.observation.v_cut]
    distance = float(view.cosmology.comoving_distance(located.redshift))
    rival = rival_point(near, located.centre, distance, apart=view.observation.aperture)
    if rival is None:
        return ""
    ra, dec, there, here = rival
    return f"{there} galaxies around {ra:.3f}, {dec:.3f} against {here} around the centre: choose with --centre"


def _centre(view: View, located: Located) -> str:
    if not located.centre_error > UNCERTAIN:
        return ""
    return f"the centre is known to {located.centre_error:.2f} h^-1 Mpc only: choose with --centre"


def _flat(view: View, located: Located) -> str:
    """Right ascensions in hours, or declinations in radians, squeeze the field into a line."""
    position = view.galaxies.position
    near = (located.R_proj < view.observation.aperture) & (np.abs(located.v_los) < view.observation.v_cut)
    if not isinstance(position, Sky) or near.sum() < 10:
        return ""
    angle = np.deg2rad(position_angle(position.values[near], located.centre))
    offset = located.R_proj[near] * np.stack([np.sin(angle), np.cos(angle)])
    ra, dec = np.std(offset, axis=1)
    if max(ra, dec) <= FLAT * min(ra, dec):
        return ""
    longer, shorter = ("ra", "dec") if ra > dec else ("dec", "ra")
    ratio = max(ra, dec) / max(min(ra, dec), 1e-9)
    return f"the field is {min(ratio, 999):.0f} times longer in {longer} than in {shorter}: are both in degrees?"


def _cosmology(view: View, located: Located) -> str:
    """Where the user's distances are not ours: in h^-1 Mpc only the matter density matters."""
    options, position = view.options, view.galaxies.position
    if not isinstance(position, Distances):
        return _unused(view, located)
    if position.per_h and options.h not in (None, 1.0):
        return f"{position.column} is in h^-1 Mpc: h = {options.h:g} is not used"
    ratio = 1.0 if options.Om is None else float(view.rescaling(located.redshift))
    if abs(ratio - 1) < 1e-3:
        return ""
    return f"distances for Om = {options.Om:g} were multiplied by {ratio:.4f}, those of the mocks (Om = {_ours(view)})"


def _unused(view: View, located: Located) -> str:
    """Angles become distances by the estimator's cosmology, whatever the user's is."""
    options, z = view.options, located.redshift
    if options.Om is not None and not np.isnan(z) and abs(options.Om - view.cosmology.Om0) > 1e-3:
        change = 100 * (1 / float(view.rescaling(z)) - 1)
        return (
            f"distances are for the mocks' Om = {_ours(view)}; for {options.Om:g} they would change by {change:+.2f} %"
        )
    if options.h is not None and abs(options.h - view.cosmology.h) > 1e-3:
        return f"h = {options.h:g} changes no angle: it stands only in what is given in Mpc and Msun without h^-1"
    return ""


def _ours(view: View) -> str:
    return f"{view.cosmology.Om0:.4g}"


def _repeated(view: View, located: Located) -> str:
    """Galaxies on the sky stand once already; equal distances and velocities are another matter."""
    if isinstance(view.galaxies.position, Sky):
        return ""
    rows = np.column_stack([view.galaxies.position.values, view.galaxies.velocity.values])
    repeated = len(rows) - len(np.unique(rows, axis=0))
    return f"{repeated} rows repeat the distance and velocity of another: the same galaxy twice?" if repeated else ""

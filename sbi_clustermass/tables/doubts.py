"""What should make one doubt a cluster read from a table, in words and numbers.

Lengths are comoving [h^-1 Mpc], velocities [km/s], angles [deg].
"""

import numpy as np

from sbi_clustermass.tables.centre import rival_point, rival_redshift
from sbi_clustermass.tables.galaxies import Redshifts, Sky
from sbi_clustermass.tables.locating import Located, View

LARGE_SHIFT = 500.0
COVERED = 0.9


def doubts(view: View, located: Located) -> tuple[str, ...]:
    """Every reason to doubt, one sentence each."""
    checks = (_coverage, _shift, _line_of_sight, _neighbour, _repeated)
    return tuple(sentence for check in checks if (sentence := check(view, located)))


def _coverage(view: View, located: Located) -> str:
    reach, full = float(located.R_proj.max()), view.observation.aperture
    if reach >= COVERED * full:
        return ""
    return f"the galaxies reach {reach:.2f} h^-1 Mpc, the mocks {full:g}: the mass may be off"


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


def _repeated(view: View, located: Located) -> str:
    rows = np.column_stack([view.galaxies.position.values, view.galaxies.velocity.values])
    repeated = len(rows) - len(np.unique(rows, axis=0))
    return f"{repeated} rows repeat the position and velocity of another: the same galaxy twice?" if repeated else ""

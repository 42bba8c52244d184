"""Summary statistics of a cluster: some independent of how many of its galaxies have a redshift, some not.

Distances are comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from clustermocks.kinematics.dispersion import velocity_dispersion

INNER, CORE = 1 / 3, 1 / 8  # of the aperture: .53 and .2 h^-1 Mpc
FAST = 2.5  # inner velocity dispersions: 1 % of a Gaussian, a tenth or more where there are interlopers
_FEWEST = 5  # galaxies in the inner third from which its dispersion is measured
_SLOWEST = 30.0  # smallest dispersion [km/s], because velocities may all be equal
_MAD = 1.4826  # standard deviation of a Gaussian over its median absolute deviation

Values = Float[np.ndarray, "cluster"]
Pair = tuple[np.ndarray, np.ndarray]


class Features(NamedTuple):
    """Summary statistics of clusters, one row each: (cluster, 3), then (cluster,).

    Attributes:
        speeds: Log10 of three velocity dispersions [dex of km/s]: all galaxies after 3-sigma clipping; all and those in
            the inner third, by the median absolute velocity. Thinning changes them by chance only.
        number: Number of galaxies.
        mean_R: Their mean projected distance [h^-1 Mpc].
        mean_R2: Their mean squared distance [h^-2 Mpc^2].
        core: Number of galaxies within an eighth of the aperture.
        fast: Number of galaxies outside the inner third, faster than 2.5 of its dispersions: mostly interlopers.
    """

    speeds: Float[np.ndarray, "cluster 3"]
    number: Values
    mean_R: Values
    mean_R2: Values
    core: Values
    fast: Values


def features(clusters: Iterable[Pair], aperture: float) -> Features:
    """Measure clusters.

    Args:
        clusters: R_proj [h^-1 Mpc] and v_los [km/s] of the galaxies of each cluster, two or more.
        aperture: Radius of the cylinder [h^-1 Mpc].
    """
    rows = [_row(np.asarray(R, float), np.asarray(v, float), aperture) for R, v in clusters]
    table = np.array(rows, float).reshape(-1, 8)
    return Features(table[:, :3], *table[:, 3:].T)


def _row(R: np.ndarray, v: np.ndarray, aperture: float) -> tuple[float, ...]:
    outside = INNER * aperture <= R
    inner = np.abs(v[~outside])
    everywhere = _MAD * float(np.median(np.abs(v)))
    within = _MAD * float(np.median(inner)) if len(inner) >= _FEWEST else everywhere
    clipped = float(velocity_dispersion([v], method="clipped")[0])
    speeds = (float(np.log10(max(speed, _SLOWEST))) for speed in (clipped, everywhere, within))
    core, fast = (CORE * aperture > R).sum(), (outside & (np.abs(v) > FAST * max(within, _SLOWEST))).sum()
    return (*speeds, len(R), R.mean(), (R**2).mean(), core, fast)

"""Redshifts and velocities that were rounded before they came into a table.

Velocities in [km/s].
"""

import numpy as np
from jaxtyping import Float

from clustermocks.haloes.cosmology import SPEED_OF_LIGHT
from clustermocks.observation import observed_redshift

_STEPS_Z = (1e-3, 1e-4)  # redshift: 300 and 30 km/s
_STEPS_V = (100.0, 50.0, 10.0)  # km/s; coarser ones are as wide as a group's dispersion, finer ones do no harm
_IN_PHASE = 0.95  # mean resultant length; 1 for values on a comb
_FEWEST = 8  # galaxies: by chance 8 are in phase with probability exp(-8 * .95^2) = .0007


def rounding_error(v_los: Float[np.ndarray, "galaxy"], redshift: float) -> float:
    """Standard deviation that rounding adds to the velocities, step / sqrt(12) [km/s]; 0 where they are not rounded.

    Redshifts, c z or relative velocities that are whole multiples of a step are all in phase with it, wherever the
    cluster's own velocity was put since (Rayleigh's test: Mardia & Jupp 2000, Directional Statistics, section 6.3).

    Args:
        v_los: Relative to the cluster [km/s].
        redshift: The cluster's [1]; NaN if unknown.
    """
    v_los = np.asarray(v_los, float)
    if len(v_los) < _FEWEST:
        return 0.0
    z = 0.0 if np.isnan(redshift) else redshift
    observed = np.asarray(observed_redshift(z, v_los))
    widths = [step * SPEED_OF_LIGHT / (1 + z) for step in _STEPS_Z if _in_phase(observed, step)]
    widths += [step / (1 + z) for step in _STEPS_V if _in_phase(SPEED_OF_LIGHT * observed, step)]
    widths += [step for step in _STEPS_V if _in_phase(v_los, step)]
    return float(max(widths, default=0.0) / np.sqrt(12))


def _in_phase(values: Float[np.ndarray, "galaxy"], step: float) -> bool:
    return bool(abs(np.exp(2j * np.pi * values / step).mean()) > _IN_PHASE)

"""Detection of redshifts and velocities that were rounded before they were tabulated.

Velocities in [km/s].
"""

import numpy as np
from jaxtyping import Float

from clustermocks.haloes.cosmology import SPEED_OF_LIGHT
from clustermocks.observation import observed_redshift

_STEPS_Z = (1e-3, 5e-4, 2e-4, 1e-4)  # redshift: 300 to 30 km/s
_STEPS_V = (100.0, 50.0, 20.0, 10.0)  # km/s; coarser steps are as wide as a group's dispersion, finer ones are harmless
_IN_PHASE = 0.95  # mean resultant length; 1 for values on a comb
_FEWEST = 8  # galaxies: by chance 8 are in phase with probability exp(-8 * .95^2) = .0007


def rounding_step(v_los: Float[np.ndarray, "galaxy"], redshift: float) -> float:
    """Step to which c z was rounded [km/s]: 0 if it was not, NaN for fewer than 8 galaxies, which do not show it.

    Redshifts, c z or relative velocities that are multiples of a step stay in phase with it when a constant is
    subtracted (Rayleigh's test: Mardia & Jupp 2000, Directional Statistics, section 6.3).

    Args:
        v_los: Velocities relative to the cluster [km/s].
        redshift: Redshift of the cluster [1]; NaN if unknown.
    """
    v_los = np.asarray(v_los, float)
    if len(v_los) < _FEWEST:
        return np.nan
    z = 0.0 if np.isnan(redshift) else redshift
    observed = np.asarray(observed_redshift(z, v_los))
    found = [SPEED_OF_LIGHT * step for step in _STEPS_Z if _in_phase(observed, step)]
    found += [step for step in _STEPS_V if _in_phase(SPEED_OF_LIGHT * observed, step)]
    found += [step * (1 + z) for step in _STEPS_V if _in_phase(v_los, step)]
    return max(found, default=0.0)


def _in_phase(values: Float[np.ndarray, "galaxy"], step: float) -> bool:
    return bool(abs(np.exp(2j * np.pi * values / step).mean()) > _IN_PHASE)

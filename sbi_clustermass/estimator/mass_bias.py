"""What a mass is off where a cluster stands at another redshift, or has other velocity errors, than the mocks.

Masses are M200c [h^-1 Msun], velocities [km/s].
"""

import numpy as np

from clustermocks import Cosmology


def redshift_shift(redshift: float, trained_at: float, cosmology: Cosmology) -> float:
    r"""Inferred less true log10 mass [dex] of a cluster at another redshift than the mocks'.

    A velocity dispersion scales as $(E(z) M)^{1/3}$ (Evrard et al. 2008, ApJ 672, 122, eq. 6), so an estimator that
    reads it at $z_0$ finds $E(z) M / E(z_0)$. Measured with `tabulated` on `trial_masses`, trained at .117 without
    richness, on mocks at .0235, .2, .3, .5 and .8 (+- .01): -.02, +.02, +.05, +.07, +.15; this says -.02, +.02, +.04,
    +.09, +.17.
    """
    return float(np.log10(cosmology.hubble(redshift) / cosmology.hubble(trained_at)))


def error_shift(sigma: float, error: float, trained: float) -> float:
    """Inferred less true log10 mass [dex] where velocity errors [km/s] are larger than any in the training.

    Errors add to a dispersion in quadrature and mass goes with its third power; sigma is the measured dispersion
    [km/s]. Infinite where the errors are all of it.
    """
    own = sigma**2 - error**2 + trained**2
    return 0.0 if error <= trained else np.inf if own <= trained**2 else float(1.5 * np.log10(sigma**2 / own))

"""Bias of the inferred mass of a cluster whose redshift or velocity errors differ from those of the mocks.

Masses are M200c [h^-1 Msun], velocities [km/s].
"""

import numpy as np

from clustermocks import Cosmology


def redshift_shift(redshift: float, trained_at: float, cosmology: Cosmology) -> float:
    r"""Inferred minus true log10 mass of a cluster whose redshift differs from that of the mocks [dex].

    A velocity dispersion scales as $(E(z) M)^{1/3}$, so that an estimator trained at $z_0$ finds $E(z) M / E(z_0)$.
    For `tabulated` on `trial_masses`, trained at .117 without richness, the bias on mocks at redshifts .0235, .2, .3,
    .5 and .8 is -.02, +.02, +.05, +.07 and +.15 (+- .01); this function gives -.02, +.02, +.04, +.09 and +.17.

    References:
        Evrard et al. 2008, ApJ 672, 122, eq. 6.
    """
    return float(np.log10(cosmology.hubble(redshift) / cosmology.hubble(trained_at)))


def error_shift(sigma: float, error: float, trained: float) -> float:
    """Inferred minus true log10 mass of a cluster with larger velocity errors than any in the training [dex].

    Errors add to the dispersion sigma in quadrature, and the mass scales with its third power. The bias is infinite if
    the errors account for the whole dispersion.
    """
    own = sigma**2 - error**2 + trained**2
    return 0.0 if error <= trained else np.inf if own <= trained**2 else float(1.5 * np.log10(sigma**2 / own))

"""The halo multiplicity function of Tinker et al. 2008."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

# table 2 of Tinker et al. 2008: overdensity over the mean density, then A, a, b and c at redshift 0
_OVERDENSITY = np.array([200, 300, 400, 600, 800, 1200, 1600, 2400, 3200])
_PARAMETERS = np.array(
    [
        [0.186, 0.200, 0.212, 0.218, 0.248, 0.255, 0.260, 0.260, 0.260],
        [1.47, 1.52, 1.56, 1.61, 1.87, 2.13, 2.30, 2.53, 2.66],
        [2.57, 2.25, 2.05, 1.87, 1.59, 1.51, 1.46, 1.44, 1.41],
        [1.19, 1.27, 1.34, 1.45, 1.58, 1.80, 1.97, 2.24, 2.44],
    ]
)
PARAMETERS = CubicSpline(np.log10(_OVERDENSITY), _PARAMETERS.T, bc_type="natural")  # as in appendix B


def tinker08(sigma: ArrayLike, redshift: float, overdensity: float) -> np.ndarray:
    r"""Multiplicity f(sigma), $dn/d\ln M = f \bar\rho / M\,|d \ln\sigma / d \ln M|$ (Tinker et al. 2008, eqs 2 to 8).

    Args:
        sigma: Linear rms density contrast at the redshift [1].
        redshift: Redshift [1].
        overdensity: Overdensity over the mean matter density [1], clipped to 200 and 3200.
    """
    at, growth = np.clip(np.log10(overdensity), PARAMETERS.x[0], PARAMETERS.x[-1]), 1 + redshift
    A, a, b, c = PARAMETERS(at)
    alpha = 10 ** -((0.75 / (at - np.log10(75))) ** 1.2)
    sigma, a, b = np.asarray(sigma, float), a * growth**-0.06, b * growth**-alpha
    return A * growth**-0.14 * ((sigma / b) ** -a + 1) * np.exp(-c / sigma**2)

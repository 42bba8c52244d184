"""The multiplicity of Tinker et al. 2008 in numpy and scipy: another road for tests."""

import numpy as np
from scipy.interpolate import make_interp_spline

OVERDENSITIES = np.array([200, 300, 400, 600, 800, 1200, 1600, 2400, 3200])
VALUES = {  # table 2
    "A": [0.186, 0.200, 0.212, 0.218, 0.248, 0.255, 0.260, 0.260, 0.260],
    "a": [1.47, 1.52, 1.56, 1.61, 1.87, 2.13, 2.30, 2.53, 2.66],
    "b": [2.57, 2.25, 2.05, 1.87, 1.59, 1.51, 1.46, 1.44, 1.41],
    "c": [1.19, 1.27, 1.34, 1.45, 1.58, 1.80, 1.97, 2.24, 2.44],
}


def multiplicity(sigma, z, overdensity):
    """f(sigma) of eqs 3 to 8, for an overdensity over the mean density."""
    A, a, b, c = (
        make_interp_spline(np.log10(OVERDENSITIES), row, k=3, bc_type="natural")(np.log10(overdensity))
        for row in VALUES.values()
    )
    alpha = 10 ** -((0.75 / np.log10(overdensity / 75)) ** 1.2)
    A, a, b = A * (1 + z) ** -0.14, a * (1 + z) ** -0.06, b * (1 + z) ** -alpha
    return A * ((sigma / b) ** -a + 1) * np.exp(-c / sigma**2)

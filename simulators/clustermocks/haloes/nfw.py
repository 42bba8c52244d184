"""Enclosed masses, radii and escape velocities of NFW haloes of given M200c and c200c.

Masses [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s]. Functions are pure and broadcast.
"""

import numpy as np
from numpy.typing import ArrayLike

from clustermocks.haloes.cosmology import Cosmology, Values, nfw_mass, radius_200c, radius_ratio, virial_velocity


def mass_ratio(c_200c: ArrayLike, overdensity: float) -> Values:
    """M_Delta / M200c [1] of an NFW halo: the mass inside the radius that holds an overdensity over critical.

    Args:
        c_200c: Concentration c200c [1], .1 to 100.
        overdensity: Delta [1], 50 to 2000.
    """
    return overdensity / 200 * radius_ratio(c_200c, overdensity) ** 3


def radius_500c(mass: ArrayLike, c_200c: ArrayLike, redshift: ArrayLike, cosmology: Cosmology) -> Values:
    """Radius that holds 500 times the critical density, r500c [comoving h^-1 Mpc].

    Divided by h (1 + z) it is in physical Mpc.

    Args:
        mass: M200c [h^-1 Msun].
        c_200c: Concentration c200c [1], .1 to 100.
        redshift: Redshift [1].
        cosmology: Background.
    """
    return radius_ratio(c_200c, 500) * radius_200c(mass, redshift, cosmology)


def enclosed_mass(
    radius: ArrayLike, mass: ArrayLike, c_200c: ArrayLike, redshift: ArrayLike, cosmology: Cosmology
) -> Values:
    """Mass inside a sphere, M(< r) [h^-1 Msun] (Navarro, Frenk & White 1997, ApJ 490, 493).

    Args:
        radius: Radius of the sphere [comoving h^-1 Mpc].
        mass: M200c [h^-1 Msun].
        c_200c: Concentration c200c [1].
        redshift: Redshift [1].
        cosmology: Background.
    """
    c, mass = np.asarray(c_200c, float), np.asarray(mass, float)
    return mass * nfw_mass(c * radius / radius_200c(mass, redshift, cosmology)) / nfw_mass(c)


def escape_velocity(
    radius: ArrayLike, mass: ArrayLike, c_200c: ArrayLike, redshift: ArrayLike, cosmology: Cosmology
) -> Values:
    r"""Velocity that escapes from an NFW halo to infinity [km/s].

    $v_{esc}^2(s) = 2 V_{200}^2 \ln(1 + c s) / (s\, m(c))$ with s = r / r200c. The profile is not truncated and space
    does not expand: the velocity that reaches the turn-around radius is lower.

    Args:
        radius: Radius, above 0 [comoving h^-1 Mpc].
        mass: M200c [h^-1 Msun].
        c_200c: Concentration c200c [1].
        redshift: Redshift [1].
        cosmology: Background.

    References:
        Lokas & Mamon 2001, MNRAS 321, 155, eq. 8 (the potential).
    """
    c = np.asarray(c_200c, float)
    s = radius / radius_200c(mass, redshift, cosmology)
    return virial_velocity(mass, redshift, cosmology) * np.sqrt(2 * np.log1p(c * s) / (s * nfw_mass(c)))

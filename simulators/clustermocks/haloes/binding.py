r"""Which galaxies are bound to a cluster: those that its gravity does not let beyond 5 r200c.

A galaxy at r < 5 r200c is bound if its speed relative to the cluster, in three dimensions and with the Hubble flow,
does not take it beyond 5 r200c in the cluster's NFW potential. Whether it belongs to a group that falls in does not
matter: galaxies inside the turnaround radius, 4.96 +- 1.48 r200c in observed clusters, are bound whether they have been
in the cluster or not. The definition needs positions and velocities alone, so that mocks and N-body boxes share it: of
the dark matter in the cylinders of haloes of 10^14 to 10^14.5 h^-1 Msun, 79 % are bound in a box and in mocks.

Lengths are comoving [h^-1 Mpc], velocities [km/s].

References:
    Rines & Diaferio 2006, AJ 132, 1275 (turnaround); Lokas & Mamon 2001, MNRAS 321, 155, eq. 7 (potential).
"""

import numpy as np
from jaxtyping import Bool, Float

from clustermocks.haloes.cosmology import Values, nfw_mass

TURNAROUND = 5.0  # r200c; how far a bound galaxy gets
_CENTRE = 1e-6  # r200c; inside, the potential is that of the centre


def highest_speed(x: Values, c_mass: Values, turnaround: float = TURNAROUND) -> Values:
    r"""Speed [V200] at x = radius / r200c that brings a galaxy to the turnaround radius [r200c]; 0 beyond it.

    $v^2 = 2 [\Phi(x_t) - \Phi(x)]$ with $\Phi(x) = -\ln(1 + c x) / (x m(c))$ in an NFW halo of concentration c.
    """
    fall = np.log1p(c_mass * x) / x - np.log1p(c_mass * turnaround) / turnaround
    return np.sqrt(2 * np.maximum(fall, 0) / nfw_mass(c_mass))


def are_bound(
    position: Float[np.ndarray, "galaxy 3"],
    velocity: Float[np.ndarray, "galaxy 3"],
    *,
    r_200c: Values,
    c_200c: Values,
    v_200: Values,
) -> Bool[np.ndarray, "galaxy"]:
    """Which galaxies are bound to their cluster.

    Args:
        position: From the centre [comoving h^-1 Mpc].
        velocity: Physical velocity relative to the cluster: peculiar, plus the Hubble flow from its centre [km/s].
        r_200c: Of each galaxy's cluster [comoving h^-1 Mpc], (galaxy,).
        c_200c: Concentration of its mass [1].
        v_200: Its circular velocity at r200c [km/s].
    """
    distance, speed = (np.sqrt(np.einsum("ij,ij->i", v, v)) for v in (position, velocity))  # faster than norm
    return speed < v_200 * highest_speed(np.maximum(distance / r_200c, _CENTRE), c_200c)

"""Where a cluster is, by its galaxies: the densest redshift, and the densest point on the sky near that redshift.

Lengths are comoving [h^-1 Mpc], velocities [km/s], angles [deg].
"""

import numpy as np
from jaxtyping import Bool, Float

from clustermocks.cosmology import SPEED_OF_LIGHT

WINDOW = 2000.0  # km/s: two velocity dispersions of a 10^15 cluster, four of a group
SMOOTHING = 0.25  # h^-1 Mpc: a cluster's core
CIRCLES = (1.0, 0.8, 0.6, 0.5, 0.4)
CORE = 0.5
FEWEST = 5


def densest_redshift(z: Float[np.ndarray, "galaxy"]) -> float:
    """Median redshift of the fullest window of 2000 km/s.

    Args:
        z: Redshifts [1], at least one.
    """
    velocity = np.sort(SPEED_OF_LIGHT * np.log1p(z))
    end = np.searchsorted(velocity, velocity + WINDOW, side="right")
    start = int(np.argmax(end - np.arange(len(velocity))))
    return float(np.expm1(np.median(velocity[start : end[start]]) / SPEED_OF_LIGHT))


def densest_point(sky: Float[np.ndarray, "galaxy 2"], distance: float) -> tuple[float, float]:
    """Right ascension and declination [deg] of the densest point of galaxies at one distance.

    Starts at the galaxy with the densest surroundings (Gaussian of 0.25 h^-1 Mpc), then follows the mean of galaxies
    in a circle that shrinks from 1 to 0.4 h^-1 Mpc (as Power et al. 2003, MNRAS 338, 14, centre simulated haloes).

    Args:
        sky: Right ascension and declination [deg].
        distance: Comoving distance [h^-1 Mpc].
    """
    from scipy.spatial import KDTree

    points = distance * unit_vectors(sky)
    tree = KDTree(points)
    near = tree.sparse_distance_matrix(tree, 3 * SMOOTHING, output_type="ndarray")
    weight = np.exp(-0.5 * (near["v"] / SMOOTHING) ** 2)
    centre = points[np.argmax(np.bincount(near["i"], weight, minlength=len(points)))]
    for radius in CIRCLES:
        inside = points[np.linalg.norm(points - centre, axis=1) < radius]
        if len(inside):
            mean = inside.mean(axis=0)
            centre = distance * mean / np.linalg.norm(mean)
    x, y, z = centre / distance
    return float(np.rad2deg(np.arctan2(y, x)) % 360), float(np.rad2deg(np.arctan2(z, np.hypot(x, y))))


def unit_vectors(sky: Float[np.ndarray, "galaxy 2"]) -> Float[np.ndarray, "galaxy 3"]:
    """Directions of right ascensions and declinations [deg]."""
    ra, dec = np.deg2rad(sky).T
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def separation(sky: Float[np.ndarray, "galaxy 2"], centre: tuple[float, float]) -> Float[np.ndarray, "galaxy"]:
    """Angle between each galaxy and the centre [rad], from the chord: exact for small angles, poles included."""
    chord = np.linalg.norm(unit_vectors(sky) - unit_vectors(np.array([centre])), axis=1)
    return 2 * np.arcsin(np.minimum(chord / 2, 1))


def rival_redshift(z: Float[np.ndarray, "galaxy"], redshift: float, v_cut: float) -> tuple[float, int, int] | None:
    """Another concentration along the line of sight with at least half as many galaxies.

    Args:
        z: Redshifts of the galaxies in the aperture [1].
        redshift: The one chosen [1].
        v_cut: Half-width of the cylinder [km/s].

    Returns:
        Its redshift, its galaxies and those at the redshift chosen, each within half a window; None if there is none.
    """
    distance = SPEED_OF_LIGHT * np.abs(np.log1p(z) - np.log1p(redshift))
    others = z[distance > v_cut + WINDOW / 2]
    if not len(others):
        return None
    peak = densest_redshift(others)
    here, there = (_within(z, value).sum() for value in (redshift, peak))
    return (peak, int(there), int(here)) if there >= max(FEWEST, here / 2) else None


def _within(z: Float[np.ndarray, "galaxy"], redshift: float) -> Bool[np.ndarray, "galaxy"]:
    return SPEED_OF_LIGHT * np.abs(np.log1p(z) - np.log1p(redshift)) < WINDOW / 2


def rival_point(
    sky: Float[np.ndarray, "galaxy 2"], centre: tuple[float, float], distance: float, *, apart: float
) -> tuple[float, float, int, int] | None:
    """Another concentration on the sky with at least half as many galaxies within 0.5 h^-1 Mpc.

    Args:
        sky: Right ascension and declination of the galaxies near the cluster's redshift [deg].
        centre: The one chosen [deg].
        distance: Comoving distance [h^-1 Mpc].
        apart: Least distance from the centre chosen [h^-1 Mpc].

    Returns:
        Its right ascension and declination [deg], its galaxies and those at the centre chosen; None if there is none.
    """
    far = sky[distance * separation(sky, centre) > apart]
    if not len(far):
        return None
    other = densest_point(far, distance)
    here, there = (int((distance * separation(sky, point) < CORE).sum()) for point in (centre, other))
    return (*other, there, here) if there >= max(FEWEST, here / 2) else None

"""The densest redshift and the densest point on the sky of a cluster's galaxies, their errors and their rivals.

Lengths are comoving [h^-1 Mpc], velocities [km/s], angles [deg].
"""

import numpy as np
from jaxtyping import Float

from clustermocks.haloes.cosmology import SPEED_OF_LIGHT
from clustermocks.kinematics.biweight import biweight_location

WINDOW = 2000.0  # km/s: two velocity dispersions of a 10^15 cluster, four of a group
SMOOTHING = 0.25  # h^-1 Mpc: a cluster's core
CIRCLES = (1.0, 0.8, 0.6, 0.5, 0.4)  # h^-1 Mpc
CORE = 0.5  # h^-1 Mpc
FEWEST = 5
MANY, FULLEST = 3000, 20  # galaxies whose pairs fit in memory; cells of the crowded places where there are more
FEW = 500  # galaxies whose pairs are quicker to list than to search
RESAMPLINGS = 50  # an error is known to 10 %
OFFSET = 0.05  # h^-1 Mpc, an axis: of the galaxies' densest point from a cluster's centre, however many there are
REACH = 2.0  # h^-1 Mpc: from the centre, of the galaxies that could move it


def densest_redshift(z: Float[np.ndarray, "galaxy"]) -> float:
    """Find the fullest window of 2000 km/s and return its median redshift."""
    velocity = np.sort(SPEED_OF_LIGHT * np.log1p(z))
    end = np.searchsorted(velocity, velocity + WINDOW, side="right")
    start = int(np.argmax(end - np.arange(len(velocity))))
    return float(np.expm1(np.median(velocity[start : end[start]]) / SPEED_OF_LIGHT))


def densest_point(sky: Float[np.ndarray, "galaxy 2"], distance: float) -> tuple[float, float]:
    """Find the densest point of galaxies at one comoving distance: right ascension and declination [deg].

    The search starts at the galaxy with the densest surroundings (Gaussian of 0.25 h^-1 Mpc), then follows the mean of
    galaxies in a circle that shrinks from 1 to 0.4 h^-1 Mpc (as Power et al. 2003, MNRAS 338, 14, centre simulated
    haloes).
    """
    points = distance * unit_vectors(sky)
    centre = _densest(_crowded(points))
    for radius in CIRCLES:
        inside = points[np.linalg.norm(points - centre, axis=1) < radius]
        if len(inside):
            mean = inside.mean(axis=0)
            centre = distance * mean / np.linalg.norm(mean)
    x, y, z = centre / distance
    return float(np.rad2deg(np.arctan2(y, x)) % 360), float(np.rad2deg(np.arctan2(z, np.hypot(x, y))))


def _densest(points: Float[np.ndarray, "galaxy 3"]) -> Float[np.ndarray, "3"]:
    """Return the point with the densest surroundings."""
    from scipy.spatial import KDTree
    from scipy.spatial.distance import cdist

    if len(points) <= FEW:
        apart = cdist(points, points)
        weights = np.where(apart <= 3 * SMOOTHING, np.exp(-0.5 * (apart / SMOOTHING) ** 2), 0)
        return points[np.argmax(weights.sum(axis=1))]
    tree = KDTree(points)
    near = tree.sparse_distance_matrix(tree, 3 * SMOOTHING, output_type="ndarray")
    weight = np.exp(-0.5 * (near["v"] / SMOOTHING) ** 2)
    return points[np.argmax(np.bincount(near["i"], weight, minlength=len(points)))]


def _crowded(points: Float[np.ndarray, "galaxy 3"]) -> Float[np.ndarray, "some 3"]:
    """Return all points, or at most `MANY` in the fullest cells: the pairs of 10^6 points fit in no memory."""
    if len(points) <= MANY:
        return points
    cells = np.floor(points / (2 * SMOOTHING)).astype(np.int64)
    cells -= cells.min(axis=0)
    key = np.ravel_multi_index(tuple(cells.T), tuple(cells.max(axis=0) + 1))
    _, cell, count = np.unique(key, return_inverse=True, return_counts=True)
    inside = points[np.isin(cell, np.argsort(-count)[:FULLEST])]
    return inside[:: -(-len(inside) // MANY)]


def centre_error(sky: Float[np.ndarray, "galaxy 2"], centre: tuple[float, float], distance: float) -> float:
    """Estimate the error of `densest_point` along one axis of the sky [h^-1 Mpc] by resampling the galaxies.

    The galaxies are those near the cluster's redshift. Each resampling starts from its own densest galaxy, so a second
    clump as dense as the first widens the error. The densest point is not the centre of the mass either: an offset like
    that of bright cluster galaxies from X-ray centres, as mocks have it, adds in quadrature.

    References:
        Efron 1979, Annals of Statistics 7, 1 (bootstrap).
    """
    from scipy.spatial.distance import cdist

    near = sky[distance * separation(sky, centre) < REACH]
    if len(near) < FEWEST:
        return np.nan
    step = -(-len(near) // (MANY // 3))
    points = distance * (unit_vectors(near[::step]) - unit_vectors(np.array([centre])))
    count = np.random.default_rng(0).multinomial(len(points), np.full(len(points), 1 / len(points)), size=RESAMPLINGS)
    kernel = np.exp(-0.5 * cdist(points, points, "sqeuclidean") / SMOOTHING**2)
    density = np.where(count > 0, count @ kernel, 0)
    centres = points[np.argmax(density, axis=1)]
    for radius in CIRCLES:
        weight = np.where(cdist(centres, points, "sqeuclidean") < radius**2, count, 0)
        total = weight.sum(axis=1, keepdims=True)
        centres = np.where(total > 0, weight @ points / np.maximum(total, 1), centres)
    scatter = np.sqrt(np.sum(np.var(centres, axis=0, ddof=1)) / 2)
    return float(
        np.hypot(scatter / np.sqrt(step), OFFSET)
    )  # every step-th galaxy was used: errors fall as the root of their number


def redshift_error(v_los: Float[np.ndarray, "galaxy"], redshift: float) -> float:
    """Estimate the standard error of a biweight redshift [1] by resampling the galaxies of the cylinder."""
    if len(v_los) < FEWEST:
        return np.nan
    rows = np.random.default_rng(0).integers(len(v_los), size=(RESAMPLINGS, len(v_los)))
    centres = biweight_location(v_los[rows])
    return float(np.std(centres, ddof=1) / SPEED_OF_LIGHT * (1 + redshift))


def unit_vectors(sky: Float[np.ndarray, "galaxy 2"]) -> Float[np.ndarray, "galaxy 3"]:
    """Convert right ascensions and declinations [deg] to unit vectors."""
    ra, dec = np.deg2rad(sky).T
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def position_angle(sky: Float[np.ndarray, "galaxy 2"], centre: tuple[float, float]) -> Float[np.ndarray, "galaxy"]:
    """Compute the direction from the centre to each galaxy, from north through east [deg]."""
    ra, dec = np.deg2rad(sky).T
    ra0, dec0 = np.deg2rad(centre)
    east = np.cos(dec) * np.sin(ra - ra0)
    north = np.sin(dec) * np.cos(dec0) - np.cos(dec) * np.sin(dec0) * np.cos(ra - ra0)
    return np.rad2deg(np.arctan2(east, north)) % 360


def separation(sky: Float[np.ndarray, "galaxy 2"], centre: tuple[float, float]) -> Float[np.ndarray, "galaxy"]:
    """Compute the angle between each galaxy and the centre [rad] from the chord: exact for small angles, poles too."""
    chord = np.linalg.norm(unit_vectors(sky) - unit_vectors(np.array([centre])), axis=1)
    return 2 * np.arcsin(np.minimum(chord / 2, 1))


def rival_redshift(z: Float[np.ndarray, "galaxy"], redshift: float, v_cut: float) -> tuple[float, int, int] | None:
    """Find another concentration along the line of sight with at least half as many galaxies; None without one.

    Returns:
        Redshift of the rival, its number of galaxies and that at the chosen redshift, each within half a window.
    """
    distance = SPEED_OF_LIGHT * np.abs(np.log1p(z) - np.log1p(redshift))
    others = z[distance > v_cut + WINDOW / 2]
    if not len(others):
        return None
    peak = densest_redshift(others)
    here, there = (
        int((SPEED_OF_LIGHT * np.abs(np.log1p(z) - np.log1p(value)) < WINDOW / 2).sum()) for value in (redshift, peak)
    )
    return (peak, there, here) if there >= max(FEWEST, here / 2) else None


def rival_point(
    sky: Float[np.ndarray, "galaxy 2"], centre: tuple[float, float], distance: float, *, apart: float
) -> tuple[float, float, int, int] | None:
    """Find another concentration on the sky with at least half as many galaxies within 0.5 h^-1 Mpc; None without one.

    Only galaxies more than `apart` [h^-1 Mpc] from the chosen centre are searched.

    Returns:
        Right ascension and declination of the rival [deg], its number of galaxies and that at the chosen centre.
    """
    far = sky[distance * separation(sky, centre) > apart]
    if not len(far):
        return None
    other = densest_point(far, distance)
    here, there = (int((distance * separation(sky, point) < CORE).sum()) for point in (centre, other))
    return (*other, there, here) if there >= max(FEWEST, here / 2) else None

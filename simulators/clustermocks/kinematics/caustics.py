r"""Caustics: the escape velocity along the line of sight that galaxies trace in the (r, v) plane.

R_proj is comoving [h^-1 Mpc], r is physical [h^-1 Mpc], velocities are [km/s].
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.integrate import cumulative_trapezoid

from clustermocks.kinematics.phase_space_density import PhaseSpaceDensity, phase_space_density

Q = 25.0  # relative smoothing: a velocity of q x 100 km/s counts as 1 h^-1 Mpc (Diaferio 1999)
# Smallest gap between neighbouring velocities that ends the candidates [km/s]: of 300, 500 and 800, the one with the
# least bias and scatter of the mass on mocks of `HaloModel.ho2019`
GAP = 500.0
_STEEPEST = 0.25  # of d ln A / d ln r: no realistic halo is steeper (Diaferio 1999)
_THRESHOLDS = np.geomspace(1e-5, 0.95, 96)[::-1]  # trial values of kappa, over the highest density
_TRIALS = 16  # thresholds tried at once: most clusters need a third of all
_FEWEST = 8  # candidates, for a density in two dimensions


class Caustics(NamedTuple):
    """Caustics of one cluster.

    Attributes:
        plane: Density of its galaxies.
        kappa: Density on the caustics [h Mpc^-1 (km/s)^-1].
        amplitude: Escape velocity along the line of sight A(r) [km/s], (radius,); 0 beyond the last member.
    """

    plane: PhaseSpaceDensity
    kappa: float
    amplitude: Float[np.ndarray, "radius"]


def caustics(
    r: Float[np.ndarray, "galaxy"],
    v_los: Float[np.ndarray, "galaxy"],
    *,
    limits: tuple[float, float],
    q: float = Q,
    adaptive: bool = True,
    gap: float | None = GAP,
) -> Caustics | None:
    r"""Find the caustics of one cluster: where the density of its galaxies, mirrored in v, falls to kappa.

    kappa is chosen such that the mean square of A over the candidate members' distances is four times their velocity
    variance. d ln A / d ln r is limited to 1/4.

    Args:
        r: Projected distances [physical h^-1 Mpc].
        v_los: Velocities relative to the cluster [km/s].
        limits: Aperture [physical h^-1 Mpc] and velocity cut [km/s].
        q: Relative smoothing: a velocity of q x 100 km/s counts as 1 h^-1 Mpc.
        adaptive: Whether the widths of the kernels vary.
        gap: Smallest gap between neighbouring velocities that ends the candidates [km/s]; None for clipping alone.

    Returns:
        The caustics, or None with fewer than 8 candidate members, or if no threshold gives their velocity variance.

    References:
        Diaferio & Geller 1997, ApJ 481, 633; Diaferio 1999, MNRAS 309, 610; Serra et al. 2011, MNRAS 412, 800.
    """
    if len(r) < _FEWEST or not limits[0] > 0:
        return None
    candidates = _candidates(v_los, gap)
    if candidates.sum() < _FEWEST or not np.var(v_los[candidates]):
        return None
    plane = phase_space_density(r, v_los, limits=limits, q=q, adaptive=adaptive)
    kappa = _threshold(plane, float(np.mean(r[candidates])), float(np.var(v_los[candidates])))
    return None if kappa is None else Caustics(plane, kappa, _amplitudes(plane, np.array([kappa]))[0])


def below_amplitude(
    r: Float[np.ndarray, "galaxy"],
    v_los: Float[np.ndarray, "galaxy"],
    radii: Float[np.ndarray, "radius"],
    amplitude: Float[np.ndarray, "radius"],
) -> Bool[np.ndarray, "galaxy"]:
    """Whether |v| < A(r) [km/s], for an amplitude known at the mid-points `radii` of even cells from 0 [same as r]."""
    return (np.abs(v_los) < np.interp(r, radii, amplitude)) & (r <= radii[-1] + radii[0])


def inside_caustics(
    R_proj: Float[np.ndarray, "galaxy"],
    v_los: Float[np.ndarray, "galaxy"],
    redshift: float,
    aperture: float,
    v_cut: float,
) -> Bool[np.ndarray, "galaxy"]:
    """Drop the galaxies of one cluster outside its caustics; all are kept where there are none.

    Args:
        R_proj: Distances from the centre [comoving h^-1 Mpc].
        v_los: Velocities relative to the centre [km/s].
        redshift: Redshift of the cluster.
        aperture: Largest distance of the observation [comoving h^-1 Mpc].
        v_cut: Largest velocity of the observation [km/s].
    """
    r = R_proj / (1 + redshift)
    found = caustics(r, v_los, limits=(aperture / (1 + redshift), v_cut))
    return np.ones(len(r), bool) if found is None else below_amplitude(r, v_los, found.plane.r, found.amplitude)


def _candidates(v_los: Float[np.ndarray, "galaxy"], gap: float | None) -> Bool[np.ndarray, "galaxy"]:
    """Candidate members: around velocity 0 without a gap, then by repeated 3-sigma clipping about the mean."""
    kept = np.ones(len(v_los), bool) if gap is None else _connected(v_los, gap)
    while kept.sum() > 1:
        now = kept & (np.abs(v_los - v_los[kept].mean()) <= 3 * v_los[kept].std(ddof=1))
        if (now == kept).all():
            break
        kept = now
    return kept


def _connected(v_los: Float[np.ndarray, "galaxy"], gap: float) -> Bool[np.ndarray, "galaxy"]:
    """Whether galaxies are connected, without a gap, to the one nearest to velocity 0."""
    order = np.argsort(v_los, kind="stable")
    group = np.cumsum(np.diff(v_los[order], prepend=v_los[order[:1]]) >= gap)
    kept = np.empty(len(v_los), bool)
    kept[order] = group == group[np.abs(v_los[order]).argmin()]
    return kept


def _amplitudes(
    plane: PhaseSpaceDensity, kappa: Float[np.ndarray, "threshold"]
) -> Float[np.ndarray, "threshold radius"]:
    """A(r) for each threshold: where the density, followed outwards in |v|, falls below it; 0 if it never exceeds it.

    The slope is limited from the centre outwards: A r^-1/4 never rises.
    """
    above = plane.density > kappa[:, None, None]
    cell = np.arange(len(plane.v))
    fallen = ~above & (cell > above.argmax(axis=-1)[..., None])
    last = np.where(fallen.any(axis=-1), fallen.argmax(axis=-1), len(cell) - 1) - 1
    radius = np.arange(len(plane.r))
    inner, outer = plane.density[radius, last], plane.density[radius, last + 1]
    step = np.clip((inner - kappa[:, None]) / np.maximum(inner - outer, 1e-300), 0, 1)
    found = np.where(above.any(axis=-1), plane.v[last] + step * (plane.v[1] - plane.v[0]), 0.0)
    return np.minimum.accumulate(found * plane.r**-_STEEPEST, axis=-1) * plane.r**_STEEPEST


def _threshold(plane: PhaseSpaceDensity, reach: float, variance: float) -> float | None:
    r"""kappa with $\langle A^2 \rangle_{r < R} = 4 \langle v^2 \rangle$, searched from above; None if there is none.

    The mean is over the galaxies inside the caustics, within the candidates' mean distance (Serra et al. 2011, eq. 22).
    """
    trials = _THRESHOLDS * plane.density.max()
    below = cumulative_trapezoid(plane.density, plane.v, initial=0.0, axis=1)
    for start in range(0, len(trials), _TRIALS):
        kappa = trials[start : start + _TRIALS + 1]  # the last is the first of the next
        mean = _mean_square(plane, below, kappa, reach)
        enough = np.flatnonzero(mean >= 4 * variance)
        if enough.size:
            break
    if not enough.size or not enough[0]:
        return None
    around = slice(enough[0] - 1, enough[0] + 1)
    return float(np.exp(np.interp(4 * variance, mean[around], np.log(kappa[around]))))


def _mean_square(
    plane: PhaseSpaceDensity,
    below: Float[np.ndarray, "radius speed"],
    kappa: Float[np.ndarray, "threshold"],
    reach: float,
) -> Float[np.ndarray, "threshold"]:
    """Mean of A^2 for each threshold, over galaxies inside caustics and `reach`; `below` is the integrated density."""
    amplitude = _amplitudes(plane, kappa)
    place = np.minimum(amplitude / (plane.v[1] - plane.v[0]), len(plane.v) - 1.001)
    cell, radius = place.astype(int), np.arange(len(plane.r))
    number = below[radius, cell] + (place - cell) * (below[radius, cell + 1] - below[radius, cell])
    number = number * np.clip(reach / (plane.r[1] - plane.r[0]) - radius, 0, 1)  # the last shell counts in part
    return (amplitude**2 * number).sum(axis=1) / np.maximum(number.sum(axis=1), 1e-300)

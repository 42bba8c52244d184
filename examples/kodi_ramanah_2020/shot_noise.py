r"""How the scatter of mass estimates falls with the number of galaxies: $\sigma^2 = \sigma_N^2 (100/N) + \sigma_0^2$.

Kodi Ramanah et al. 2020, section 5, eq. 8, after Wojtak et al. 2018, MNRAS 481, 324. Masses are M200c [h^-1 Msun] as
log10_mass [dex].
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.optimize import minimize

from sbi_clustermass.diagnostics.residuals import Measured

PIVOT_RICHNESS = 100.0
PIVOT_MASS = 14.5  # [dex] where the power law's offset is quoted
FEWEST = 10
_LEAST_SLOPE = 1e-6  # a constant's, but for rounding
_LEAST_VARIANCE = 1e-8  # [dex^2]: 10^-4 dex, so that a perfect estimate has a likelihood


@final
@dataclass(frozen=True)
class ShotNoise:
    r"""Scatter about the best power law between estimated and true mass, as a function of the number of galaxies.

    It is that of the true mass that the power law reads from an estimate: the scatter of the estimates over the slope.
    Estimates that are drawn towards a mean scatter less and say no more; so counted, to stretch or to shrink them
    changes nothing. Where the slope is 1, as the paper's nearly is, the two are one.

    Attributes:
        sigma_N: Part that falls as $N^{-1/2}$, at 100 galaxies [dex].
        sigma_0: Part that no number of galaxies takes away [dex].
        offset: Mean of log10(estimated/true) at a true mass of 10^14.5 [dex].
        slope: d log10 estimated / d log10 true [1].
        n_clusters: Clusters that were fitted.
    """

    sigma_N: Measured
    sigma_0: Measured
    offset: Measured
    slope: Measured
    n_clusters: int

    def scatter(self, n_members: ArrayLike) -> Float[np.ndarray, "*n"]:
        """Scatter of clusters with so many galaxies [dex] (eq. 8)."""
        ratio = PIVOT_RICHNESS / np.asarray(n_members, float)
        return np.sqrt(self.sigma_N.value**2 * ratio + self.sigma_0.value**2)

    def read(self, log10_estimated: Float[np.ndarray, "cluster"]) -> Float[np.ndarray, "cluster"]:
        """True mass that the power law reads from an estimate [dex]."""
        return PIVOT_MASS + (log10_estimated - self.offset.value - PIVOT_MASS) / self.slope.value


def dispersion_noise(n_members: ArrayLike) -> Float[np.ndarray, "*n"]:
    r"""Scatter of a mass from a velocity dispersion whose only error is that of N velocities, $3/(\sqrt{2N} \ln 10)$.

    Kodi Ramanah et al. 2020, section 5: .09 dex at N = 100. M goes with the cube of the dispersion.
    """
    return 3 / (np.sqrt(2 * np.asarray(n_members, float)) * np.log(10))


def fit_shot_noise(
    log10_estimated: Float[np.ndarray, "cluster"],
    log10_true: Float[np.ndarray, "cluster"],
    n_members: Int[np.ndarray, "cluster"],
    *,
    host_id: Int[np.ndarray, "cluster"] | None = None,
) -> ShotNoise:
    r"""Fit eq. 8 and the power law together, by maximum likelihood.

    log10 estimated is normal about the line with the square of its slope times $\sigma_N^2 (N/100)^{-1} + \sigma_0^2$
    for a variance. Errors are those of the sandwich, right whether residuals are normal or not, with scores summed over
    clusters of one host, which are no independent draws. The error of a sigma is how far it rises when its square rises
    by one standard error, so that it is a number at 0, too.

    Args:
        log10_estimated: Point estimates [dex]; clusters without one (NaN) are left out.
        log10_true: True masses [dex].
        n_members: Galaxies of each cluster; clusters without any are left out.
        host_id: Halo behind each cluster, where several lines of sight go through one.

    Raises:
        ValueError: Fewer than ten clusters, all have the same mass or number of galaxies, or estimates do not rise with
            mass by more than two errors of their slope.
    """
    estimated, true, n = (np.asarray(part, float) for part in (log10_estimated, log10_true, n_members))
    kept = np.isfinite(estimated) & np.isfinite(true) & (n > 0)
    _check(true[kept], n[kept])
    hosts = np.arange(len(n)) if host_id is None else np.asarray(host_id)
    design = np.column_stack([np.ones(kept.sum()), true[kept] - PIVOT_MASS])
    problem = _Problem(estimated[kept] - true[kept], design, PIVOT_RICHNESS / n[kept])
    best = problem.solve()
    return _shot_noise(best, problem.covariance(best, hosts[kept]), int(kept.sum()))


def _shot_noise(best: Float[np.ndarray, "4"], covariance: Float[np.ndarray, "4 4"], n: int) -> ShotNoise:
    """Variances over the squared slope; errors to first order."""
    slope, error = 1 + best[1], np.sqrt(np.diag(covariance))
    if not slope > 2 * error[1] + _LEAST_SLOPE:
        raise ValueError(
            f"fit_shot_noise: estimates do not rise with mass: their slope is {slope:.3f} ± {error[1]:.3f}."
        )
    sigmas = []
    for i in (2, 3):
        gradient = np.zeros(4)
        gradient[[1, i]] = -2 * best[i] / slope**3, 1 / slope**2
        sigmas.append(_root(best[i] / slope**2, float(np.sqrt(gradient @ covariance @ gradient))))
    offset, tilt = Measured(float(best[0]), float(error[0])), Measured(float(slope), float(error[1]))
    return ShotNoise(sigma_N=sigmas[0], sigma_0=sigmas[1], offset=offset, slope=tilt, n_clusters=n)


@final
@dataclass(frozen=True)
class _Problem:
    """Residuals of mean X c and variance A x + B: parameters are the two of c, then A and B."""

    residual: Float[np.ndarray, "cluster"]
    design: Float[np.ndarray, "cluster 2"]
    ratio: Float[np.ndarray, "cluster"]

    def solve(self) -> Float[np.ndarray, "4"]:
        """Parameters of the largest likelihood, A and B not negative."""
        line = np.linalg.lstsq(self.design, self.residual, rcond=None)[0]
        about = float(np.var(self.residual - self.design @ line)) + _LEAST_VARIANCE
        start = np.array([*line, 0.5 * about / self.ratio.mean(), 0.5 * about])
        scale = np.abs(start) + np.array([0.01, 0.01, 0, 0])
        bounds = [(None, None), (None, None), (0, None), (_LEAST_VARIANCE / scale[3], None)]

        def loss(unit: np.ndarray) -> tuple[float, np.ndarray]:
            value, scores = self._loss_and_scores(scale * unit)
            return value / len(self.ratio), -scale * scores.mean(axis=0)

        options = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000}
        return scale * minimize(loss, start / scale, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x

    def _parts(self, at: Float[np.ndarray, "4"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offsets from the line, variances, and what the variance changes with: x and 1."""
        return self.residual - self.design @ at[:2], at[2] * self.ratio + at[3], self._basis()

    def _basis(self) -> Float[np.ndarray, "cluster 2"]:
        return np.column_stack([self.ratio, np.ones_like(self.ratio)])

    def _loss_and_scores(self, at: Float[np.ndarray, "4"]) -> tuple[float, Float[np.ndarray, "cluster 4"]]:
        """Negative log-likelihood, and each cluster's derivative of the log-likelihood."""
        offset, variance, basis = self._parts(at)
        of_line = (offset / variance)[:, None] * self.design
        of_variance = (0.5 * (offset**2 / variance - 1) / variance)[:, None] * basis
        return float(0.5 * np.sum(np.log(variance) + offset**2 / variance)), np.hstack([of_line, of_variance])

    def covariance(self, at: Float[np.ndarray, "4"], hosts: Int[np.ndarray, "cluster"]) -> Float[np.ndarray, "4 4"]:
        """Sandwich: expected curvature, scores squared over hosts, expected curvature."""
        _, variance, basis = self._parts(at)
        curvature = np.zeros((4, 4))
        curvature[:2, :2] = (self.design / variance[:, None]).T @ self.design
        curvature[2:, 2:] = 0.5 * (basis / variance[:, None] ** 2).T @ basis
        scores = self._loss_and_scores(at)[1]
        _, group = np.unique(hosts, return_inverse=True)
        summed = np.stack([np.bincount(group, column) for column in scores.T])
        inverse = np.linalg.inv(curvature)
        return inverse @ (summed @ summed.T) @ inverse


def _root(square: float, error: float) -> Measured:
    """The root of a variance, with the error with which it rises when the variance does by one standard error."""
    root = float(np.sqrt(square))
    return Measured(root, float(np.sqrt(square + error)) - root)


def _check(log10_true: Float[np.ndarray, "cluster"], n: Float[np.ndarray, "cluster"]) -> None:
    if len(n) < FEWEST:
        raise ValueError(
            f"fit_shot_noise: {len(n)} clusters with a mass and galaxies; four numbers need {FEWEST} or more."
        )
    if np.ptp(log10_true) == 0 or np.ptp(n) == 0:
        raise ValueError("fit_shot_noise: needs clusters of different masses and numbers of galaxies.")

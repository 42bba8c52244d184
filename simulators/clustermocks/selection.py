"""P(selected | mass): how likely a cluster of a given mass passes the cuts, fitted to every attempted cluster.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy.interpolate import BSpline
from scipy.optimize import minimize
from scipy.special import expit, log_expit

_SEGMENTS = 16  # of .16 dex for masses from 10^13 to 10^15.6: finer than a richness cut is sharp
_BEND = 1.0
_RIDGE = 1e-3


@final
@dataclass(frozen=True)
class Selection:
    """Log odds of selection as a cubic spline in log10 mass; beyond the attempted masses it goes on along its tangent.

    Attributes:
        coefficients: Coefficients of the cubic B-splines, one more than three for each segment.
        low: Lowest attempted log10 mass [dex].
        high: Highest attempted log10 mass [dex].
        covariance: Covariance of the coefficients' errors, (coefficient, coefficient); None if the selection is exact.
    """

    coefficients: tuple[float, ...]
    low: float
    high: float
    covariance: Float[np.ndarray, "coefficient coefficient"] | None = field(default=None, compare=False, repr=False)

    def __call__(self, log10_mass: ArrayLike) -> Float[np.ndarray, "*mass"]:
        """P(selected | log10_mass) in [0, 1]."""
        return expit(self._log_odds(np.asarray(log10_mass, float)))

    def log(self, log10_mass: ArrayLike) -> Float[np.ndarray, "*mass"]:
        """Natural log of P(selected | log10_mass), finite however small it is."""
        return log_expit(self._log_odds(np.asarray(log10_mass, float)))

    def log_errors(self, log10_mass: Float[np.ndarray, "mass"]) -> Float[np.ndarray, "error mass"]:
        """Independent errors of `log`: it is off by a sum of these rows times standard normal numbers, to first order.

        The covariance of its error is therefore their sum of squares.
        """
        if self.covariance is None:
            return np.zeros((0, len(log10_mass)))
        at = np.asarray(log10_mass, float)
        each = _spline_with_tangents(self.low, self.high, np.eye(len(self.coefficients)), at)
        return (1 - self(at)) * (each @ np.linalg.cholesky(self.covariance)).T

    def _log_odds(self, log10_mass: np.ndarray) -> np.ndarray:
        return _spline_with_tangents(self.low, self.high, np.array(self.coefficients), log10_mass)


def fit_selection(log10_mass: Float[np.ndarray, "attempt"], selected: Bool[np.ndarray, "attempt"]) -> Selection:
    """Fit P(selected | mass) by penalised maximum likelihood.

    The penalty is on second differences of the coefficients, so that the log odds run straight where all clusters
    or none are selected (P-splines: Eilers & Marx 1996, Stat. Sci. 11, 89), and a weak ridge keeps the odds of a
    complete sample finite. The covariance is the inverse of the curvature of the penalised likelihood at its maximum:
    the Bayesian one, which holds the smoothness for prior knowledge.

    Args:
        log10_mass: Mass of every attempted cluster [dex].
        selected: Whether it passed the cuts.

    Raises:
        ValueError: Fewer than two different masses, lengths differ, or a mass is not finite.
    """
    log10_mass, selected = np.asarray(log10_mass, float), np.asarray(selected, bool)
    if log10_mass.shape != selected.shape or not np.isfinite(log10_mass).all() or np.unique(log10_mass).size < 2:
        raise ValueError(f"selection needs two or more finite masses and as many flags, got {log10_mass.size}.")
    low, high = float(log10_mass.min()), float(log10_mass.max())
    basis = BSpline.design_matrix(log10_mass, knots(low, high), 3).tocsr()
    smooth, sign = penalty(), np.where(selected, 1.0, -1.0)

    def loss(c: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (basis @ c)
        gradient = -(basis.T @ (sign * expit(-margin))) + smooth @ c
        return float(-log_expit(margin).sum() + 0.5 * c @ smooth @ c), gradient

    best = minimize(loss, np.zeros(_SEGMENTS + 3), jac=True, method="BFGS", options={"gtol": 1e-3}).x
    odds = expit(basis @ best)
    curvature = (basis.T @ basis.multiply((odds * (1 - odds))[:, None])).toarray() + smooth
    return Selection(tuple(float(c) for c in best), low, high, np.linalg.inv(curvature))


def _spline_with_tangents(low: float, high: float, coefficients: np.ndarray, log10_mass: np.ndarray) -> np.ndarray:
    """Cubic spline between the ends, and its tangents beyond; one column for each column of the coefficients."""
    spline = BSpline(knots(low, high), coefficients, 3)
    inside = np.clip(log10_mass, low, high)
    beyond = log10_mass - inside
    return spline(inside) + spline.derivative()(inside) * (beyond[..., None] if coefficients.ndim > 1 else beyond)


def penalty() -> Float[np.ndarray, "coefficient coefficient"]:
    """Quadratic form in the coefficients, half of which is subtracted from the log likelihood."""
    bend = np.diff(np.eye(_SEGMENTS + 3), n=2, axis=0)
    return _BEND * bend.T @ bend + _RIDGE * np.eye(_SEGMENTS + 3)


def knots(low: float, high: float) -> Float[np.ndarray, "knot"]:
    """Knots of the splines between two masses [dex]."""
    step = (high - low) / _SEGMENTS
    return low + step * np.arange(-3, _SEGMENTS + 4)

"""P(selected | mass): how likely a cluster of a given mass passes the cuts, fitted to every attempted cluster.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy.interpolate import BSpline
from scipy.sparse import csr_array
from scipy.special import expit, log_expit

_SEGMENTS = 16  # of .16 dex for masses from 10^13 to 10^15.6: finer than a richness cut is sharp
_BEND = 1.0
_RIDGE = 1e-3
_STEPS, _STILL = 50, 1e-6  # of Newton's method: at most, and one that is none in the log odds


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
    part = splines(log10_mass, low, high), selected.astype(float)
    coefficients, covariance = largest_likelihood([part], np.ones((1, 1)))
    return Selection(tuple(float(c) for c in coefficients[:, 0]), low, high, covariance)


def largest_likelihood(
    parts: list[tuple[csr_array, np.ndarray]], terms: Float[np.ndarray, "part term"]
) -> tuple[Float[np.ndarray, "spline term"], Float[np.ndarray, "coefficient coefficient"]]:
    """Coefficients of largest penalised likelihood, by Newton's method (it is concave), and their covariance.

    Args:
        parts: Splines of some attempts at their masses, and whether these were selected (1 or 0).
        terms: Weights of the terms of each coefficient, for each part.
    """
    smooth = _penalty()
    shape = len(smooth), terms.shape[1]
    bend = np.kron(smooth, np.eye(shape[1]))
    found = np.zeros(shape)
    for _ in range(_STEPS):
        gradient, curvature = -(bend @ found.ravel()), bend.copy()
        for (basis, selected), term in zip(parts, terms, strict=True):
            probability = expit(basis @ (found @ term))
            gradient += np.kron(basis.T @ (selected - probability), term)
            weighted = basis.multiply((probability * (1 - probability))[:, None])
            curvature += np.kron((basis.T @ weighted).toarray(), np.outer(term, term))
        step = np.linalg.solve(curvature, gradient).reshape(shape)
        found = found + step / max(1.0, np.abs(step).max() / 3)  # of log odds, from far away
        if np.abs(step).max() < _STILL:
            break
    return found, np.linalg.inv(curvature)


def splines(log10_mass: Float[np.ndarray, "attempt"], low: float, high: float) -> csr_array:
    """Cubic B-splines between two masses, at some masses: (attempt, coefficient)."""
    return csr_array(BSpline.design_matrix(log10_mass, _knots(low, high), 3))


def _spline_with_tangents(low: float, high: float, coefficients: np.ndarray, log10_mass: np.ndarray) -> np.ndarray:
    """Cubic spline between the ends, and its tangents beyond; one column for each column of the coefficients."""
    spline = BSpline(_knots(low, high), coefficients, 3)
    inside = np.clip(log10_mass, low, high)
    beyond = log10_mass - inside
    return spline(inside) + spline.derivative()(inside) * (beyond[..., None] if coefficients.ndim > 1 else beyond)


def _penalty() -> Float[np.ndarray, "coefficient coefficient"]:
    """Quadratic form in the coefficients, half of which is subtracted from the log likelihood."""
    bend = np.diff(np.eye(_SEGMENTS + 3), n=2, axis=0)
    return _BEND * bend.T @ bend + _RIDGE * np.eye(_SEGMENTS + 3)


def _knots(low: float, high: float) -> Float[np.ndarray, "knot"]:
    """Knots of the splines between two masses [dex]."""
    step = (high - low) / _SEGMENTS
    return low + step * np.arange(-3, _SEGMENTS + 4)

"""P(selected | mass): how likely a cluster of a given mass passes the cuts, fitted to every attempted cluster.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit, log_expit

_PIVOT = 14.0
_DEGREE = 3
_RIDGE = 1e-3


@final
@dataclass(frozen=True)
class Selection:
    """Logistic polynomial in log10 mass.

    Attributes:
        coefficients: Of the log odds, in powers of (log10_mass − 14), constant first.
        low: Lowest attempted log10 mass; below it the log odds go on along their tangent.
        high: Highest attempted log10 mass; likewise above it.
    """

    coefficients: tuple[float, ...]
    low: float
    high: float

    def __call__(self, log10_mass: ArrayLike) -> Float[np.ndarray, "*mass"]:
        """P(selected | log10_mass) in [0, 1]."""
        return expit(self._log_odds(np.asarray(log10_mass, float)))

    def log(self, log10_mass: ArrayLike) -> Float[np.ndarray, "*mass"]:
        """Natural log of P(selected | log10_mass), finite however small it is."""
        return log_expit(self._log_odds(np.asarray(log10_mass, float)))

    def _log_odds(self, log10_mass: np.ndarray) -> np.ndarray:
        polynomial = np.polynomial.Polynomial(self.coefficients)
        inside = np.clip(log10_mass, self.low, self.high)
        return polynomial(inside - _PIVOT) + polynomial.deriv()(inside - _PIVOT) * (log10_mass - inside)


def fit_selection(log10_mass: Float[np.ndarray, "attempt"], selected: Bool[np.ndarray, "attempt"]) -> Selection:
    """Fit P(selected | mass) by maximum likelihood, with a weak ridge that keeps a complete sample's odds finite.

    Args:
        log10_mass: Of every attempted cluster [dex].
        selected: Whether it passed the cuts.

    Raises:
        ValueError: Fewer than two attempts, lengths differ, or a mass is not finite.
    """
    log10_mass, selected = np.asarray(log10_mass, float), np.asarray(selected, bool)
    if log10_mass.shape != selected.shape or log10_mass.size < 2 or not np.isfinite(log10_mass).all():
        raise ValueError(f"selection needs two or more finite masses and as many flags, got {log10_mass.size}.")
    powers = np.vander(log10_mass - _PIVOT, _DEGREE + 1, increasing=True)
    sign = np.where(selected, 1.0, -1.0)

    def loss(coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (powers @ coefficients)
        gradient = -powers.T @ (sign * expit(-margin)) + _RIDGE * coefficients
        return float(-log_expit(margin).sum() + 0.5 * _RIDGE * coefficients @ coefficients), gradient

    best = minimize(loss, np.zeros(_DEGREE + 1), jac=True, method="BFGS").x
    return Selection(tuple(float(c) for c in best), float(log10_mass.min()), float(log10_mass.max()))

"""Residuals of point estimates for clusters of known mass, with Monte Carlo errors.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int


@final
@dataclass(frozen=True)
class Measured:
    """A number and its Monte Carlo error over the test clusters."""

    value: float
    error: float

    def __str__(self) -> str:
        return format(self, ".3f")

    def __format__(self, spec: str) -> str:
        return f"{self.value:{spec}} ± {self.error:{spec.lstrip('+')}}"

    @property
    def percent(self) -> "Measured":
        """The same number in percent."""
        return Measured(100 * self.value, 100 * self.error)


def mean_of(values: Float[np.ndarray, "cluster"], groups: Int[np.ndarray, "cluster"] | None = None) -> Measured:
    """Mean over clusters and its standard error.

    Both are NaN for fewer than two clusters; the error is NaN if a value is infinite.

    Args:
        values: A number of each cluster.
        groups: Numbers of the hosts or surveys that clusters share, which may be wrong together; independent by
            default.
    """
    if len(values) < 2:
        return Measured(np.nan, np.nan)
    values = np.asarray(values, float)
    if not np.isfinite(values).all():
        error = np.nan
    elif groups is None:
        error = values.std(ddof=1) / np.sqrt(len(values))
    else:
        off = np.bincount(np.unique(groups, return_inverse=True)[1], values - values.mean())
        error = np.sqrt((off**2).sum()) / len(values)
    return Measured(float(values.mean()), float(error))


def residuals(
    log10_predicted: Float[np.ndarray, "cluster"], log10_true: Float[np.ndarray, "cluster"]
) -> tuple[Measured, Measured]:
    """Mean and scatter (standard deviation) of log10(M_predicted / M_true) [dex].

    The paper's epsilon (Kodi Ramanah et al. 2020, section 5) has the opposite sign.
    """
    residual = np.asarray(log10_predicted) - np.asarray(log10_true)
    n, scatter = len(residual), float(np.std(residual, ddof=1))
    kurtosis = float(np.mean((residual - residual.mean()) ** 4)) / scatter**4
    error = scatter * np.sqrt(max(kurtosis - 1, 0) / (4 * n))
    return Measured(float(residual.mean()), scatter / np.sqrt(n)), Measured(scatter, float(error))


def share_of(hits: Bool[np.ndarray, "cluster"], expected: float | None = None) -> Measured:
    """Share of clusters, with its binomial error at the expected share; by default at (hits + 1) / (n + 2), never 0."""
    n, k = len(hits), int(hits.sum())
    p = (k + 1) / (n + 2) if expected is None else expected
    return Measured(k / n, float(np.sqrt(p * (1 - p) / n)))

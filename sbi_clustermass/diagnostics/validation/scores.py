"""Scores of one method on clusters of known mass, with Monte Carlo errors.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; a residual is log10(M_predicted / M_true); log densities are natural.
"""

from dataclasses import dataclass
from typing import Self, final

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import norm

from sbi_clustermass.baselines.baseline import Prediction
from sbi_clustermass.diagnostics.residuals import Measured, mean_of, residuals, share_of

MIDDLE = (14.0, 15.0)  # dex: the range of the paper's .089
MASSIVE = (14.8, 15.2)  # dex: the range of the paper's |epsilon| = .067
OUTLIER = 0.3  # dex
LEVEL = 0.68
_FEWEST = 10  # clusters for a score


@final
@dataclass(frozen=True)
class Scores:
    """Scores of one method on one test set. Scores of fewer than ten clusters are None.

    Attributes:
        mean: Mean residual [dex].
        scatter: Standard deviation of the residual [dex].
        middle: Scatter for 14 <= log10 M <= 15 [dex].
        massive: Mean absolute residual for 14.8 <= log10 M <= 15.2 [dex].
        outliers: Share of residuals beyond .3 dex.
        answered: Share of clusters with a mass, to which the other scores refer.
        log_prob: Mean log density of the true mass [nats, per dex], if the method has posteriors or errors.
        coverage: Share of true masses in the central 68 % interval, under the same condition.
        seconds: Time per cluster.
    """

    mean: Measured | None
    scatter: Measured | None
    middle: Measured | None
    massive: Measured | None
    outliers: Measured | None
    answered: float
    log_prob: Measured | None
    coverage: Measured | None
    seconds: float

    @classmethod
    def from_prediction(cls, found: Prediction, log10_true: Float[np.ndarray, "cluster"], *, seconds: float) -> Self:
        """Score a prediction.

        Args:
            found: Predicted masses.
            log10_true: True log10 masses [dex].
            seconds: Time of the prediction for all clusters.

        Raises:
            ValueError: A true mass is unknown.
        """
        if not np.isfinite(log10_true).all():
            raise ValueError("validation needs clusters of known mass: some test masses are not numbers.")
        known = np.isfinite(found.log10_mass)
        residual = found.log10_mass - log10_true
        mean, scatter = _moments(residual[known])
        log_prob, inside = _density(found, log10_true, known)
        return cls(
            mean=mean,
            scatter=scatter,
            middle=_moments(residual[known & within(log10_true, MIDDLE)])[1],
            massive=_mean(np.abs(residual[known & within(log10_true, MASSIVE)])),
            outliers=_share(np.abs(residual[known]) > OUTLIER),
            answered=float(known.mean()),
            log_prob=None if log_prob is None else _mean(log_prob),
            coverage=None if inside is None else _share(inside, LEVEL),
            seconds=seconds / len(log10_true),
        )


def _density(
    found: Prediction, log10_true: np.ndarray, known: Bool[np.ndarray, "cluster"]
) -> tuple[Float[np.ndarray, "known"] | None, Bool[np.ndarray, "known"] | None]:
    """Log density at the truth, and whether it lies in the central interval, of posteriors or else Gaussians."""
    if found.posteriors is not None:
        some = found.posteriors[known]
        return some.log_prob_at(log10_true[known]), np.abs(some.pit(log10_true[known]) - 0.5) <= LEVEL / 2
    if found.std is None:
        return None, None
    pull = (log10_true - found.log10_mass)[known] / found.std[known]
    return norm.logpdf(pull) - np.log(found.std[known]), np.abs(pull) <= norm.ppf(0.5 + LEVEL / 2)


def within(values: np.ndarray, ends: tuple[float, float]) -> Bool[np.ndarray, "cluster"]:
    """Whether values lie between two ends, both included."""
    return (values >= ends[0]) & (values <= ends[1])


def _moments(residual: np.ndarray) -> tuple[Measured, Measured] | tuple[None, None]:
    return (None, None) if len(residual) < _FEWEST else residuals(residual, np.zeros(len(residual)))


def _mean(values: np.ndarray) -> Measured | None:
    return None if len(values) < _FEWEST else mean_of(values)


def _share(hits: np.ndarray, expected: float | None = None) -> Measured | None:
    return None if len(hits) < _FEWEST else share_of(hits, expected)

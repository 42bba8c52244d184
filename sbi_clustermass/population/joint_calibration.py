"""Joint calibration of an observable and a mass posterior that come from the same galaxies, measured on mocks.

Masses are log10_mass [dex].
"""

from dataclasses import dataclass
from typing import Self, final

import numpy as np
from jaxtyping import Float

from sbi_clustermass.posterior import MassPosteriors

_DEGREE = 3
_FEWEST = 50  # mock clusters


@final
@dataclass(frozen=True)
class JointCalibration:
    r"""Joint distribution, at fixed true mass m, of an observable y and a cluster's posterior mean $\hat m$.

    Both are taken as normal with means that are polynomials of m. The posterior's own likelihood p(galaxies | m)
    already contains $\hat m$, so that y adds only

    $$p(y | \hat m, m) = \mathcal{N}\big(\bar y(m) + \kappa\,[\hat m - \bar{\hat m}(m)],
    \ (1 - \rho^2)(s^2 + e^2)\big),$$

    with $\bar y(m)$ and s of the scaling relation, and the observational error e. Coupling and correlation are measured
    on mocks, which must be observed and inferred in the same way as the clusters.

    Attributes:
        coupling: kappa [unit of y per dex].
        correlation: rho [1].
        coefficients: Coefficients of the mean of $\hat m - m$, in rising powers of m - pivot [dex].
        pivot: Mass about which the polynomial is expanded [dex].
    """

    coupling: float
    correlation: float
    coefficients: tuple[float, ...]
    pivot: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.coupling) and abs(self.correlation) < 1):
            raise ValueError(f"joint calibration: needs a finite coupling and |correlation| < 1, found {self}.")

    @classmethod
    def from_mocks(
        cls, posteriors: MassPosteriors, log10_true: Float[np.ndarray, "cluster"], values: Float[np.ndarray, "cluster"]
    ) -> Self:
        """Measure the calibration on mock clusters.

        Args:
            posteriors: Posteriors of the mocks, by the estimator that inferred the clusters.
            log10_true: True masses of the mocks [dex], over the range of the clusters.
            values: The observable, measured on the galaxies of the mocks.

        Raises:
            ValueError: Lengths differ, there are fewer than 50 clusters, or a value is not finite.
        """
        true, y = np.asarray(log10_true, float), np.asarray(values, float)
        if not len(posteriors) == len(true) == len(y) or len(true) < _FEWEST or not np.isfinite([true, y]).all():
            raise ValueError(
                f"joint calibration: needs {_FEWEST} clusters or more with finite masses and values; found "
                f"{len(posteriors)} posteriors, {np.isfinite(true).sum()} masses and {np.isfinite(y).sum()} values."
            )
        pivot = float(true.mean())
        powers = np.vander(true - pivot, _DEGREE + 1, increasing=True)
        offset = posteriors.mean - true
        bias, *_ = np.linalg.lstsq(powers, offset, rcond=None)
        line, *_ = np.linalg.lstsq(powers, y, rcond=None)
        covariance = np.cov(offset - powers @ bias, y - powers @ line)
        correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
        return cls(float(covariance[0, 1] / covariance[0, 0]), float(correlation), tuple(map(float, bias)), pivot)

    @property
    def narrowing(self) -> float:
        """Standard deviation of y given the posterior mean, over that of y alone: sqrt(1 - rho^2) [1]."""
        return float(np.sqrt(1 - self.correlation**2))

    def shift(
        self, posterior_mean: Float[np.ndarray, "cluster"], log10_mass: Float[np.ndarray, "mass"]
    ) -> Float[np.ndarray, "cluster mass"]:
        """Shift of the mean of y at each mass, given the posterior mean of the cluster [unit of y].

        Args:
            posterior_mean: Posterior mean of each cluster [dex].
            log10_mass: Masses [dex].
        """
        bias = np.polynomial.polynomial.polyval(log10_mass - self.pivot, self.coefficients)
        return self.coupling * (posterior_mean[:, None] - (log10_mass + bias))

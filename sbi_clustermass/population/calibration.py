"""How an observable and a mass posterior from the same galaxies go together, measured on mocks.

Masses are log10_mass [dex].
"""

from dataclasses import dataclass
from typing import Self, final

import numpy as np
from jaxtyping import Float

from sbi_clustermass.posterior import MassPosteriors

_DEGREE = 3


@final
@dataclass(frozen=True)
class JointCalibration:
    r"""The joint distribution, at fixed true mass m, of an observable y and the posterior mean $\hat m$ of a cluster.

    Both are taken as normal with means that are polynomials of m. The posterior's own likelihood p(galaxies | m)
    already knows of $\hat m$, so that what y adds is

    $$p(y | \hat m, m) = \mathcal{N}\big(\bar y(m) + \kappa\,[\hat m - \bar{\hat m}(m)],
    \ (1 - \rho^2)(s^2 + e^2)\big),$$

    with the relation's $\bar y(m)$ and s, and the error e. Coupling and correlation are those of the mocks, which must
    be observed and inferred as the clusters are.

    Attributes:
        coupling: kappa [unit of y per dex].
        correlation: rho [1].
        coefficients: Of the mean of $\hat m - m$, in rising powers of m - pivot [dex].
        pivot: [dex].
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
        """Measure it on mock clusters.

        Args:
            posteriors: Of the mocks, from the estimator that the clusters' posteriors come from.
            log10_true: Their true masses [dex], over the range of the clusters.
            values: The observable, measured on the mocks' galaxies.

        Raises:
            ValueError: Lengths differ, there are fewer than 50 clusters, or a value is not finite.
        """
        true, y = np.asarray(log10_true, float), np.asarray(values, float)
        if not len(posteriors) == len(true) == len(y) or len(true) < 50 or not np.isfinite([true, y]).all():
            raise ValueError(
                f"joint calibration: needs 50 clusters or more with finite masses and values; found {len(posteriors)} "
                f"posteriors, {np.isfinite(true).sum()} masses and {np.isfinite(y).sum()} values."
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
        """What is left of the standard deviation of y once the posterior mean is known [1]."""
        return float(np.sqrt(1 - self.correlation**2))

    def shift(
        self, point: Float[np.ndarray, "cluster"], log10_mass: Float[np.ndarray, "mass"]
    ) -> Float[np.ndarray, "cluster mass"]:
        """What a cluster's posterior mean adds to the mean of y at each mass [unit of y].

        Args:
            point: Each cluster's posterior mean [dex].
            log10_mass: The masses [dex].
        """
        bias = np.polynomial.polynomial.polyval(log10_mass - self.pivot, self.coefficients)
        return self.coupling * (point[:, None] - (log10_mass + bias))

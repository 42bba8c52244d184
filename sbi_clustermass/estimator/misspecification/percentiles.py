"""Where a cluster's statistics stand among mocks of its mass and richness.

Each statistic, on its scale, has a mean and a spread that are smooth functions of the inferred mass and of the number
of galaxies; what is left, in units of the spread, has one distribution for all clusters. So all mocks tell of the tails
at each mass. Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import dataclass
from typing import Self, TypeAlias, final

import numpy as np
from jaxtyping import Float, Int

from sbi_clustermass.estimator.misspecification.summary_statistics import STATISTICS

LEVELS = np.linspace(0.0125, 0.9875, 79)
USUAL = (1, -2)  # levels of 2.5 % and 97.5 %
N_TERMS, OF_MASS = 8, np.arange(4)  # of `_terms`
_MIDDLE = ((14.3, 1.3), (2.0, 1.0))  # of log10 mass and log10 N, and half of their ranges or so
_BY_MASS_ALONE = list(STATISTICS).index("richness")

Scaled: TypeAlias = Float[np.ndarray, "statistic cluster"]
Where: TypeAlias = Float[np.ndarray, "2 cluster"]  # posterior mean of log10 mass [dex], log10 N


@final
@dataclass(frozen=True, eq=False)
class Percentiles:
    """Distribution of each statistic among mocks of a mass and richness; of the richness itself, among mocks of a mass.

    Attributes:
        location: Coefficients of each statistic's mean on its scale, (statistic, term).
        log_spread: Coefficients of the natural log of its spread, (statistic, term).
        quantiles: Of what is left over, at `LEVELS`, (statistic, level).
        tails: Mean excess beyond the first and the last level, as of an exponential, (statistic, 2).
        reach: Lowest and highest posterior mean [dex] and log10 N of the mocks, (2, 2).
    """

    location: Float[np.ndarray, "statistic term"]
    log_spread: Float[np.ndarray, "statistic term"]
    quantiles: Float[np.ndarray, "statistic level"]
    tails: Float[np.ndarray, "statistic 2"]
    reach: Float[np.ndarray, "2 2"]

    @classmethod
    def fit(cls, scaled: Scaled, where: Where) -> Self:
        """Learn from mocks: their statistics, each on its scale, and where the mocks are."""
        reach = np.stack([where.min(1), where.max(1)], axis=1)
        terms = _terms(where, reach)
        location, log_spread = _smooth(scaled, terms)
        left = (scaled - location @ terms) / np.exp(log_spread @ terms)
        quantiles = np.quantile(left, LEVELS, axis=1).T
        return cls(location, log_spread, quantiles, _tails(left, quantiles), reach)

    def standardised(self, scaled: Scaled, where: Where) -> Scaled:
        """Distance of each statistic from its mean, in units of its spread."""
        mean, spread = self._expected(where)
        return (scaled - mean) / spread

    def shares(self, scaled: Scaled, where: Where) -> tuple[Scaled, Scaled]:
        """Share of mocks below and above; beyond the outer levels these fall off exponentially."""
        left = self.standardised(scaled, where)
        each = list(zip(left, self.quantiles, self.tails, strict=True))
        below = [_share_below(z, q, tail[0]) for z, q, tail in each]
        above = [_share_below(-z, -q[::-1], tail[1]) for z, q, tail in each]
        return np.stack(below), np.stack(above)

    def usual(self, where: Where) -> Float[np.ndarray, "2 statistic cluster"]:
        """Lower and upper end of what 95 % of the mocks have, on each statistic's scale."""
        mean, spread = self._expected(where)
        return np.stack([mean + spread * self.quantiles[:, [column]] for column in USUAL])

    def _expected(self, where: Where) -> tuple[Scaled, Scaled]:
        terms = _terms(where, self.reach)
        return self.location @ terms, np.exp(self.log_spread @ terms)


def _terms(where: Where, reach: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, "term cluster"]:
    """Polynomials of log mass and log N, which are taken no further than the mocks reach."""
    clipped = np.clip(where, reach[:, :1], reach[:, 1:])
    m, n = ((row - middle) / half for row, (middle, half) in zip(clipped, _MIDDLE, strict=True))
    return np.stack([np.ones_like(m), m, m**2, m**3, n, n**2, n**3, m * n])


def _used(statistic: int) -> Int[np.ndarray, "some"]:
    return OF_MASS if statistic == _BY_MASS_ALONE else np.arange(N_TERMS)


def _smooth(
    scaled: Scaled, terms: Float[np.ndarray, "term cluster"]
) -> tuple[Float[np.ndarray, "statistic term"], Float[np.ndarray, "statistic term"]]:
    """Coefficients of the mean and of the log of the spread, by least squares."""
    found = np.zeros((2, len(scaled), N_TERMS))
    for i, values in enumerate(scaled):
        used = _used(i)
        found[0, i, used] = np.linalg.lstsq(terms[used].T, values, rcond=None)[0]
        off = np.abs(values - found[0, i] @ terms)
        log_off = np.log(off + 0.01 * off.mean() + 1e-9)  # a value on the mean has no spread
        found[1, i, used] = np.linalg.lstsq(terms[used].T, log_off, rcond=None)[0]
    return found[0], found[1]


def _tails(left: Scaled, quantiles: Float[np.ndarray, "statistic level"]) -> Float[np.ndarray, "statistic 2"]:
    low = [np.mean((q[0] - z)[z < q[0]]) for z, q in zip(left, quantiles, strict=True)]
    high = [np.mean((z - q[-1])[z > q[-1]]) for z, q in zip(left, quantiles, strict=True)]
    return np.maximum(np.stack([low, high], axis=1), 1e-6)


def _share_below(
    z: Float[np.ndarray, "cluster"], quantiles: Float[np.ndarray, "level"], tail: float
) -> Float[np.ndarray, "cluster"]:
    """Share of mocks below z; exact in the lower tail, no more than the last level in the upper one."""
    inside = np.interp(z, quantiles, LEVELS)
    return np.where(z < quantiles[0], LEVELS[0] * np.exp(np.minimum(z - quantiles[0], 0) / tail), inside)

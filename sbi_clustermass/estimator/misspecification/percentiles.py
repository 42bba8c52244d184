"""Percentiles of a cluster's statistics among mocks of its mass and richness.

The mean and the spread of each statistic, on its scale, are smooth functions of the inferred mass and of the number of
galaxies; the residuals, in units of the spread, are assumed to have the same distribution for all clusters. The tails
at each mass are therefore known from all mocks. Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self, TypeAlias, final

import numpy as np
from jaxtyping import Float

from clustermocks import Catalogue
from sbi_clustermass.estimator.misspecification.summary_statistics import STATISTICS
from sbi_clustermass.posterior import MassPosteriors

LEVELS = np.linspace(0.0125, 0.9875, 79)
_N_TERMS = 8  # of `_terms`
_CENTRAL_95 = (1, -2)  # levels of 2.5 % and 97.5 %
_MASS_TERMS = np.arange(4)  # terms of the mass only
_CENTRE_AND_WIDTH = ((14.3, 1.3), (2.0, 1.0))  # of log10 mass and log10 N; the width is about half of the range
_RICHNESS = list(STATISTICS).index("richness")

Scaled: TypeAlias = Float[np.ndarray, "statistic cluster"]
MassAndRichness: TypeAlias = Float[np.ndarray, "2 cluster"]  # posterior mean of log10 mass [dex], log10 N


@final
@dataclass(frozen=True, eq=False)
class Percentiles:
    """Distribution of each statistic among mocks of a given mass and richness (of the richness: of a given mass).

    Attributes:
        location: Coefficients of each statistic's mean on its scale, (statistic, term).
        log_spread: Coefficients of the natural log of its spread, (statistic, term).
        quantiles: Quantiles of the standardised residuals at `LEVELS`, (statistic, level).
        tails: Mean excess beyond the first and the last level, the scale of an exponential tail, (statistic, 2).
        reach: Lowest and highest posterior mean [dex] and log10 N of the mocks, (2, 2).
    """

    location: Float[np.ndarray, "statistic term"]
    log_spread: Float[np.ndarray, "statistic term"]
    quantiles: Float[np.ndarray, "statistic level"]
    tails: Float[np.ndarray, "statistic 2"]
    reach: Float[np.ndarray, "2 2"]

    @classmethod
    def fit(cls, scaled: Scaled, where: MassAndRichness) -> Self:
        """Learn from mocks, given their statistics (each on its scale), inferred masses and richnesses."""
        reach = np.stack([where.min(1), where.max(1)], axis=1)
        terms = _terms(where, reach)
        location, log_spread = _smooth(scaled, terms)
        left = (scaled - location @ terms) / np.exp(log_spread @ terms)
        quantiles = np.quantile(left, LEVELS, axis=1).T
        return cls(location, log_spread, quantiles, _tails(left, quantiles), reach)

    @staticmethod
    def shapes(n: int) -> dict[str, tuple[int, ...]]:
        """Shape of each field for `n` statistics, by the name of its array."""
        sizes = {"location": (_N_TERMS,), "log_spread": (_N_TERMS,), "quantiles": (len(LEVELS),), "tails": (2,)}
        return {**{name: (n, *size) for name, size in sizes.items()}, "reach": (2, 2)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Read the fields from arrays with these names."""
        return cls(**{each.name: np.asarray(arrays[each.name], float) for each in fields(cls)})

    def standardised(self, scaled: Scaled, where: MassAndRichness) -> Scaled:
        """Distance of each statistic from its mean, in units of its spread."""
        mean, spread = self._expected(where)
        return (scaled - mean) / spread

    def shares(self, scaled: Scaled, where: MassAndRichness) -> tuple[Scaled, Scaled]:
        """Share of mocks below and above each value, with exponential tails beyond the outer levels."""
        left = self.standardised(scaled, where)
        each = list(zip(left, self.quantiles, self.tails, strict=True))
        below = [_share_below(z, q, tail[0]) for z, q, tail in each]
        above = [_share_below(-z, -q[::-1], tail[1]) for z, q, tail in each]
        return np.stack(below), np.stack(above)

    def central_95(self, where: MassAndRichness) -> Float[np.ndarray, "2 statistic cluster"]:
        """Ends of the central interval that holds 95 % of the mocks, on each statistic's scale."""
        mean, spread = self._expected(where)
        return np.stack([mean + spread * self.quantiles[:, [column]] for column in _CENTRAL_95])

    def _expected(self, where: MassAndRichness) -> tuple[Scaled, Scaled]:
        terms = _terms(where, self.reach)
        return self.location @ terms, np.exp(self.log_spread @ terms)


def mass_and_richness(catalogue: Catalogue, posteriors: MassPosteriors) -> MassAndRichness:
    """Posterior mean of log10 mass [dex] and log10 N of each cluster."""
    return np.stack([posteriors.mean, np.log10(np.maximum(catalogue.n_galaxies, 1))])


def _terms(where: MassAndRichness, reach: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, "term cluster"]:
    """Polynomials of log mass and log N, both clipped to the range of the mocks."""
    clipped = np.clip(where, reach[:, :1], reach[:, 1:])
    m, n = ((row - middle) / half for row, (middle, half) in zip(clipped, _CENTRE_AND_WIDTH, strict=True))
    return np.stack([np.ones_like(m), m, m**2, m**3, n, n**2, n**3, m * n])


def _smooth(
    scaled: Scaled, terms: Float[np.ndarray, "term cluster"]
) -> tuple[Float[np.ndarray, "statistic term"], Float[np.ndarray, "statistic term"]]:
    """Fit the coefficients of the mean and of the log of the spread, by least squares."""
    found = np.zeros((2, len(scaled), _N_TERMS))
    for i, values in enumerate(scaled):
        used = _MASS_TERMS if i == _RICHNESS else np.arange(_N_TERMS)
        found[0, i, used] = np.linalg.lstsq(terms[used].T, values, rcond=None)[0]
        off = np.abs(values - found[0, i] @ terms)
        log_off = np.log(off + 0.01 * off.mean() + 1e-9)  # finite for a value on the mean
        found[1, i, used] = np.linalg.lstsq(terms[used].T, log_off, rcond=None)[0]
    return found[0], found[1]


def _tails(left: Scaled, quantiles: Float[np.ndarray, "statistic level"]) -> Float[np.ndarray, "statistic 2"]:
    low = [np.mean((q[0] - z)[z < q[0]]) for z, q in zip(left, quantiles, strict=True)]
    high = [np.mean((z - q[-1])[z > q[-1]]) for z, q in zip(left, quantiles, strict=True)]
    return np.maximum(np.stack([low, high], axis=1), 1e-6)


def _share_below(
    z: Float[np.ndarray, "cluster"], quantiles: Float[np.ndarray, "level"], tail: float
) -> Float[np.ndarray, "cluster"]:
    """Share of mocks below z, extrapolated in the lower tail; in the upper tail, the last level."""
    inside = np.interp(z, quantiles, LEVELS)
    return np.where(z < quantiles[0], LEVELS[0] * np.exp(np.minimum(z - quantiles[0], 0) / tail), inside)

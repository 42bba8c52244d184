"""Where error bars are right and where not: in bins of what an observer sees, and of the error itself.

Calibration is promised in bins of whatever the posteriors were conditioned on: always in those of posterior mean and
predicted error, in those of richness only for posteriors that know it (what they did not use, they did not account
for). It is not in bins of true mass, where a right posterior's mean regresses to the prior's, and none are offered.
Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Int

from sbi_clustermass.diagnostics.calibration import central_level, covered
from sbi_clustermass.diagnostics.residuals import Measured, residuals
from sbi_clustermass.diagnostics.test_sets import HeldOut

_FEWEST = 10  # clusters a bin: fewer tell nothing


@final
@dataclass(frozen=True)
class Bin:
    """Clusters alike in something that an observer sees.

    Attributes:
        low: Lowest value in the bin.
        high: Highest value.
        n: Number of clusters.
        coverage_68: Share of true masses in the central 68 % interval.
        coverage_95: In the central 95 % interval.
        mean: Mean residual [dex].
        scatter: Its standard deviation [dex].
    """

    low: float
    high: float
    n: int
    coverage_68: Measured
    coverage_95: Measured
    mean: Measured
    scatter: Measured


@final
@dataclass(frozen=True)
class SigmaBin:
    """Clusters of like predicted error.

    Attributes:
        low: Smallest posterior standard deviation in the bin [dex].
        high: Largest [dex].
        n: Number of clusters.
        predicted: Root mean square of their posterior standard deviations [dex].
        found: Root mean square of their residuals [dex].
        ratio: Found over predicted [1]: 1 when calibrated, whatever the posteriors' shapes.
    """

    low: float
    high: float
    n: int
    predicted: float
    found: Measured
    ratio: Measured


def by_posterior_mean(clusters: HeldOut, *, bins: int = 5) -> tuple[Bin, ...]:
    """Coverage and residuals in bins of posterior mean, as many clusters in each.

    Raises:
        ValueError: There are fewer than 10 clusters a bin.
    """
    return _binned(clusters, clusters.posteriors.mean, bins)


def by_richness(clusters: HeldOut, *, bins: int = 5) -> tuple[Bin, ...]:
    """Coverage and residuals in bins of the number of galaxies, about as many clusters in each.

    Raises:
        ValueError: Richness is not known, or there are fewer than 10 clusters a bin.
    """
    if clusters.n_galaxies is None:
        raise ValueError(
            "by_richness: n_galaxies is not known. Make the set with HeldOut.from_catalogue(posteriors, clusters)."
        )
    return _binned(clusters, clusters.n_galaxies, bins)


def reliability(clusters: HeldOut, *, bins: int = 8) -> tuple[SigmaBin, ...]:
    """Residuals against the errors predicted for them, in bins of predicted error, as many clusters in each.

    Of calibrated posteriors the mean square residual is the mean posterior variance, in any bin of it.

    Raises:
        ValueError: There are fewer than 10 clusters a bin.
    """
    sigma = clusters.posteriors.std
    square = (clusters.posteriors.mean - clusters.log10_mass) ** 2
    return tuple(_sigma_bin(sigma[rows], square[rows]) for rows in _rows(sigma, bins))


def _sigma_bin(sigma: np.ndarray, square: np.ndarray) -> SigmaBin:
    n, predicted = len(sigma), float(np.sqrt(np.mean(sigma**2)))
    found = float(np.sqrt(square.mean()))
    error = float(square.std(ddof=1) / np.sqrt(n)) / (2 * found) if found else 0.0
    ratio = Measured(found / predicted, error / predicted)
    return SigmaBin(float(sigma.min()), float(sigma.max()), n, predicted, Measured(found, error), ratio)


def standardised(clusters: HeldOut) -> tuple[Measured, Measured]:
    """Mean and standard deviation of residuals over their predicted errors [1]: 0 and 1 when calibrated."""
    sigma = clusters.posteriors.std
    return residuals(clusters.posteriors.mean / sigma, clusters.log10_mass / sigma)


def _binned(clusters: HeldOut, values: np.ndarray, bins: int) -> tuple[Bin, ...]:
    residual = clusters.posteriors.mean - clusters.log10_mass
    levels = central_level(clusters.posteriors, clusters.log10_mass)
    return tuple(_bin(values[rows], levels[rows], residual[rows]) for rows in _rows(values, bins))


def _bin(values: np.ndarray, levels: np.ndarray, residual: np.ndarray) -> Bin:
    mean, scatter = residuals(residual, np.zeros(len(residual)))
    shares = covered(levels, 0.68), covered(levels, 0.95)
    return Bin(float(values.min()), float(values.max()), len(values), *shares, mean, scatter)


def _rows(values: Float[np.ndarray, "cluster"], bins: int) -> list[Int[np.ndarray, "some"]]:
    """Positions of the clusters of each bin, as many in each but where values are equal: they stay together."""
    if bins < 1 or len(values) < _FEWEST * bins:
        raise ValueError(f"{bins} bins of {len(values)} clusters: it takes one bin and {_FEWEST} clusters in each.")
    edges, done = [], 0
    for edge in np.unique(np.quantile(values, np.arange(1, bins) / bins)):
        below = int(np.sum(values < edge))
        if min(below - done, len(values) - below) >= _FEWEST:
            edges.append(edge)
            done = below
    which = np.searchsorted(edges, values, side="right")
    return [np.flatnonzero(which == each) for each in range(len(edges) + 1)]

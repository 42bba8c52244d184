"""Calibration in bins of observable quantities, and of the predicted error.

Calibration is promised in bins of quantities on which the posteriors are conditioned: always in bins of posterior mean
and predicted error, and in bins of richness only for posteriors that use it. It is not promised in bins of true mass,
where the mean of a calibrated posterior regresses to the prior's; these are not provided.
Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Int

from sbi_clustermass.diagnostics.calibration import central_level, covered
from sbi_clustermass.diagnostics.residuals import Measured, residuals
from sbi_clustermass.diagnostics.test_sets import HeldOut

_FEWEST = 10  # clusters per bin


@final
@dataclass(frozen=True)
class Bin:
    """Clusters in one bin of an observable quantity.

    Attributes:
        low: Lowest value in the bin.
        high: Highest value.
        n: Number of clusters.
        coverage_68: Share of true masses in the central 68 % interval.
        coverage_95: Share of true masses in the central 95 % interval.
        mean: Mean residual [dex].
        scatter: Standard deviation of the residual [dex].
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
    """Clusters in one bin of predicted error.

    Attributes:
        low: Smallest posterior standard deviation in the bin [dex].
        high: Largest posterior standard deviation in the bin [dex].
        n: Number of clusters.
        predicted: Root mean square of their posterior standard deviations [dex].
        found: Root mean square of their residuals [dex].
        ratio: Found over predicted [1]: 1 when calibrated, for any shape of the posteriors.
    """

    low: float
    high: float
    n: int
    predicted: float
    found: Measured
    ratio: Measured


def by_posterior_mean(clusters: HeldOut, *, bins: int = 5) -> tuple[Bin, ...]:
    """Coverage and residuals in bins of posterior mean with equal numbers of clusters.

    Raises:
        ValueError: There are fewer than 10 clusters per bin.
    """
    return _binned(clusters, clusters.posteriors.mean, bins)


def by_richness(clusters: HeldOut, *, bins: int = 5) -> tuple[Bin, ...]:
    """Coverage and residuals in bins of the number of galaxies with about equal numbers of clusters.

    Raises:
        ValueError: Richness is not known, or there are fewer than 10 clusters per bin.
    """
    if clusters.n_galaxies is None:
        raise ValueError(
            "by_richness: n_galaxies is not known. Make the set with HeldOut.from_catalogue(posteriors, clusters)."
        )
    return _binned(clusters, clusters.n_galaxies, bins)


def reliability(clusters: HeldOut, *, bins: int = 8) -> tuple[SigmaBin, ...]:
    """Residuals against predicted errors, in bins of predicted error with equal numbers of clusters.

    For calibrated posteriors the mean square residual equals the mean posterior variance in each bin.

    Raises:
        ValueError: There are fewer than 10 clusters per bin.
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
    """Indices of the clusters in each bin of equal number; clusters of equal values share a bin."""
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

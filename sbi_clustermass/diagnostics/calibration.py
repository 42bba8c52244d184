"""Calibration of posteriors: PIT values, and coverage of central and highest-density intervals.

Masses are M200c [h^-1 Msun] as log10_mass [dex]. Calibration is promised only for clusters drawn from the posteriors'
own prior (`HeldOut`).
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import binom, kstest, kstwo

from sbi_clustermass.diagnostics.residuals import Measured, share_of
from sbi_clustermass.posterior import MassPosteriors

LEVELS = (0.5, 0.68, 0.9, 0.95, 0.99)
_BAND = 0.95


@final
@dataclass(frozen=True)
class Coverage:
    """Share of clusters whose true mass lies in an interval of probability `level`.

    Attributes:
        level: Promised share.
        central: Share in the interval with equal probability below and above it.
        highest: Share in the smallest region of that probability.
    """

    level: float
    central: Measured
    highest: Measured


def central_level(posteriors: MassPosteriors, log10_true: Float[np.ndarray, "cluster"]) -> Float[np.ndarray, "cluster"]:
    """Level of the central interval that ends at the truth [1]: uniform when calibrated, like `hdr_level`."""
    return np.abs(2 * posteriors.pit(log10_true) - 1)


def covered(levels: Float[np.ndarray, "cluster"], level: float) -> Measured:
    """Share of truths inside their interval of probability `level`, with the error of a calibrated share."""
    return share_of(levels <= level, level)


def coverage(posteriors: MassPosteriors, log10_true: Float[np.ndarray, "cluster"], level: float) -> Measured:
    """Share of clusters whose true mass lies in the central interval of probability `level`.

    Promised to be `level` only for test clusters drawn from the prior that the posteriors carry.
    """
    return covered(central_level(posteriors, log10_true), level)


def coverages(
    posteriors: MassPosteriors, log10_true: Float[np.ndarray, "cluster"], levels: tuple[float, ...] = LEVELS
) -> tuple[Coverage, ...]:
    """Coverage at several levels, of central and of highest-density intervals."""
    central, highest = central_level(posteriors, log10_true), posteriors.hdr_level(log10_true)
    return tuple(Coverage(level, covered(central, level), covered(highest, level)) for level in levels)


def largest_deviation(values: Float[np.ndarray, "cluster"]) -> tuple[float, float]:
    """Kolmogorov-Smirnov statistic of values against a uniform distribution, and its p-value."""
    found = kstest(values, "uniform")
    return float(found.statistic), float(found.pvalue)


def curve_band(n: int) -> float:
    """Half-width of the band around the diagonal that contains 95 % of calibrated coverage curves of n clusters."""
    return float(kstwo.ppf(_BAND, n))


@final
@dataclass(frozen=True)
class PitHistogram:
    """Counts of PIT values, and the range in which all of them lie in 95 % of calibrated test sets.

    Attributes:
        edges: Edges of the bins, from 0 to 1, (bin + 1,).
        counts: Clusters in each bin, (bin,).
        low: Lower end of the expected range of every bin's count.
        high: Upper end of that range.
    """

    edges: Float[np.ndarray, "edge"]
    counts: Int[np.ndarray, "bin"]
    low: int
    high: int

    @property
    def expected(self) -> float:
        """Mean count of a bin when calibrated."""
        return float(self.counts.sum() / len(self.counts))

    @property
    def outside(self) -> int:
        """Number of bins outside the range."""
        return int(np.sum((self.counts < self.low) | (self.counts > self.high)))


def pit_histogram(
    posteriors: MassPosteriors, log10_true: Float[np.ndarray, "cluster"], *, bins: int = 20
) -> PitHistogram:
    """Histogram of PIT values: flat when calibrated, U-shaped if too narrow, peaked if too wide, sloped if biased.

    Counts are binomial, and the range of each is taken at .95^(1/bins), so that all counts lie inside in 95 % of
    cases (Sidak 1967, JASA 62, 626; counts of one histogram are negatively correlated, which makes it a little more).
    """
    counts, edges = np.histogram(posteriors.pit(log10_true), bins=bins, range=(0, 1))
    low, high = binom.interval(_BAND ** (1 / bins), len(log10_true), 1 / bins)
    return PitHistogram(edges, counts, int(low), int(high))

"""Mass posteriors of many clusters on one grid: summaries, samples, mixtures, likelihoods, mended widths."""

from sbi_clustermass.posterior.posteriors import MassPosteriors
from sbi_clustermass.posterior.recalibration import Recalibration

__all__ = ["MassPosteriors", "Recalibration"]

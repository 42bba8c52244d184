"""Mass posteriors of many clusters on one grid: summaries, samples, mixtures and likelihoods."""

from sbi_clustermass.posterior.posteriors import MassPosteriors

__all__ = ["MassPosteriors"]

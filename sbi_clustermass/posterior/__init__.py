"""Mass posteriors of many clusters on one grid: summaries, samples, mixtures, likelihoods, recalibration."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

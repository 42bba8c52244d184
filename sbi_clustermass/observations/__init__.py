"""Observed clusters: tables of galaxies in, masses out, one answer a cluster, ten thousand of them in flat memory."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Posteriors of many clusters: of the mass on one grid, and of several parameters as samples."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

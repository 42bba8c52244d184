"""Masses of observed clusters from tables of galaxies: one result a cluster, in memory that does not grow with them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

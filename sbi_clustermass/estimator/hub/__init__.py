"""Estimators that others trained: the one that ships with the package, folders, and archives behind a URL."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Publication and retrieval of trained estimators: the shipped one, folders, and archives at a URL."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Tables of galaxies as observers keep them, read into catalogues without masses.

Whatever the table's units: out come comoving h^-1 Mpc and km/s relative to the cluster, and where they come from.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

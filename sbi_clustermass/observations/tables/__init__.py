"""Tables of galaxies as observers keep them -> catalogues without masses.

Whatever the table's units, distances become comoving h^-1 Mpc and velocities km/s relative to the cluster.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

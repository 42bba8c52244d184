"""Dynamical masses of galaxy clusters with neural posterior estimation: a plugin for sbi.

Masses are M200c [h^-1 Msun] as log10_mass [dex], lengths comoving [h^-1 Mpc], velocities [km/s]. Names are imported
when first used, so that `import sbi_clustermass` does not wait for torch and sbi.
"""

import lazy_loader

from clustermocks.io.version import installed_version

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = installed_version("sbi-clustermass")

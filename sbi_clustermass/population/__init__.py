"""Populations behind many clusters: Pyro models of the mass function and of scaling relations.

    population = Population(MassFunction(), selection=KnownSelection(selection))
    idata = fit(population, posteriors, Survey.of_volume(1e9))

Masses are M200c [h^-1 Msun] as log10_mass [dex], volumes comoving [h^-3 Mpc^3]. Names are imported when first used.
"""

import lazy_loader

from clustermocks.io.extras import naming_extras

_attribute, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = naming_extras()(_attribute)

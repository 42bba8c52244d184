"""Other ways to a cluster's mass, to compare with: each method is fitted to mocks and predicts the masses of clusters.

`BASELINES` holds the methods by name, `RIVALS` the settings of them that `clustermass validate` compares. Names are
imported when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""The training loop: early stopping counted in weight updates on the whole validation set.

Losses are in nats. Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Embeddings: (batch, galaxy, 3) -> (batch, feature). `EMBEDDINGS` names them for files and the command line.

Those that say `sky` take two columns more, where on the sky a galaxy lies.

An embedding may describe itself further: `stages()` returns its fixed and its learned part; `shared_scale` is the
number of leading features that are pixels, standardised together; `even` states that reversed velocities change
nothing, so that `train` need not show the mirror image.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

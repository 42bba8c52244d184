"""The likelihood route: learned summaries of a cluster, and their density or density ratio given its mass, by sbi.

`SUMMARIES` holds the summaries by name, `METHODS` the methods of sbi. `baselines.LearnedLikelihood` joins the two.
Masses are M200c [h^-1 Msun] as log10_mass [dex]; log densities are natural [nats].
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Samplers of a posterior of a few parameters: no-U-turn sampling, variational inference, the Laplace approximation.

All start from the mode, in coordinates whitened by the curvature there. `SAMPLERS` names them for the command line.
"""

from sbi_clustermass.population.sampling.draws import Draws as Draws, Sampler as Sampler
from sbi_clustermass.population.sampling.laplace import Laplace
from sbi_clustermass.population.sampling.nuts import NUTS
from sbi_clustermass.population.sampling.variational import SVI

SAMPLERS: dict[str, type[NUTS] | type[SVI] | type[Laplace]] = {"nuts": NUTS, "svi": SVI, "laplace": Laplace}

"""The mocks behind the shipped estimator: of any survey that a table of galaxies may come from.

How each 25 clusters are observed, and what is not known of their galaxies, is drawn from `SurveyPrior` and
`PhysicsPrior`: redshift, field, window, depth, targeting, completeness with its radial trend, errors, cleaning and
more.
Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from clustermocks import Catalogue, FlatMasses, HaloMassFunction, PhysicsPrior, SurveyPrior
from sbi_clustermass.tailored.choices import MASSES as FLAT
from sbi_clustermass.tailored.survey import MODEL, SURVEYS

PHYSICS = PhysicsPrior()


def drawn(
    n: int, seed: int, masses: FlatMasses | HaloMassFunction = FLAT, surveys: SurveyPrior = SURVEYS, n_jobs: int = 2
) -> Catalogue:
    """Draw mocks like the training set, or of a part of its surveys."""
    return MODEL.simulate(masses.draw(n, seed), seed=seed, surveys=surveys, physics=PHYSICS, n_jobs=n_jobs)

"""The mocks behind the shipped estimator: of any survey at one redshift and one velocity window.

How each 25 clusters are observed, and what is not known of their galaxies, is drawn from `SurveyPrior` and
`PhysicsPrior`: the field, depth, targeting, completeness with its radial trend, errors, cleaning and more. The network
sees none of it. Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import replace

from clustermocks import Catalogue, FlatMasses, HaloMassFunction, HaloModel, Observation, PhysicsPrior, SurveyPrior

FLAT = FlatMasses(12.8, 15.8)
OBSERVATION = Observation(min_galaxies=5)
MODEL = replace(HaloModel(dominant=True).with_clustering(), observation=OBSERVATION)
SURVEYS = SurveyPrior().narrowed(
    redshift=OBSERVATION.redshift, v_cut=OBSERVATION.v_cut, aperture=(0.3, OBSERVATION.aperture)
)
PHYSICS = PhysicsPrior()


def drawn(
    n: int, seed: int, masses: FlatMasses | HaloMassFunction = FLAT, surveys: SurveyPrior = SURVEYS, n_jobs: int = 2
) -> Catalogue:
    """Draw mocks like the training set, or of other surveys, which the estimator takes for its own."""
    mocks = MODEL.simulate(masses.draw(n, seed), seed=seed, surveys=surveys, physics=PHYSICS, n_jobs=n_jobs)
    return replace(mocks, observation=OBSERVATION)

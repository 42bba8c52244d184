"""One survey over a range of redshifts, from mocks to Om and sigma8, with an estimator of its own prior.

`python benchmarks/survey_with_redshifts.py --seed 1` (ten minutes of one core). The survey knows itself: its redshifts,
field, depth and cut. An estimator for it is trained on `SurveyPrior.narrowed` mocks, so that P(selected | mass) is this
survey's, in each shell of redshift. The clusters put in follow Tinker et al. 2008 at the redshift of each shell.
Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from dataclasses import replace
from itertools import pairwise

import numpy as np
from mocks_to_ship import FLAT, MODEL, PHYSICS, SURVEYS
from ship import OPTIONS

from clustermocks import Catalogue, HaloMassFunction, Observation, PowerLawMasses, SurveyPrior
from clustermocks.selection import fit_selection
from sbi_clustermass import MassEstimator, MassPosteriors, train
from sbi_clustermass.diagnostics import coverages
from sbi_clustermass.diagnostics.test_sets import reweighted
from sbi_clustermass.estimator.training_run import flow_for, training_for
from sbi_clustermass.population import (
    CosmologyMassFunction,
    Laplace,
    MeasuredSelection,
    ObservedClusters,
    Population,
    Survey,
    fit,
)

SHELLS = (0.05, 0.1, 0.15, 0.2)
CUT = 30
SURVEY = SURVEYS.narrowed(
    redshift=(SHELLS[0], SHELLS[-1]), aperture=1.6, v_cut=4000.0, tracer_density=0.02, completeness=(0.8, 1.0),
    radial_slope=0.0, velocity_error=30.0, rounding=0.0, cleaned=0, stated=1, cored=0, sector=0.0, flattening=0.0,
    contrast=1.0, fibre_distance=0.0, wrong_redshifts=0.0, centre_error=(0.0, 0.1),
)  # fmt: skip
OBSERVED = replace(MODEL, observation=Observation(min_galaxies=CUT))


def simulated(log10_mass: np.ndarray, seed: int, surveys: SurveyPrior) -> Catalogue:
    """Clusters of these masses in this survey, or in a shell of it."""
    return OBSERVED.simulate(log10_mass, seed=seed, surveys=surveys, physics=PHYSICS, n_jobs=2)


def shells() -> list[SurveyPrior]:
    """The survey in each shell of redshift."""
    return [SURVEY.narrowed(redshift=(low, high)) for low, high in pairwise(SHELLS)]


def sky(area: float, seed: int) -> tuple[Survey, list[Catalogue]]:
    """Survey of an area [deg^2], and its clusters in each shell, as many as the mass function has haloes."""
    survey, rng, found = Survey.of_sky(area, SHELLS, sample_variance=False), np.random.default_rng(seed), []
    for number, (shell, surveys) in enumerate(zip(survey.shells, shells(), strict=True)):
        haloes = HaloMassFunction(low=FLAT.low, high=FLAT.high, redshift=shell.redshift)
        n = rng.poisson(shell.volume * haloes.number_density())
        found.append(simulated(haloes.draw(n, seed + number), seed + number, surveys))
    return survey, found


def check(estimator: MassEstimator, survey: Survey, clusters: list[Catalogue]) -> str:
    """Coverage of the clusters' masses under the mass function of their shell, in words."""
    inside, n = 0.0, 0
    for shell, part in zip(survey.shells, clusters, strict=True):
        haloes = HaloMassFunction(low=FLAT.low, high=FLAT.high, redshift=shell.redshift)
        (found,) = coverages(reweighted(estimator.posterior(part), haloes), part.log10_mass, (0.68,))
        inside, n = inside + found.central.value * len(part), n + len(part)
    return f"{n} clusters; {100 * inside / n:.1f} % of the true masses in 68 % intervals"


def main(n: int, area: float, seed: int) -> None:
    """Train, observe the survey, fit its cosmology and print it."""
    mocks = simulated(PowerLawMasses(FLAT.low, FLAT.high).draw(n, seed), seed, SURVEY)  # most clusters are poor
    print(f"{len(mocks)} mocks of {CUT} galaxies or more")
    estimator = train(mocks, flow=flow_for(OPTIONS), training=training_for(OPTIONS), device="cpu")
    attempts = [simulated(FLAT.draw(n // 8, seed + 10 + i), seed + 10 + i, part) for i, part in enumerate(shells())]
    survey, clusters = sky(area, seed + 20)
    selection = MeasuredSelection(tuple(fit_selection(*part.attempted()) for part in attempts))
    print(check(estimator, survey, clusters))
    parts = [estimator.posterior(part) for part in clusters]
    log_prob = np.concatenate([part.log_prob for part in parts])
    posteriors = MassPosteriors.from_log_prob(parts[0].grid, log_prob, log_prior=parts[0].log_prior)
    redshift = np.concatenate([part.column("redshift") for part in clusters])
    population = Population(CosmologyMassFunction(), selection=selection, mass_range=(FLAT.low, FLAT.high))
    found = fit(population, ObservedClusters(posteriors, redshift), survey, sampler=Laplace(seed=seed))
    for name, truth in (("Om0", survey.cosmology.Om0), ("sigma8", survey.cosmology.sigma8)):
        draws = found["posterior"][name].values
        print(f"{name:8}{draws.mean():.3f} ± {draws.std():.3f}, put in {truth:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200_000, help="Mocks to train on, before the cut.")
    parser.add_argument("--area", type=float, default=600.0, help="Area of the survey [deg^2].")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    main(chosen.n, chosen.area, chosen.seed)

"""Fit a population model to the posteriors of many clusters.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; volumes are comoving [h^-3 Mpc^3].
"""

from typing import TYPE_CHECKING

from clustermocks.io.progress import Advance
from sbi_clustermass.flows.device import resolve_device
from sbi_clustermass.population.arguments import refuse_other_types
from sbi_clustermass.population.clusters import ObservedClusters, as_clusters
from sbi_clustermass.population.inference_data import inference_data
from sbi_clustermass.population.model import Population
from sbi_clustermass.population.problem import Problem
from sbi_clustermass.population.sampling import NUTS, Sampler
from sbi_clustermass.population.survey import Survey
from sbi_clustermass.population.validity import (
    refuse_at_the_ends,
    refuse_mismatch,
    refuse_outside,
    warn_of_coarse_grid,
    warn_of_contradicted_priors,
    warn_of_few_attempts,
    warn_of_some_outside,
    warn_unless_converged,
)
from sbi_clustermass.posterior import MassPosteriors

if TYPE_CHECKING:
    from arviz import InferenceData

_SAMPLER = NUTS()


def fit(
    population: Population,
    clusters: MassPosteriors | ObservedClusters,
    survey: Survey | None = None,
    *,
    counts: bool = True,
    sampler: Sampler = _SAMPLER,
    same_galaxies_allowed: bool = False,
    device: str = "auto",
    progress: Advance | None = None,
) -> "InferenceData":
    """Fit a population to clusters: the posterior of its parameters, given mass posteriors and selection.

    The likelihood is that of `population_model`. Clusters are independent: pass one line of sight for each host halo.

    Args:
        population: Masses, scaling relations, selection, and the priors of their parameters.
        clusters: Mass posteriors, whose training prior is divided out, and further observables.
        survey: Survey that found them; needed for counts, and for masses that depend on redshift.
        counts: Whether the number of clusters informs the fit (Poisson). If not, only the shape is fitted, and
            the posterior of the amplitude is its prior.
        sampler: Sampler: `NUTS()`, `SVI()` or `Laplace()`.
        same_galaxies_allowed: Whether an observable from the same galaxies as the mass posteriors may be treated as
            independent: a consistency check, recorded as such.
        device: Device on which the integrals of the clusters are computed; "auto" is CUDA if there is one.
        progress: Called with the number of steps of the sampler done, of `sampler.total`.

    Returns:
        Groups `posterior` (parameters and derived quantities), `log_likelihood` (`clusters`: each cluster's data given
        that it was selected; `count`: their Poisson number, up to -log N!; together the fitted likelihood),
        `sample_stats`, `prior`, `observed_data` (with counts `n_selected`, the clusters in each shell of redshift;
        observables) and its predictions `posterior_predictive` and `prior_predictive`, as `arviz.plot_ppc` takes them,
        `constant_data` (masses, posterior mean and standard deviation of each cluster [dex], selection, volumes).
        `attrs["model"]` records the masses' model as JSON.

    Raises:
        ValueError: More than 1 % of the expected selected clusters lie outside the posteriors' grid, at the centre of
            the priors or at the fitted posterior mean; more than 1 % of the estimator's probability leaks out of its
            support; an observable shares the posteriors' galaxies without a calibration; a likelihood or the selection
            is invalid; or counts have no volume.

    Warns:
        UserWarning: R-hat exceeds 1.05, fewer than 100 draws are effective, trajectories diverged, an approximation's
            Pareto k exceeds 0.7, the grid of masses does not resolve an observable, more clusters than a twentieth of
            the square root of their number are expected outside the posteriors' grid, a parameter lies beyond four
            standard deviations of its prior, or the survey's redshift is not that of the clusters.
    """
    refuse_other_types(population, clusters, survey, sampler)
    clusters = as_clusters(clusters)
    refuse_mismatch(population, clusters, survey, counts=counts, same_galaxies_allowed=same_galaxies_allowed)
    problem = Problem.from_clusters(population, clusters, survey, counts=counts, device=resolve_device(device))
    refuse_at_the_ends(problem)
    coordinates = problem.coordinates
    if population.masses.counts:
        refuse_outside(problem, coordinates.parameters(coordinates.centre), "at the centre of the model's priors")
    draws = sampler.draw(problem.potential, coordinates.centre, progress)
    middle = coordinates.parameters(draws.positions.mean(dim=(0, 1)))
    refuse_outside(problem, middle, "at the fitted posterior mean")
    warn_of_some_outside(problem, len(clusters.posteriors), middle)
    warn_of_few_attempts(problem, middle)
    warn_of_coarse_grid(problem, clusters, middle)
    warn_of_contradicted_priors(problem, draws)
    idata = inference_data(problem, clusters, draws, sampler)
    warn_unless_converged(idata, draws)
    return idata

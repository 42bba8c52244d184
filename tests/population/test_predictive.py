"""What a fit predicts, held against what was observed, by ArviZ and by closed forms."""

import numpy as np
import pytest
import torch
from scipy.stats import norm, truncnorm

from sbi_clustermass.population import (
    AboveCut,
    KnownSelection,
    Laplace,
    MassFunction,
    NormalMasses,
    Observable,
    ObservedClusters,
    Population,
    Problem,
    ScalingRelation,
    Survey,
    fit,
)
from sbi_clustermass.population.predictive import (
    log_mass_posterior,
    log_mass_prior,
    posterior_predictive,
    prior_predictive,
)
from sbi_clustermass.posterior import MassPosteriors

GRID = np.linspace(13.0, 15.6, 131)
RELATION = ScalingRelation("richness", (1.5, 0.05), (0.8, 0.1), 0.2)
CUT, SCATTER, ERROR = 1.5, 0.15, 0.05
SURVEY = Survey.of_sky(300, (0.1, 0.2, 0.3))


def haloes(volume, rng):
    """Masses from the mass function at the centre of its priors, by thinning of a fine grid."""
    grid = np.linspace(12.5, 16.0, 3501)
    masses = MassFunction()
    centre = masses.coordinates.parameters(masses.coordinates.centre)
    density = masses.log_density(torch.as_tensor(grid), centre, torch.zeros(1)).exp().numpy()[0]
    number = rng.poisson(volume * np.trapezoid(density, grid))
    cumulative = np.append(0, np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(grid)))
    return np.interp(rng.random(number), cumulative / cumulative[-1], grid)


def richness_survey(seed):
    """A survey cut on its richness: true masses, and clusters with mass posteriors of .15 dex."""
    rng = np.random.default_rng(seed)
    parts = [haloes(shell.volume, rng) for shell in SURVEY.shells]
    true = np.concatenate(parts)
    redshift = np.repeat(SURVEY.redshift, [len(part) for part in parts])
    y = 1.5 + 0.8 * (true - 14.3) + np.hypot(SCATTER, ERROR) * rng.standard_normal(len(true))
    kept = y > CUT
    estimate = true[kept] + 0.15 * rng.standard_normal(kept.sum())
    posteriors = MassPosteriors.from_normal(estimate, 0.15, GRID)
    return true[kept], ObservedClusters(posteriors, redshift[kept], {"richness": Observable(y[kept], ERROR)})


@pytest.fixture(scope="module")
def clusters():
    return richness_survey(1)[1]


@pytest.fixture(scope="module")
def population():
    return Population(relations=(RELATION,), selection=AboveCut("richness", CUT, ERROR))


@pytest.fixture(scope="module")
def fitted(population, clusters):
    return fit(population, clusters, SURVEY, sampler=Laplace(num_samples=200, seed=1))


@pytest.mark.parametrize("group", ["posterior", "prior"])
@pytest.mark.parametrize("kind", ["kde", "cumulative"])
def test_arviz_draws_predictive_checks_of_all_that_was_observed(fitted, group, kind):
    import arviz

    axes = arviz.plot_ppc(fitted, group=group, kind=kind)
    assert len(np.ravel(axes)) == 2, "the number of clusters and their richness"


def test_observed_and_predicted_data_have_the_same_names_and_dimensions(fitted, clusters):
    observed = fitted["observed_data"]
    assert list(observed["n_selected"].values) == [np.sum(clusters.redshift == z) for z in SURVEY.redshift]
    for group in ("posterior_predictive", "prior_predictive"):
        assert set(fitted[group].data_vars) == set(observed.data_vars)
        for name, values in observed.data_vars.items():
            assert fitted[group][name].dims[2:] == values.dims
    assert {"log10_mass_mean", "log10_mass_std"} <= set(fitted["constant_data"].data_vars)


def test_predicted_richness_is_above_the_cut_and_distributed_as_the_observed_one(fitted, clusters):
    predicted = fitted["posterior_predictive"]["richness"].values[0]
    assert predicted.min() >= CUT
    observed = clusters.observables["richness"].observed_values
    shares = [(values < np.median(observed)).mean() for values in predicted]
    # half of the observed ones, with the error of both counts; fails once in 16 000
    assert abs(np.mean(shares) - 0.5) < 4 * np.sqrt(2 * 0.25 / len(observed))


def test_prior_predicts_richness_from_the_population_of_selected_haloes():
    """Normal masses and a cut on a value that follows them: a truncated normal distribution."""
    relation = ScalingRelation("richness", (1.5, 1e-4), (0.8, 1e-4), 1e-4)
    population = Population(NormalMasses((14.3, 1e-4), 1e-4), (relation,), AboveCut("richness", CUT, ERROR))
    posteriors = MassPosteriors.from_normal(np.full(4000, 15.0), 0.1, GRID)  # which the prior does not look at
    observed = ObservedClusters(posteriors, observables={"richness": Observable(np.full(4000, 2.0), ERROR)})
    problem = Problem.from_clusters(population, observed, None, counts=False)
    values = {"mass_mean": 14.3, "mass_width": 0.3, "intercept_richness": 1.5, "slope_richness": 0.8}
    parameters = {name: torch.tensor(value).double() for name, value in {**values, "scatter_richness": SCATTER}.items()}
    found = prior_predictive(problem, [parameters])["richness"][0, 0]
    width = np.sqrt((0.8 * 0.3) ** 2 + SCATTER**2 + ERROR**2)
    expected = truncnorm((CUT - 1.5) / width, np.inf, 1.5, width)
    assert found.shape == (4000,)
    assert abs(found.mean() - expected.mean()) < 4 * expected.std() / np.sqrt(4000)  # fails once in 16 000
    assert found.std() == pytest.approx(expected.std(), rel=4 / np.sqrt(4000))


def test_number_of_clusters_is_that_of_all_parts_of_the_sky_with_the_same_redshifts():
    """Clusters are placed in the first of such parts, so that only the sum over them can be compared."""
    survey = Survey.joined(SURVEY, SURVEY)
    posteriors = MassPosteriors.from_normal(np.full(9, 14.4), 0.1, GRID)
    clusters = ObservedClusters(posteriors, np.array([0.15] * 6 + [0.25] * 3))
    population = Population(selection=KnownSelection(lambda m: norm.cdf(m, 14.2, 0.1), of_data=True))
    problem = Problem.from_clusters(population, clusters, survey, counts=True)
    centre = population.coordinates.parameters(population.coordinates.centre)
    numbers = posterior_predictive(problem, [centre] * 400)["n_selected"][0]
    expected = problem.log_selected_rate(centre).exp() @ problem.likelihood.weights
    pulls = (numbers.mean(0) - 2 * expected.numpy()[:2]) / np.sqrt(2 * expected.numpy()[:2] / 400)
    assert np.all(np.abs(pulls) < 4.2)  # fails once in 20 000


def test_masses_of_a_prior_predictive_are_those_of_clusters_that_tell_nothing_of_theirs():
    """Also where redshifts have errors: haloes of every shell count as often as they are observed at this redshift."""
    survey = Survey.of_sky(300, (0.1, 0.2, 0.3), redshift_error=0.03)
    masses = MassFunction(m_star_evolution=(-0.64, 0.5), density_evolution=(-0.91, 0.5))
    selection = KnownSelection(lambda m, z: norm.cdf(m, 14.2 + z, 0.1), of_data=False, of_redshift=True)
    population = Population(masses, selection=selection)
    uneven = np.concatenate([np.linspace(13.0, 14.2, 25), np.linspace(14.21, 15.6, 140)])
    flat = MassPosteriors.from_log_prob(uneven, np.zeros((3, uneven.size)))
    clusters = ObservedClusters(flat, np.array([0.12, 0.18, 0.29]))
    problem = Problem.from_clusters(population, clusters, survey, counts=True)
    centre = population.coordinates.parameters(population.coordinates.centre)
    for block in range(len(problem.likelihood.blocks)):
        of_prior = log_mass_prior(problem, centre, block)[:, problem.likelihood.support]
        difference = (of_prior - log_mass_posterior(problem, centre, block))[:, 1:-1]  # the ends have half a cell
        torch.testing.assert_close(difference, difference[:, :1].expand_as(difference), rtol=0, atol=1e-10)


def test_a_fit_without_numbers_predicts_none():
    posteriors = MassPosteriors.from_normal(np.linspace(14.0, 14.8, 30), 0.1, GRID)
    found = fit(Population(NormalMasses()), posteriors, counts=False, sampler=Laplace(num_samples=200, seed=1))
    assert "n_selected" not in found.get("posterior_predictive", {})
    assert "n_selected" not in found.get("observed_data", {})

"""Injection and recovery of photometric redshifts: errors that are modelled do no harm, errors that are not do."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass.population import (
    CosmologyMassFunction,
    KnownSelection,
    Laplace,
    MassFunction,
    ObservedClusters,
    Population,
    Problem,
    Survey,
    fit,
)
from sbi_clustermass.posterior import MassPosteriors

GRID = np.linspace(13.5, 15.7, 111)
FINE = np.linspace(13.4, 15.8, 241)
ERROR = 0.03
COSMOLOGY = {"Om0": MDPL2.Om0, "sigma8": MDPL2.sigma8}
COSMOLOGICAL = CosmologyMassFunction(Om0=(0.15, 0.5), sigma8=(0.6, 1.1))
MRP = {"log10_m_star": 14.18, "alpha": -1.90, "beta": 0.69, "log10_density": -4.67}


def tensors(values):
    return {name: torch.tensor(value).double() for name, value in values.items()}


def haloes(masses, truth, area, edges, rng):
    """Log10 masses over 10^13.4 h^-1 Msun, and true redshifts, of a Poisson process in thin shells."""
    survey = Survey.of_sky(area, edges, sample_variance=False)
    log_phi = masses.log_density(torch.as_tensor(FINE), tensors(truth), torch.as_tensor(survey.redshift))
    log_volume = survey.log_volumes(tensors(truth))[:, None]
    number = (log_phi + log_volume).exp().numpy() * (FINE[1] - FINE[0])
    shell, at = np.repeat(np.indices(number.shape).reshape(2, -1), rng.poisson(number).ravel(), axis=1)
    spread = rng.uniform(-0.5, 0.5, len(at)) * (FINE[1] - FINE[0])
    return FINE[at] + spread, rng.uniform(edges[shell], edges[shell + 1])


def pulls(masses, truth, area, edges, cut, seed, errors=(ERROR, 0.0)):
    """Pulls of all parameters of a survey with redshift errors, with and without them in the model."""
    rng = np.random.default_rng(seed)
    thin = np.linspace(max(edges[0] - 0.25, 1e-3), edges[-1] + 0.25, 60)
    mass, redshift = haloes(masses, truth, area, thin, rng)
    observed = mass + rng.normal(0, 0.1, len(mass))
    photometric = redshift + ERROR * (1 + redshift) * rng.normal(size=len(mass))
    kept = (observed > cut) & (photometric >= edges[0]) & (photometric < edges[-1])
    clusters = ObservedClusters(MassPosteriors.from_normal(observed[kept], 0.1, GRID), photometric[kept])
    selection = KnownSelection(lambda m: norm.cdf(m, cut, 0.1), of_data=True)
    population = Population(masses, selection=selection, mass_range=(13.5, 15.7))
    for error in errors:
        survey = Survey.of_sky(area, edges, redshift_error=error, sample_variance=False)
        posterior = fit(population, clusters, survey, sampler=Laplace(num_samples=400, seed=1))["posterior"]
        yield {name: float((posterior[name].mean() - value) / posterior[name].std()) for name, value in truth.items()}


def test_density_of_a_near_survey_is_recovered_that_errors_fill_up():
    """Out to redshift .08 numbers rise as z^2, so that errors of .03 scatter a quarter more in than out."""
    modelled, ignored = pulls(MassFunction(), MRP, 30_000, [0.02, 0.05, 0.08], 14.1, seed=1)
    assert abs(modelled["log10_density"]) < 3  # 1 of 400 seeds
    assert ignored["log10_density"] > 4


@pytest.mark.slow
def test_cosmology_is_unbiased_over_surveys_with_photometric_redshifts():
    """Shells of .05, twelve surveys of 2000 clusters: the mean pull of each parameter has an error of .29."""
    edges = np.linspace(0.05, 0.35, 7)
    found = [next(pulls(COSMOLOGICAL, COSMOLOGY, 20_000, edges, 14.5, seed, errors=(ERROR,))) for seed in range(12)]
    for name in COSMOLOGY:
        each = np.array([one[name] for one in found])
        assert abs(each.mean()) < 0.9  # three errors: fails once in 400 seeds
        assert 0.5 < each.std() < 1.6  # chi-square of 11 degrees of freedom: once in 500


@pytest.mark.parametrize(("low", "high", "cut"), [(0.1, 0.4, 14.3), (0.5, 0.9, 14.7)])
def test_numbers_of_an_evolving_mass_function_are_an_integral_over_true_redshifts(low, high, cut):
    """Of the shells in front and behind only the near ends matter: with their mean redshifts they were off by 2 %."""
    truth, width = tensors(COSMOLOGY), 0.05
    edges = np.linspace(low, high, round((high - low) / width) + 1)
    thin = Survey.of_sky(1000, np.linspace(max(low - 0.25, 1e-3), high + 0.25, 200), sample_variance=False)
    log_phi = COSMOLOGICAL.log_density(torch.as_tensor(FINE), truth, torch.as_tensor(thin.redshift))
    rate = (log_phi + thin.log_volumes(truth)[:, None]).exp().numpy() * norm.cdf(FINE, cut, 0.1)
    number, error = rate.sum(1) * (FINE[1] - FINE[0]), ERROR * (1 + thin.redshift)
    expected = np.diff([number @ norm.cdf((edge - thin.redshift) / error) for edge in edges])
    survey = Survey.of_sky(1000, edges, redshift_error=ERROR, sample_variance=False)
    selection = KnownSelection(lambda m: norm.cdf(m, cut, 0.1), of_data=True)
    population = Population(COSMOLOGICAL, selection=selection, mass_range=(13.4, 15.8))
    clusters = ObservedClusters(MassPosteriors.from_normal([14.8], 0.1, GRID), np.array([low + 0.01]))
    found = Problem.from_clusters(population, clusters, survey, counts=True).expected_numbers(truth).numpy()
    found = found[found > 0]
    assert found.sum() == pytest.approx(expected.sum(), rel=5e-3)  # one mass function in each shell
    np.testing.assert_allclose(found, expected, rtol=0.02)  # the outermost shells: half an error's width of evolution

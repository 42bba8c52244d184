"""Scaling relations in the population's likelihood against quadrature and closed forms; what a fit makes of them."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from astropy.cosmology import FlatLambdaCDM
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import multivariate_normal, norm

from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass.population import (
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
    shrink,
)
from sbi_clustermass.population.clusters import as_clusters
from sbi_clustermass.population.sampling import Draws
from sbi_clustermass.posterior import MassPosteriors

GRID = np.linspace(12.9, 15.7, 113)
WIDTH = GRID[-1] - GRID[0]
ERROR = 0.12  # of a mass [dex]
A, B, S, E = 2.9, 0.35, 0.06, 0.03  # the relation's, at pivot 14.3, and an observable's error
RELATION = ScalingRelation("y", intercept=(2.8, 0.3), slope=(0.3, 0.3), scatter=0.2, pivot=14.3)
EVOLVING = dataclasses.replace(RELATION, scatter_slope=(0.0, 0.3), evolution=(0.3, 0.2), redshift_pivot=0.2)
QUICK = Laplace(num_samples=200, rounds=2, seed=1)
VALUES = {"log10_m_star": 14.1, "alpha": -1.8, "beta": 0.8, "log10_density": -4.5}
LINE = {"intercept_y": A, "slope_y": B, "scatter_y": S}
BENT = {"scatter_slope_y": -0.4, "evolution_y": 0.5}


def doubles(values):
    return {name: torch.as_tensor(np.asarray(value, float)) for name, value in values.items()}


def log10_E(z, z_pivot=0.2, Om0=MDPL2.Om0):
    cosmology = FlatLambdaCDM(H0=100, Om0=Om0)
    return np.log10(cosmology.efunc(z) / cosmology.efunc(z_pivot))


def normal_sample(n, seed):
    """True masses, posteriors and y of a sample of Gaussian masses."""
    rng = np.random.default_rng(seed)
    true = rng.normal(14.3, 0.25, n)
    posteriors = MassPosteriors.from_normal(true + ERROR * rng.standard_normal(n), ERROR, GRID)
    return true, posteriors, A + B * (true - 14.3) + np.hypot(S, E) * rng.standard_normal(n)


def clusters_of(posteriors, values, errors=E, redshift=None, name="y"):
    return ObservedClusters(posteriors, redshift, {name: Observable(values, errors)})


# ---- mean and scatter -----------------------------------------------------------------------------------------------


def test_mean_evolves_with_astropys_expansion_rate():
    masses, redshift = np.linspace(13.5, 15, 4), np.array([0.0, 0.2, 0.6, 1.3])
    found = EVOLVING.mean(torch.as_tensor(masses), doubles(LINE | BENT), torch.as_tensor(redshift))
    expected = A + B * (masses - 14.3) + 0.5 * log10_E(redshift)[:, None]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-14)


def test_evolution_is_that_of_the_masses_own_matter_density():
    redshift = np.array([0.4, 1.0])
    parameters = doubles(
        LINE | BENT | {"Om0": [0.2, 0.5], **{name: [value] * 2 for name, value in (LINE | BENT).items()}}
    )
    found = EVOLVING.mean(torch.tensor([14.3]).double(), parameters, torch.as_tensor(redshift))
    expected = [A + 0.5 * log10_E(redshift, Om0=Om0) for Om0 in (0.2, 0.5)]
    np.testing.assert_allclose(found[..., 0].numpy(), expected, atol=1e-6)  # 14.3 in float32


def test_scatter_is_constant_or_a_power_of_mass():
    masses = torch.linspace(13.5, 15, 4, dtype=torch.float64)
    assert RELATION.std(masses, doubles(LINE)).shape == (1, 1)
    assert float(RELATION.std(masses, doubles(LINE))) == S
    found = EVOLVING.std(masses, doubles(LINE | BENT))
    np.testing.assert_allclose(found[0].numpy(), S * 10 ** (-0.4 * (masses.numpy() - 14.3)), rtol=1e-12)


# ---- likelihood -----------------------------------------------------------------------------------------------------


def selection(log10_mass):
    return expit((log10_mass - 14.1) / 0.08)


def phi(log10_mass):
    at = torch.tensor([log10_mass], dtype=torch.float64)
    return float(MassFunction().log_density(at, doubles(VALUES), torch.zeros(1)).exp())


@pytest.mark.parametrize("relation", [RELATION, EVOLVING], ids=["line", "evolving"])
def test_log_density_is_the_formula_cluster_by_cluster_by_quadrature(relation):
    """Sum over i of ln of the integral of L_i(m) N(y_i | y(m, z_i), s(m)^2 + e_i^2) phi(m) V, less N_e."""
    means, errors = np.array([13.9, 14.2, 14.4, 14.8]), np.array([0.03, 0.0, 0.1, 0.05])
    values, redshift = np.array([2.82, 2.78, 2.95, 3.2]), np.array([0.05, 0.3, 0.2, 0.9])
    clusters = clusters_of(MassPosteriors.from_normal(means, ERROR, GRID), values, errors, redshift)
    population = Population(relations=(relation,), selection=KnownSelection(selection, of_data=True))
    problem = Problem.from_clusters(population, clusters, Survey.of_volume(2e7, sample_variance=False), counts=True)
    bent, evolution = relation is EVOLVING, 0.5 * log10_E(redshift)
    terms = problem.terms(doubles(VALUES | LINE | (BENT if bent else {})))

    def density(mass, i):
        mean = A + B * (mass - 14.3) + (evolution[i] if bent else 0)
        scatter = S * 10 ** (-0.4 * (mass - 14.3)) if bent else S
        observed = norm.pdf(values[i], mean, np.hypot(scatter, errors[i]))
        return WIDTH * norm.pdf(mass, means[i], ERROR) * observed * phi(mass) * 2e7

    ends = (12.5, 13.5, 14.0, 14.5, 15.0, 16.0)
    expected_number = sum(2e7 * quad(lambda m: phi(m) * selection(m), *pair, epsrel=1e-9)[0] for pair in pairwise(ends))
    integrals = [quad(density, means[i] - 1, means[i] + 0.9, args=(i,), points=[means[i]])[0] for i in range(4)]
    # analytic and gone at the ends: the trapezoid rule converges exponentially, and quad's error of 1e-9 remains
    np.testing.assert_allclose((terms["clusters"]).numpy(), np.log(integrals) - np.log(expected_number), atol=1e-8)
    count = 4 * np.log(expected_number) - expected_number
    assert float(terms["count"]) == pytest.approx(count, rel=1e-8)


def test_a_gaussian_sample_with_gaussian_errors_is_a_bivariate_normal():
    _true, posteriors, values = normal_sample(40, seed=1)
    errors = np.random.default_rng(1).uniform(0.01, 0.1, 40)
    problem = Problem.from_clusters(
        Population(NormalMasses(), (RELATION,)), clusters_of(posteriors, values, errors), None, counts=False
    )
    found = problem.terms(doubles(LINE | {"mass_mean": 14.25, "mass_width": 0.3}))["clusters"].numpy()
    cross, mean = B * 0.3**2, A + B * (14.25 - 14.3)
    expected = [
        multivariate_normal([14.25, mean], [[0.3**2 + ERROR**2, cross], [cross, B**2 * 0.3**2 + S**2 + e**2]]).logpdf(
            pair
        )
        for pair, e in zip(np.column_stack([posteriors.mean, values]), errors, strict=True)
    ]
    inside = np.abs(posteriors.mean - 14.3) < 0.65  # else a posterior is cut off by the grid within 6 sigma
    assert inside.sum() > 35
    # the masses' tails beyond the grid, 4.7 sigma of .3 dex, weighed by posteriors that are 6 sigma away
    np.testing.assert_allclose(found[inside], np.array(expected)[inside] + np.log(WIDTH), atol=1e-6)


# ---- fits -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample():
    return normal_sample(400, seed=4)


KELLY = Population(NormalMasses(), (RELATION,))


@pytest.fixture(scope="module")
def fitted(sample):
    _true, posteriors, values = sample
    return fit(KELLY, clusters_of(posteriors, values), counts=False, sampler=QUICK)


def test_slope_and_scatter_of_a_regression_with_errors_in_both_are_recovered(sample, fitted):
    """In the manner of Kelly 2007, ApJ 665, 1489; least squares on the estimates flattens the slope."""
    _true, posteriors, values = sample
    for name, true in (LINE | {"mass_mean": 14.3, "mass_width": 0.25}).items():
        draws = fitted["posterior"][name].values
        assert abs(draws.mean() - true) < 3 * draws.std(), name  # fails for 1 in 75 seeds, with five such
    (slope, _), covariance = np.polyfit(posteriors.mean, values, 1, cov=True)
    assert B - slope > 3 * np.sqrt(covariance[0, 0])


def test_predicted_observables_have_the_mean_and_the_spread_of_the_observed_ones(sample, fitted):
    _true, _posteriors, values = sample
    predicted = fitted["posterior_predictive"]["y"].values[0]
    assert predicted.shape == (200, 400)
    # 4 errors of a mean and a standard deviation of 400 clusters
    assert abs(predicted.mean() - values.mean()) < 4 * values.std() / 20
    assert predicted.std(axis=1).mean() == pytest.approx(values.std(), rel=4 / np.sqrt(800))
    pulls = (values - predicted.mean(axis=0)) / predicted.std(axis=0)
    # a cluster's own y is among what its mass is known from: pulls are narrower than 1
    assert 0.5 < pulls.std() < 1.05


@dataclasses.dataclass(frozen=True)
class Known:
    """A sampler that returns the truth."""

    total: int = 0

    def draw(self, potential, start, progress=None):
        position = torch.tensor([14.3, np.log(0.25), A, B, np.log(S)], dtype=torch.float64)
        return Draws(position.expand(1, 400, -1), facts={"pareto_k": 0.0})


def known_masses(point, values):
    """Mean and standard deviation of each mass from the estimate, y and the population: precisions add."""
    weights = np.array([1 / ERROR**2, B**2 / (S**2 + E**2), 1 / 0.25**2])
    mean = (weights[0] * point + weights[1] * (14.3 + (values - A) / B) + weights[2] * 14.3) / weights.sum()
    return mean, weights.sum() ** -0.5


@pytest.fixture(scope="module")
def known(sample):
    _true, posteriors, values = sample
    return fit(KELLY, clusters_of(posteriors, values), counts=False, sampler=Known())


def test_masses_shrunk_by_a_relation_have_the_closed_form_and_their_names(sample, known):
    _true, posteriors, values = sample
    found = shrink(known, KELLY, clusters_of(posteriors, values))
    mean, std = known_masses(posteriors.mean, values)
    assert found.names == posteriors.names
    inside = np.abs(posteriors.mean - 14.3) < 0.65  # else a posterior is cut off by the grid within 6 sigma
    np.testing.assert_allclose(found.mean[inside], mean[inside], atol=1e-6)  # the grid's quadrature, as it promises
    np.testing.assert_allclose(found.std[inside], std, rtol=1e-5)


def test_shrunk_masses_are_nearer_the_truth_and_calibrated(sample, fitted):
    true, posteriors, values = sample
    found = shrink(fitted, KELLY, clusters_of(posteriors, values))
    before, after = (np.sqrt(np.mean((each.mean - true) ** 2)) for each in (posteriors, found))
    assert after < before
    assert abs((np.abs(found.pit(true) - 0.5) < 0.34).mean() - 0.68) < 3 * np.sqrt(0.68 * 0.32 / 400)


def test_predicted_observable_of_each_cluster_has_the_closed_form(sample, known):
    """At fixed parameters y' = a + b (m - p) + noise, m being what the shrunk mass is."""
    _true, posteriors, values = sample
    predicted = known["posterior_predictive"]["y"].values[0]
    mean, std = known_masses(posteriors.mean, values)
    spread = np.sqrt(B**2 * std**2 + S**2 + E**2)
    pulls = (predicted.mean(axis=0) - (A + B * (mean - 14.3))) / (spread / np.sqrt(len(predicted)))
    # 400 unit pulls: their mean within 4 / 20, their spread within 4 / sqrt(800), the largest under 5
    assert abs(pulls.mean()) < 0.2
    assert pulls.std() == pytest.approx(1, abs=0.15)
    assert np.abs(pulls).max() < 5
    assert predicted.std(axis=0).mean() == pytest.approx(spread, rel=0.01)  # of 80 000 values; a cell adds .1 %


def test_a_fit_of_another_population_cannot_be_shrunk(sample, fitted):
    _true, posteriors, values = sample
    other = dataclasses.replace(KELLY, relations=(EVOLVING,))
    with pytest.raises(ValueError, match="the fit has no scatter_slope_y, evolution_y: it is of another population"):
        shrink(fitted, other, clusters_of(posteriors, values))


# ---- warnings and refusals ------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:population fit")  # few draws on purpose
def test_an_observable_that_the_grid_of_masses_does_not_resolve_is_warned_of():
    rng = np.random.default_rng(7)
    true = rng.normal(14.3, 0.2, 100)
    posteriors = MassPosteriors.from_normal(true, 0.1, np.linspace(13, 15.6, 53))
    tight = ScalingRelation("y", (A, 0.1), (1.0, 0.01), 0.001, pivot=14.3)
    clusters = clusters_of(posteriors, A + true - 14.3 + 0.002 * rng.standard_normal(100), 0.002)
    with pytest.warns(
        UserWarning,
        match=r"y fixes a mass to 0\.0\d+ dex, less than a step .* 0\.0500 dex[\s\S]*posteriors on \d+ masses",
    ):
        fit(Population(NormalMasses(), (tight,)), clusters, counts=False, sampler=Laplace(num_samples=20))


def test_posteriors_alone_are_clusters():
    posteriors = MassPosteriors.from_normal([14.1, 14.5], [0.1, 0.1], GRID)
    clusters = as_clusters(posteriors)
    assert clusters.posteriors is posteriors
    assert as_clusters(clusters) is clusters
    assert clusters.redshift is None
    assert len(clusters) == 2


@pytest.mark.parametrize(
    ("redshift", "words"),
    [
        ([0.1], r"needs 2 redshifts, one for each cluster, found shape \(1,\)"),
        ([0.1, np.nan], "1 of 2 redshifts are negative or not finite, the first nan in row 1"),
        ([0.1, -0.2], "1 of 2 redshifts are negative or not finite, the first -0.2 in row 1"),
        ([[0.1, 0.2]], r"needs 2 redshifts, one for each cluster, found shape \(1, 2\)"),
    ],
)
def test_redshifts_that_are_none_are_refused(redshift, words):
    posteriors = MassPosteriors.from_normal([14.1, 14.5], [0.1, 0.1], GRID)
    with pytest.raises(ValueError, match=words):
        ObservedClusters(posteriors, np.array(redshift))


def test_relations_and_observables_that_do_not_match_are_refused():
    posteriors = MassPosteriors.from_normal([14.1, 14.5], [0.1, 0.1], GRID)
    both = ObservedClusters(posteriors, observables={"y": Observable(np.full(2, 2.9), 0.1)})
    with pytest.raises(ValueError, match=r"relations of \['richness'\], observables \['y'\]. Each relation needs"):
        fit(Population(NormalMasses(), (dataclasses.replace(RELATION, observable="richness"),)), both, counts=False)
    with pytest.raises(ValueError, match=r"relations of \['y'\], observables none"):
        fit(Population(NormalMasses(), (RELATION,)), posteriors, counts=False)
    with pytest.raises(ValueError, match=r"relations of nothing, observables \['y'\]"):
        fit(Population(), both, Survey.of_volume(1e6, sample_variance=False))

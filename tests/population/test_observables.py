"""Observables in addition to masses: errors, correlated scatter, missing values, and the clusters that have them."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

from sbi_clustermass.population import (
    Laplace,
    NormalMasses,
    Observable,
    ObservedClusters,
    Population,
    Problem,
    ScalingRelation,
    fit,
    shrink,
)
from sbi_clustermass.population.model import CORRELATION
from sbi_clustermass.population.observables import log_correlated
from sbi_clustermass.population.sampling import Draws
from sbi_clustermass.posterior import MassPosteriors

GRID = np.linspace(13.2, 15.4, 89)
WIDTH = GRID[-1] - GRID[0]
NAMES = ("sigma", "richness", "temperature")
TRUE = {  # intercept, slope, scatter of each
    "sigma": (2.9, 0.35, 0.06),
    "richness": (1.6, 0.9, 0.15),
    "temperature": (0.6, 0.6, 0.09),
}
CORRELATIONS = np.array([[1.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 1.0]])
RELATIONS = tuple(ScalingRelation(name, (a, 0.3), (b, 0.3), 0.2, pivot=14.3) for name, (a, b, _scatter) in TRUE.items())
QUICK = Laplace(num_samples=150, rounds=2, seed=1)


def doubles(**values):
    return {name: torch.as_tensor(np.asarray(value, float)) for name, value in values.items()}


def at_truth(names=NAMES, **more):
    """Parameters of masses N(14.3, .25) and of the relations."""
    found = {"mass_mean": 14.3, "mass_width": 0.25}
    for name in names:
        found |= {
            f"{part}_{name}": value for part, value in zip(("intercept", "slope", "scatter"), TRUE[name], strict=True)
        }
    if len(names) > 1:
        found[CORRELATION] = np.linalg.cholesky(CORRELATIONS[: len(names), : len(names)])
    return doubles(**found, **more)


def covariance(names, errors=0.0):
    scatter = np.array([TRUE[name][2] for name in names])
    return np.outer(scatter, scatter) * CORRELATIONS[: len(names), : len(names)] + np.diag(
        np.full(len(names), errors) ** 2
    )


def mean_at(names, mass):
    return np.array([TRUE[name][0] + TRUE[name][1] * (mass - 14.3) for name in names])


def sample(n, seed, names=NAMES, errors=0.05):
    """True masses, mass posteriors of .12 dex, and observed values of each name, (cluster, name)."""
    rng = np.random.default_rng(seed)
    true = rng.normal(14.3, 0.25, n)
    posteriors = MassPosteriors.from_normal(true + 0.12 * rng.standard_normal(n), 0.12, GRID)
    scattered = rng.multivariate_normal(np.zeros(len(names)), covariance(names, errors), n)
    return true, posteriors, np.array([mean_at(names, mass) for mass in true]) + scattered


def clusters_of(posteriors, values, names, errors=0.05, measured=None):
    observables = {
        name: Observable(values[:, i], errors, measured=None if measured is None else measured[:, i])
        for i, name in enumerate(names)
    }
    return ObservedClusters(posteriors, observables=observables)


def problem_of(posteriors, values, names=NAMES, *, correlated=True, **how):
    population = Population(NormalMasses(), RELATIONS[: len(names)], correlated=correlated and len(names) > 1)
    return Problem.from_clusters(population, clusters_of(posteriors, values, names, **how), None, counts=False)


# ---- one observable at each mass ------------------------------------------------------------------------------------


def test_likelihood_of_a_value_is_normal_with_scatter_and_error_in_quadrature():
    values, errors = np.array([2.8, 2.95, 3.1]), np.array([0.02, 0.0, 0.1])
    mean, std = np.linspace(2.5, 3.3, 7)[None], np.linspace(0.03, 0.2, 7)[None]
    found = Observable(values, errors).log_likelihood(torch.as_tensor(mean), torch.as_tensor(std))
    expected = norm.logpdf(values[:, None], mean, np.hypot(std, errors[:, None]))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)  # float64 round-off


@pytest.mark.parametrize("size", [2, 3])
def test_correlated_scatter_is_scipys_multivariate_normal(size):
    names, rng = NAMES[:size], np.random.default_rng(0)
    values, errors = rng.normal(2, 0.3, (4, size)), rng.uniform(0, 0.1, (4, size))
    masses = np.linspace(13.5, 15.0, 6)
    observed = [Observable(values[:, i], errors[:, i]) for i in range(size)]
    means = [torch.as_tensor(mean_at([name], masses)) for name in names]
    stds = [torch.full((1, 1), TRUE[name][2], dtype=torch.float64) for name in names]
    factor = torch.as_tensor(np.linalg.cholesky(CORRELATIONS[:size, :size]))
    found = log_correlated(observed, [mean.expand(4, -1) for mean in means], stds, factor)
    for i in range(4):
        full = covariance(names) + np.diag(errors[i] ** 2)
        expected = [multivariate_normal(mean_at(names, m), full).logpdf(values[i]) for m in masses]
        np.testing.assert_allclose(found[i].numpy(), expected, atol=1e-10)  # float64 round-off of up to some 1e3 nats


def test_scatter_without_correlation_is_the_product_of_both():
    values = np.random.default_rng(1).normal(2, 0.3, (3, 2))
    observed = [Observable(values[:, i], 0.05) for i in range(2)]
    means = [torch.rand(5, 3, 7, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in range(2)]
    stds = [torch.rand(5, 1, width, dtype=torch.float64) + 0.1 for width in (1, 7)]  # one changes with mass
    found = log_correlated(observed, means, stds, torch.eye(2, dtype=torch.float64).expand(5, 2, 2))
    expected = sum(one.log_likelihood(mean, std) for one, mean, std in zip(observed, means, stds, strict=True))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("size", "correlated"), [(2, True), (3, True), (2, False)])
def test_clusters_with_several_observables_agree_with_quadrature_over_mass(size, correlated):
    names = NAMES[:size]
    means, stds = np.array([13.95, 14.2, 14.3, 14.5, 14.7]), np.array([0.12, 0.12, 0.1, 0.1, 0.08])
    values = np.random.default_rng(2).normal([mean_at(names, mass) for mass in means], 0.1)
    posteriors, full = MassPosteriors.from_normal(means, stds, GRID), covariance(names, 0.05)
    full = full if correlated else np.diag(np.diag(full))
    found = problem_of(posteriors, values, names, correlated=correlated).terms(at_truth(names))["clusters"]

    def density(mass, i):
        likelihood = WIDTH * norm.pdf(mass, means[i], stds[i])  # the prior, 1 / WIDTH, is divided out
        observed = multivariate_normal(mean_at(names, mass), full).pdf(values[i])
        return likelihood * observed * norm.pdf(mass, 14.3, 0.25)

    expected = [np.log(quad(density, 13.2, 15.4, args=(i,), points=[means[i]])[0]) for i in range(5)]
    # the posteriors end 6 sigma inside the grid; the trapezoid rule on .025 dex is exact for a Gaussian of .06
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-7)


def test_the_correlation_of_two_observables_is_recovered():
    names = NAMES[:2]
    _true, posteriors, values = sample(250, seed=3, names=names, errors=0.03)
    population = Population(NormalMasses(), RELATIONS[:2], correlated=True)
    found = fit(
        population, clusters_of(posteriors, values, names, 0.03), counts=False, sampler=Laplace(num_samples=100, seed=1)
    )["posterior"]
    rho = found["correlation_sigma_richness"].values
    assert rho.std() < 0.15, "the data know more than the flat prior, .58"
    truth = {"correlation_sigma_richness": 0.6, "scatter_sigma": 0.06, "slope_richness": 0.9, "scatter_richness": 0.15}
    for name, true in truth.items():
        draws = found[name].values
        assert abs(draws.mean() - true) < 3 * draws.std(), name  # fails for 1 in 90 seeds, with four such


@dataclasses.dataclass(frozen=True)
class Known:
    """A sampler that returns the truth of two observables."""

    total: int = 0

    def draw(self, potential, start, progress=None):
        lines = [x for a, b, scatter in (TRUE[name] for name in NAMES[:2]) for x in (a, b, np.log(scatter))]
        position = torch.tensor([14.3, np.log(0.25), *lines, np.arctanh(0.6)], dtype=torch.float64)
        return Draws(position.expand(1, 8, -1), facts={"pareto_k": 0.0})


def test_masses_shrunk_by_correlated_observables_have_the_closed_form():
    """Precisions add: of the estimate, of the population, and b C^-1 b of the observables."""
    names, means = NAMES[:2], np.array([14.0, 14.3, 14.5])
    values = np.random.default_rng(7).normal([mean_at(names, mass) for mass in means], 0.1)
    population = Population(NormalMasses(), RELATIONS[:2], correlated=True)
    clusters = clusters_of(MassPosteriors.from_normal(means, 0.12, GRID), values, names)
    found = fit(population, clusters, counts=False, sampler=Known())
    np.testing.assert_allclose(found["posterior"]["correlation_sigma_richness"], 0.6, rtol=1e-9)
    slopes, weight = np.array([TRUE[name][1] for name in names]), np.linalg.inv(covariance(names, 0.05))
    precision = 1 / 0.12**2 + 1 / 0.25**2 + slopes @ weight @ slopes
    from_values = 14.3 * slopes @ weight @ slopes + (values - mean_at(names, 14.3)) @ weight @ slopes
    shrunk = shrink(found, population, clusters)
    # the posteriors end 6 sigma inside the grid; its quadrature does better
    np.testing.assert_allclose(shrunk.mean, (means / 0.12**2 + 14.3 / 0.25**2 + from_values) / precision, atol=1e-6)
    np.testing.assert_allclose(shrunk.std, precision**-0.5, rtol=1e-5)


# ---- values that are missing ----------------------------------------------------------------------------------------


def test_a_value_that_was_not_measured_says_nothing():
    observed = Observable(np.array([np.nan, 2.9]), np.array([np.nan, 0.05]), measured=np.array([False, True]))
    found = observed.log_likelihood(torch.linspace(2, 4, 5, dtype=torch.float64)[None], torch.tensor([[0.1]]).double())
    assert (found[0] == 0).all()
    assert (found[1] != 0).all()


@pytest.mark.parametrize("size", [1, 2])
def test_missing_values_of_a_quantity_of_any_size_say_nothing(size):
    """Values of order 10^9, half missing: with an error of 10^6 for those, a slope was -1.90 for -1.72."""
    names = NAMES[:size]
    _true, posteriors, values = sample(8, seed=8, names=names)
    measured = np.repeat(np.arange(8)[:, None] < 4, size, axis=1)
    found = problem_of(posteriors, 1e9 * values, names, errors=5e7, measured=measured)
    alone = Problem.from_clusters(Population(NormalMasses()), ObservedClusters(posteriors), None, counts=False)
    lines = {f"{part}_{name}" for part in ("intercept", "slope", "scatter") for name in names}
    parameters = {name: 1e9 * value if name in lines else value for name, value in at_truth(names).items()}
    terms, masses = (problem.terms(parameters)["clusters"] for problem in (found, alone))
    torch.testing.assert_close(terms[4:], masses[4:], rtol=0, atol=1e-12)  # float64 round-off
    same = problem_of(posteriors, values, names, measured=measured).terms(at_truth(names))["clusters"]
    torch.testing.assert_close(terms[:4], same[:4] - size * np.log(1e9), rtol=0, atol=1e-9)  # in another unit


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_missing_one_of_several_correlated_values_leaves_the_density_of_the_others(missing):
    _true, posteriors, values = sample(4, seed=4)
    values[:, missing], measured = 1e30, np.ones((4, 3), bool)
    measured[:, missing] = False
    found = problem_of(posteriors, values, measured=measured).terms(at_truth())["clusters"]
    keep = [i for i in range(3) if i != missing]
    names = [NAMES[i] for i in keep]
    matrix = CORRELATIONS[np.ix_(keep, keep)]
    relations = tuple(RELATIONS[i] for i in keep)
    population = Population(NormalMasses(), relations, correlated=True)
    clusters = clusters_of(posteriors, values[:, keep], names)
    parameters = at_truth() | doubles(**{CORRELATION: np.linalg.cholesky(matrix)})
    expected = Problem.from_clusters(population, clusters, None, counts=False).terms(parameters)["clusters"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)  # float64 round-off


def test_whatever_stands_in_place_of_a_missing_value_makes_no_difference():
    _true, posteriors, values = sample(6, seed=5)
    measured = np.random.default_rng(5).random((6, 3)) < 0.5
    totals = []
    for filling in (np.nan, -99.0, 1e12):
        filled = np.where(measured, values, filling)
        totals.append(float(problem_of(posteriors, filled, measured=measured).terms(at_truth())["clusters"].sum()))
    assert totals[0] == totals[1] == totals[2]


def test_missing_values_widen_the_errors_and_move_nothing():
    """With a third of the values the slope's error grows by the root of three, and the truth stays within it."""
    names = NAMES[:1]
    _true, posteriors, values = sample(300, seed=6, names=names)
    population = Population(NormalMasses(), RELATIONS[:1])
    measured = np.arange(300)[:, None] % 3 == 0
    stds = []
    for known in (None, measured):
        clusters = clusters_of(posteriors, values, names, measured=known)
        found = fit(population, clusters, counts=False, sampler=QUICK)["posterior"]
        slope = found["slope_sigma"].values
        stds.append(slope.std())
        assert abs(slope.mean() - 0.35) < 3 * slope.std()  # fails for 1 in 370 seeds, each
        assert abs(found["mass_width"].values.mean() - 0.25) < 3 * found["mass_width"].values.std()
    # 3 sigma: a standard deviation of 150 draws is good to 6 %, and the thirds of a sample differ by as much
    assert stds[1] / stds[0] == pytest.approx(np.sqrt(3), rel=0.25)


# ---- predictions ----------------------------------------------------------------------------------------------------


def test_predicted_values_have_the_mean_and_the_spread_and_none_where_none_was_measured():
    measured = np.array([True, False, True])
    observed = Observable(np.array([2.9, 0.0, 3.0]), np.array([0.05, 0.05, 0.2]), measured=measured)
    mean, std = torch.tensor([2.8, 2.9, 3.1]).double().expand(20_000, 3), torch.full((20_000, 3), 0.1).double()
    found = observed.predict(mean, std, torch.Generator().manual_seed(0)).numpy()
    assert np.isnan(found[:, 1]).all()
    spread = np.hypot(0.1, np.array([0.05, 0.2]))
    # four errors of the mean, spread / sqrt(20 000), and of the spread, a root of two less
    assert np.all(np.abs(found[:, [0, 2]].mean(0) - [2.8, 3.1]) < 4 * spread / np.sqrt(20_000))
    np.testing.assert_allclose(found[:, [0, 2]].std(0), spread, rtol=4 / np.sqrt(40_000))


# ---- clusters -------------------------------------------------------------------------------------------------------


def test_clusters_without_masses_are_known_by_their_observable_alone():
    """A flat posterior: the density of y is N(a + b (mu - p), b^2 w^2 + s^2 + e^2)."""
    values = np.array([2.8, 2.9, 3.0])
    clusters = ObservedClusters.without_masses({"sigma": Observable(values, 0.05)}, masses=(12.8, 15.8))
    assert len(clusters) == 3
    np.testing.assert_allclose(np.diff(clusters.posteriors.grid), 0.01, rtol=1e-9)
    problem = Problem.from_clusters(Population(NormalMasses(), RELATIONS[:1]), clusters, None, counts=False)
    found = problem.terms(at_truth(NAMES[:1]))["clusters"].numpy()
    spread = np.sqrt((0.35 * 0.25) ** 2 + 0.06**2 + 0.05**2)
    np.testing.assert_allclose(found, norm.logpdf(values, 2.9, spread), atol=1e-8)  # 6 widths on either side

"""Relations with outliers: the mixture against its formula, draws, selection, and recovery."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

from sbi_clustermass.population import (
    AboveCut,
    Laplace,
    NormalMasses,
    Observable,
    ObservedClusters,
    Population,
    Problem,
    ScalingRelation,
    Significance,
    Survey,
    fit,
)
from sbi_clustermass.population.model import CORRELATION
from sbi_clustermass.posterior import MassPosteriors

GRID = np.linspace(13.0, 15.6, 105)
RELATION = ScalingRelation("y", (2.8, 0.3), (0.3, 0.3), 0.2, outliers=(0.3, 0.5))
OTHER = ScalingRelation("x", (1.5, 0.3), (0.9, 0.3), 0.3, outliers=(0.2, 0.4))
SHARE, WIDE = 0.04, 0.5
QUICK = Laplace(num_samples=200, rounds=2, seed=1)


def at(**values):
    known = {"mass_mean": 14.3, "mass_width": 0.25, "intercept_y": 2.9, "slope_y": 0.35, "scatter_y": 0.06}
    known |= {"outlier_share_y": SHARE, "outlier_scatter_y": WIDE}
    return {name: torch.as_tensor(np.asarray(value, float)) for name, value in {**known, **values}.items()}


def test_each_cluster_is_the_mixture_by_quadrature_over_mass():
    means, y, error = np.array([14.0, 14.3, 14.6]), np.array([2.8, 3.5, 3.0]), 0.03
    clusters = ObservedClusters(MassPosteriors.from_normal(means, 0.1, GRID), observables={"y": Observable(y, error)})
    problem = Problem.from_clusters(Population(NormalMasses(), (RELATION,)), clusters, None, counts=False)
    found = problem.terms(at())["clusters"].numpy()

    def density(mass, i):
        mean, spreads = 2.9 + 0.35 * (mass - 14.3), (np.hypot(0.06, error), np.sqrt(0.06**2 + WIDE**2 + error**2))
        mixture = (1 - SHARE) * norm.pdf(y[i], mean, spreads[0]) + SHARE * norm.pdf(y[i], mean, spreads[1])
        return norm.pdf(mass, means[i], 0.1) * (GRID[-1] - GRID[0]) * norm.pdf(mass, 14.3, 0.25) * mixture

    expected = [np.log(quad(density, 13.0, 15.6, args=(i,), points=[means[i]], limit=200)[0]) for i in range(3)]
    np.testing.assert_allclose(found, expected, atol=1e-7)  # the trapezoid rule on .025 dex; posteriors end inside


def test_correlated_observables_are_outliers_each_on_its_own():
    rho, y, x, error = 0.6, np.array([2.9, 3.4]), np.array([1.6, 1.0]), 0.03
    clusters = ObservedClusters.without_masses({"y": Observable(y, error), "x": Observable(x, error)})
    population = Population(NormalMasses(), (RELATION, OTHER), correlated=True)
    problem = Problem.from_clusters(population, clusters, None, counts=False)
    parameters = at(intercept_x=1.6, slope_x=0.9, scatter_x=0.15, outlier_share_x=0.1, outlier_scatter_x=0.4)
    parameters[CORRELATION] = torch.linalg.cholesky(torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64))
    found = problem.log_block_observed(parameters, 0).numpy()
    for i, at_mass in product(range(2), (0, 130, 299)):
        mass, expected = clusters.posteriors.grid[at_mass], 0.0
        mean = [2.9 + 0.35 * (mass - 14.3), 1.6 + 0.9 * (mass - 14.3)]
        for in_y, in_x in product((False, True), repeat=2):
            weight = (SHARE if in_y else 1 - SHARE) * (0.1 if in_x else 0.9)
            scatter = np.array([np.hypot(0.06, WIDE * in_y), np.hypot(0.15, 0.4 * in_x)])
            covariance = np.outer(scatter, scatter) * [[1, rho], [rho, 1]] + error**2 * np.eye(2)
            expected += weight * multivariate_normal(mean, covariance).pdf([y[i], x[i]])
        assert found[i, at_mass] == pytest.approx(np.log(expected), abs=1e-10)  # float64 round-off


@pytest.mark.parametrize(
    ("cut", "exceeds"),
    [
        (AboveCut("y", 3.0, error=0.05), lambda mean, std: norm.sf(3.0, mean, np.hypot(std, 0.05))),
        (
            AboveCut("y", 5.0, kind=Significance),
            lambda mean, std: (
                Significance.log_exceeds(5.0, *(torch.tensor([[v]], dtype=torch.float64) for v in (mean, std)))
                .exp()
                .item()
            ),
        ),
    ],
)
def test_a_cut_selects_outliers_with_their_own_scatter(cut, exceeds):
    masses = np.linspace(13.5, 15.0, 4)
    found = cut.bind(masses, Survey.of_volume(1.0), {"y": RELATION})(at())[0].exp().numpy()
    means = 2.9 + 0.35 * (masses - 14.3)
    expected = [(1 - SHARE) * exceeds(mean, 0.06) + SHARE * exceeds(mean, np.hypot(0.06, WIDE)) for mean in means]
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # a Significance is tabulated in single steps of .01


def test_the_scatter_of_drawn_clusters_is_that_of_the_mixture():
    n = 40_000
    drawn = RELATION.draw_std(
        torch.full((n,), 0.06, dtype=torch.float64), at(), torch.Generator().manual_seed(1)
    ).numpy()
    assert set(np.round(drawn, 12)) == {0.06, round(float(np.hypot(0.06, WIDE)), 12)}
    assert abs((drawn > 0.1).mean() - SHARE) < 4 * np.sqrt(SHARE * (1 - SHARE) / n)  # fails for 1 seed in 15 000


def test_every_draw_has_its_own_mixture():
    masses, shape = np.linspace(13.5, 15.0, 4), (3, 2)
    parameters = {name: value.expand(shape).clone() for name, value in at().items()}
    parameters["outlier_share_y"][1, 1] = 0.2
    cut = AboveCut("y", 3.0).bind(masses, Survey.of_volume(1.0), {"y": RELATION})
    torch.testing.assert_close(cut(parameters)[1, 1], cut(at(outlier_share_y=0.2)))
    torch.testing.assert_close(cut(parameters)[0, 0], cut(at()))


@pytest.fixture(scope="module")
def contaminated():
    """600 clusters of a relation with scatter .06 and errors of .03, 18 of them .6 dex too high."""
    rng = np.random.default_rng(2)
    true = rng.normal(14.3, 0.25, 600)
    y = 2.9 + 0.35 * (true - 14.3) + np.hypot(0.06, 0.03) * rng.standard_normal(600)
    y[:18] += 0.6
    posteriors = MassPosteriors.from_normal(true + 0.12 * rng.standard_normal(600), 0.12, GRID)
    return ObservedClusters(posteriors, observables={"y": Observable(y, 0.03)})


def test_the_relation_is_recovered_from_a_sample_with_outliers(contaminated):
    found = {}
    for outliers in ((0.3, 0.5), None):
        population = Population(NormalMasses(), (replace(RELATION, outliers=outliers),))
        found[outliers] = fit(population, contaminated, counts=False, sampler=QUICK)
    truth, draws = {"intercept_y": 2.9, "slope_y": 0.35, "scatter_y": 0.06}, found[0.3, 0.5]["posterior"]
    for name, true in truth.items():
        assert abs(draws[name].values.mean() - true) < 3 * draws[name].values.std(), name  # 1 in 120 seeds, with three
    # all are on one side, which a component with the mean of the relation takes for 2 of its errors more
    assert abs(draws["outlier_share_y"].values.mean() - 0.03) < 3 * draws["outlier_share_y"].values.std()
    without = found[None]["posterior"]["scatter_y"].values
    assert (without.mean() - 0.06) / without.std() > 8, "the sample can tell"
    predicted = found[0.3, 0.5]["posterior_predictive"]["y"].values[0]
    residual = predicted - np.median(predicted, axis=0)
    # 3 % have a scatter of about .6, beyond six of the others' .12: two thirds of these
    assert 0.01 < (np.abs(residual) > 0.3).mean() < 0.04


@pytest.mark.parametrize("outliers", [(0.0, 0.5), (1.0, 0.5), (0.1, 0.0)])
def test_shares_and_widths_that_are_none_are_refused(outliers):
    with pytest.raises(ValueError, match=r"share of outliers|outlier_scatter"):
        replace(RELATION, outliers=outliers)

"""The likelihood of clusters in several shells: block by block, in any order, many draws at once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit

from sbi_clustermass.population import (
    KnownSelection,
    Laplace,
    NormalMasses,
    Observable,
    ObservedClusters,
    Population,
    Problem,
    ScalingRelation,
    Survey,
    fit,
    problem,
    shrink,
)
from sbi_clustermass.posterior import MassPosteriors

LINE = ScalingRelation("x", (1.0, 0.3), (0.3, 0.3), 0.2)
BENT = replace(LINE, observable="y", scatter_slope=(0.0, 0.3), evolution=(0.3, 0.2))


def shells_problem(rows=slice(None), *, correlated=False):
    """Eleven clusters with two observables in three shells."""
    rng = np.random.default_rng(2)
    means, redshift = rng.normal(14.4, 0.2, 11)[rows], rng.permutation(np.linspace(0.1, 0.69, 11))[rows]
    values, errors = (part[:, rows] for part in (rng.normal(1, 0.1, (2, 11)), rng.uniform(0.02, 0.1, (2, 11))))
    observables = {name: Observable(values[i], errors[i]) for i, name in enumerate("xy")}
    posteriors = MassPosteriors.from_normal(means, 0.12, np.linspace(12.9, 15.7, 57))
    selection = KnownSelection(lambda m: expit((m - 14.1) / 0.08), of_data=True)
    population = Population(relations=(LINE, BENT), selection=selection, correlated=correlated)
    clusters = ObservedClusters(posteriors, redshift, observables)
    return Problem.from_clusters(
        population, clusters, Survey.of_sky(1000, [0.1, 0.3, 0.5, 0.7], sample_variance=False), counts=True
    )


@pytest.mark.parametrize("correlated", [False, True])
def test_size_of_the_blocks_does_not_matter(monkeypatch, correlated):
    position = shells_problem(correlated=correlated).coordinates.centre + 0.1
    totals, numbers = [], []
    for at_once in (1, 3, 1000):
        monkeypatch.setattr(problem, "CLUSTERS_AT_ONCE", at_once)
        tabulated = shells_problem(correlated=correlated)
        numbers.append(len(tabulated.observed))
        totals.append(float(tabulated.potential(position)))
    assert numbers[0] == 11
    assert numbers[2] == 3
    np.testing.assert_allclose(totals, totals[0], rtol=1e-13)  # float64 round-off


def test_order_of_the_clusters_does_not_matter_and_each_counts_by_itself():
    order = np.random.default_rng(3).permutation(11)
    whole, shuffled = shells_problem(), shells_problem(order)
    parameters = whole.population.coordinates.parameters(whole.population.coordinates.centre + 0.1)
    terms = [problem.terms(parameters)["clusters"].numpy() for problem in (whole, shuffled)]
    found, other = (
        term[np.argsort(problem.likelihood.order)] for term, problem in zip(terms, (whole, shuffled), strict=True)
    )
    np.testing.assert_allclose(found[order], other, atol=1e-11)  # float64 round-off
    for i in range(11):
        alone = shells_problem([i]).terms(parameters)["clusters"]
        assert float(alone) == pytest.approx(found[i], abs=1e-11)


def test_many_draws_at_once_are_each_by_itself():
    problem = shells_problem(correlated=True)
    coordinates = problem.coordinates
    generator = torch.Generator().manual_seed(0)
    positions = coordinates.centre + 0.2 * torch.randn(2, 3, len(coordinates.centre), generator=generator).double()
    together = problem.terms(coordinates.parameters(positions))
    alone = problem.terms(coordinates.parameters(positions[1, 2]))
    assert together["clusters"].shape == (2, 3, 11)
    for name, term in together.items():
        torch.testing.assert_close(term[1, 2], alone[name])


@pytest.mark.parametrize("correlated", [False, True])
def test_gradient_of_the_potential_agrees_with_central_differences(correlated):
    problem = shells_problem(correlated=correlated)
    centre = problem.coordinates.centre
    position = centre + 0.1 * torch.sin(torch.arange(len(centre), dtype=torch.float64))
    found = torch.func.grad(problem.potential)(position)
    steps = 1e-5 * torch.eye(len(position), dtype=torch.float64)
    expected = torch.stack([problem.potential(position + e) - problem.potential(position - e) for e in steps]) / 2e-5
    assert torch.isfinite(found).all()
    # step^2 times third derivatives of some thousand, and round-off of 1e-12 / step
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-4)


@pytest.mark.filterwarnings("ignore:population fit")  # few draws on purpose
def test_results_are_in_the_clusters_order_whatever_their_shells():
    rng = np.random.default_rng(6)
    masses, redshift = np.linspace(13.7, 15.0, 9), rng.permutation(np.linspace(0.15, 0.6, 9))
    posteriors = MassPosteriors.from_normal(masses, 0.1, np.linspace(12.9, 15.7, 113))
    posteriors = replace(posteriors, names=tuple("abcdefghi"))
    values = 1 + 2 * (masses - 14.3)
    clusters = ObservedClusters(posteriors, redshift, {"x": Observable(values, 0.05)})
    relation = ScalingRelation("x", (1.0, 0.1), (2.0, 0.1), 0.1)
    population, survey = (
        Population(NormalMasses(), (relation,)),
        Survey.of_sky(1000, [0.1, 0.3, 0.5, 0.7], sample_variance=False),
    )
    found = fit(population, clusters, survey, counts=False, sampler=Laplace(num_samples=20))
    assert list(found["posterior_predictive"]["cluster"].values) == list("abcdefghi")
    predicted = found["posterior_predictive"]["x"].values[0].mean(axis=0)
    shrunk = shrink(found, population, clusters, survey)
    # neighbours are .16 dex and .33 of x apart; shrinkage is a few .01 dex, the mean of 20 predictions good to .05
    np.testing.assert_allclose(shrunk.mean, masses, atol=0.08)
    np.testing.assert_allclose(predicted, values, atol=0.16)

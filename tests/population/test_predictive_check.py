"""Counts of clusters in bins, observed against predicted: by mock surveys, sum rules, and models that are wrong."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from sbi_clustermass.population import (
    AboveCut,
    KnownSelection,
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
    predictive_check,
)
from sbi_clustermass.population.binned_counts import (
    _errors,
    expected_clusters,
    expected_in_mass,
    expected_in_observable,
    observed_in,
)
from sbi_clustermass.population.predictive import observed_counts
from sbi_clustermass.posterior import MassPosteriors
from tests.population.test_predictive import CUT, ERROR, GRID, RELATION, SCATTER, SURVEY, richness_survey

POPULATION = Population(relations=(RELATION,), selection=AboveCut("richness", CUT, ERROR))
QUICK = Laplace(num_samples=200, seed=1)


def at(population, **values):
    """Parameters at the centre of their priors, except those given, as one draw."""
    centre = population.coordinates.parameters(population.coordinates.centre)
    given = {name: torch.tensor(value).double() for name, value in values.items()}
    return {name: value[None] for name, value in {**centre, **given}.items()}


def test_expected_counts_are_those_of_many_mock_surveys():
    rich, heavy = np.array([1.4, 1.6, 1.8, 2.3]), np.array([13.5, 14.0, 14.3, 14.6, 15.3])
    found, n = [], 60
    for seed in range(n):
        true, clusters = richness_survey(seed)
        problem = Problem.from_clusters(POPULATION, clusters, SURVEY, counts=True)
        values = clusters.observables["richness"].observed_values
        found.append(np.hstack([observed_in(problem, values, rich), observed_in(problem, true, heavy)]))
    parameters = at(POPULATION, intercept_richness=1.5, slope_richness=0.8, scatter_richness=SCATTER)
    observable = clusters.observables["richness"]
    by_richness = expected_in_observable(problem, parameters, "richness", observable, rich)[0]
    expected = np.hstack([by_richness, expected_in_mass(problem, parameters, heavy)[0]])
    pulls = (np.mean(found, axis=0) - expected) / np.sqrt(expected / n)
    assert pulls.shape == (2, 7)
    assert np.abs(pulls).max() < 3.8  # 14 pulls: fails once in 500 seeds


KINDS = {
    "one error": (Observable(np.full(40, 1.9), ERROR), RELATION, AboveCut("richness", CUT, ERROR)),
    "split errors": (
        Observable(np.full(40, 1.9), [[0.1] * 40, [0.2] * 40]),
        RELATION,
        KnownSelection(np.ones_like, of_data=True),
    ),
    "outliers": (
        Observable(np.full(40, 1.9), ERROR),
        replace(RELATION, outliers=(0.1, 0.5)),
        AboveCut("richness", CUT, ERROR),
    ),
    "significance": (
        Significance(np.full(40, 6.0)),
        ScalingRelation("richness", (1.4, 0.1), (3.0, 0.1), 0.2),
        AboveCut("richness", 5.0, kind=Significance),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_counts_in_all_bins_of_an_observable_are_all_clusters(kind):
    observable, relation, selection = KINDS[kind]
    population = Population(relations=(relation,), selection=selection)
    posteriors = MassPosteriors.from_normal(np.full(40, 14.4), 0.1, GRID)
    clusters = ObservedClusters(posteriors, np.full(40, 0.15), {"richness": observable})
    problem = Problem.from_clusters(population, clusters, SURVEY, counts=True)
    parameters, edges = at(population), np.array([-20.0, 1.0, 1.7, 2.0, 5.5, 500.0])
    found = expected_in_observable(problem, parameters, "richness", observable, edges)
    # 32 errors, drawn to a precision of .0001 and narrower by a per cent, stand for a normal density of them
    np.testing.assert_allclose(found.sum(-1), expected_clusters(problem, parameters), rtol=2e-3)
    assert np.all(found >= 0)


def parts_of_a_normal(below, above):
    """Means of 32 equal parts of errors that are a Gaussian of width `below` with the chance of its share, or `above`.

    An observed value lies above the true one with probability below / (below + above), and then by the lower error.
    """

    def mean_up_to(level):
        """Integral of the quantile function."""
        turn = above / (below + above)
        place = np.where(level < turn, level / turn / 2, 0.5 + (level - turn) / (1 - turn) / 2)
        falling = -2 * turn * above * stats.norm.pdf(stats.norm.ppf(np.minimum(place, 0.5)))
        rising = 2 * (1 - turn) * below * (stats.norm.pdf(0) - stats.norm.pdf(stats.norm.ppf(np.maximum(place, 0.5))))
        return falling + rising

    return 32 * np.diff(mean_up_to(np.linspace(0, 1, 33)))


@pytest.mark.parametrize("n", [1, 100])
@pytest.mark.parametrize(("below", "above"), [(0.2, 0.2), (0.1, 0.3)])
def test_errors_have_the_closed_form_and_are_drawn_at_once_for_any_number_of_clusters(n, below, above, monkeypatch):
    calls, predict = [], Observable.predict
    monkeypatch.setattr(Observable, "predict", lambda *given: calls.append(1) or predict(*given))
    found = _errors(Observable(np.full(n, 1.9), [[below] * n, [above] * n]))
    assert len(calls) == 1
    # the outermost part has the largest error, .5 of the error over the root of its 6250 draws; five of these
    np.testing.assert_allclose(found, parts_of_a_normal(below, above), rtol=0, atol=0.032 * max(below, above))


def test_clusters_without_a_value_have_no_error():
    measured = np.arange(6) % 3 > 0
    some = Observable(np.full(6, 1.9), np.where(measured, 0.2, np.nan), measured=measured)
    np.testing.assert_allclose(_errors(some), parts_of_a_normal(0.2, 0.2), rtol=0, atol=0.032 * 0.2)


@pytest.mark.parametrize("deeper", [-0.2, 0.3])
def test_values_exclude_the_offset_of_their_field_whose_cut_is_lower(deeper):
    """A field in which observed values are larger, and are given without that, is one with a lower cut."""
    clusters, edges = richness_survey(1)[1], np.array([1.0, 1.3, 1.5, 1.8, 4.0])
    found = []
    for cut, offset in ((CUT, deeper), (CUT - deeper, 0.0)):
        survey = Survey.of_sky(300, (0.1, 0.2, 0.3), offsets={"richness": offset})
        population = replace(POPULATION, selection=AboveCut("richness", cut, ERROR))
        problem = Problem.from_clusters(population, clusters, survey, counts=True)
        observable = clusters.observables["richness"]
        found.append(expected_in_observable(problem, at(population), "richness", observable, edges))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_photometric_redshifts_move_clusters_between_shells_and_lose_none_of_those_expected():
    blurred = Survey.of_sky(300, (0.1, 0.2, 0.3), redshift_error=0.02)
    clusters = richness_survey(1)[1]
    problem = Problem.from_clusters(POPULATION, clusters, blurred, counts=True)
    parameters = at(POPULATION)
    expected = problem.expected_numbers(parameters).numpy()[0]
    assert len(blurred) == 4, "a shell of true redshifts on each side"
    for found in (
        expected_clusters(problem, parameters),
        expected_in_mass(problem, parameters, np.array([12.5, 16.0])).sum(-1),
        expected_in_observable(
            problem, parameters, "richness", clusters.observables["richness"], np.array([CUT, 20.0])
        ).sum(-1),
    ):
        assert found.shape == (1, 2)
        np.testing.assert_allclose(found[0], expected[1:3], rtol=2e-3)  # 32 errors stand for all


def test_lines_of_sight_of_one_cluster_count_once():
    names = ("a", "b", "b", "c", "c", "c")
    posteriors = replace(MassPosteriors.from_normal(np.full(6, 14.4), 0.1, GRID), names=names)
    clusters = ObservedClusters(posteriors, repeated="weight")
    problem = Problem.from_clusters(Population(), clusters, Survey.of_volume(1e7), counts=True)
    assert observed_in(problem, np.full(6, 14.4), np.array([14.0, 15.0])) == pytest.approx(3.0)
    assert list(observed_counts(problem)) == [3]


@pytest.fixture(scope="module")
def survey():
    return richness_survey(2)[1]


@pytest.fixture(scope="module")
def fitted(survey):
    return fit(POPULATION, survey, SURVEY, sampler=QUICK)


def test_bins_reach_as_far_as_the_predicted_values_do(fitted, survey):
    """Not only to the largest observed one, or the last bin would have a cluster by construction."""
    values = survey.observables["richness"].observed_values
    few = replace(survey, observables={"richness": Observable(np.minimum(values, CUT + 0.2), ERROR)})
    edges = predictive_check(fitted, POPULATION, few, SURVEY, of="richness").edges
    assert edges[0] == CUT
    assert edges[-1] > CUT + 0.4


@pytest.mark.parametrize("of", ["richness", "log10_mass"])
def test_a_right_model_passes(survey, fitted, of):
    check = predictive_check(fitted, POPULATION, survey, SURVEY, of=of)
    assert 0.01 < check.p < 0.99  # the seed is fixed; uniform or narrower over seeds
    table = check.table
    assert table.colnames == ["redshift", "low", "high", "observed", "predicted", "p16", "p84", "p"]
    assert table["observed"].sum() == pytest.approx(len(survey), rel=0.02)  # some masses lie outside the bins
    assert table["predicted"].sum() == pytest.approx(len(survey), rel=4 / np.sqrt(len(survey)))
    assert set(np.round(table["redshift"], 3)) == set(np.round(SURVEY.redshift, 3))
    assert str(check).startswith(f"{of}: deviance ")


def test_predicted_ranges_contain_poisson_noise_and_that_of_the_parameters(survey, fitted):
    check = predictive_check(fitted, POPULATION, survey, SURVEY, of="richness", edges=[CUT, 3.0], draws=200)
    poisson, of_parameters = check.expected.mean(0), check.expected.var(0)
    found = check.replicated.var(0)
    np.testing.assert_allclose(found, poisson + of_parameters, rtol=4 * np.sqrt(2 / 200))  # error of a variance


def test_a_wrong_model_is_found_out_by_its_counts():
    """Richness in two groups, where the model has one scatter."""
    true, clusters = richness_survey(3)
    values = clusters.observables["richness"].observed_values + np.where(np.arange(len(true)) % 2, 0.8, 0.0)
    wrong = replace(clusters, observables={"richness": Observable(values, ERROR)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = fit(POPULATION, wrong, SURVEY, sampler=QUICK)
    assert predictive_check(found, POPULATION, wrong, SURVEY, of="richness").p < 0.01


def test_without_counts_the_number_in_each_shell_is_the_observed_one():
    rng = np.random.default_rng(1)
    true = rng.normal(14.4, 0.2, 300)
    values = np.where(np.arange(300) % 3 == 0, np.nan, 1.5 + 0.8 * (true - 14.3) + 0.16 * rng.standard_normal(300))
    observable = Observable(np.nan_to_num(values), ERROR, measured=np.isfinite(values))
    posteriors = MassPosteriors.from_normal(true + 0.1 * rng.standard_normal(300), 0.1, GRID)
    clusters = ObservedClusters(posteriors, observables={"richness": observable})
    population = Population(NormalMasses(), (RELATION,))
    found = fit(population, clusters, counts=False, sampler=QUICK)
    check = predictive_check(found, population, clusters, of="richness", edges=np.linspace(-3, 5, 17))
    np.testing.assert_allclose(check.expected.sum(-1), 200, rtol=1e-3)
    assert np.all(check.replicated.sum(-1) == 200)
    assert 0.01 < check.p < 0.99


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"of": "lambda"}, "no observable 'lambda'. Choose from: log10_mass, richness"),
        ({"edges": [2.0, 1.0]}, "numbers that rise"),
        ({"edges": 1.0}, "numbers that rise"),
    ],
)
def test_what_cannot_be_counted_is_refused(survey, fitted, options, words):
    with pytest.raises(ValueError, match=words):
        predictive_check(fitted, POPULATION, survey, SURVEY, **{"of": "richness", **options})


def test_counts_of_an_observable_correlated_with_the_cut_are_refused(fitted, survey):
    other = replace(RELATION, observable="t")
    population = Population(relations=(RELATION, other), selection=POPULATION.selection, correlated=True)
    with pytest.raises(ValueError, match="correlated"):
        predictive_check(fitted, population, survey, SURVEY, of="t")

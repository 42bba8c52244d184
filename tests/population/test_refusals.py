"""Input that a fit and its clusters refuse, with messages that name the remedy."""

import dataclasses
import re
import warnings

import numpy as np
import pytest
import torch
from scipy.stats import norm

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
    Significance,
    Survey,
    fit,
)
from sbi_clustermass.population.validity import refuse_at_the_ends, refuse_mismatch, warn_of_some_outside
from sbi_clustermass.posterior import MassPosteriors

GRID = np.linspace(13.0, 15.8, 256)


def cut_on_data(log10_mass):
    return norm.cdf((log10_mass - 14.0) / 0.15)


BY_DATA = Population(selection=KnownSelection(cut_on_data, of_data=True))


# ---- fit -------------------------------------------------------------------------------------------------------------
def test_a_mass_function_that_does_not_evolve_is_refused_over_a_wide_range_of_redshift():
    posteriors = MassPosteriors.from_normal(np.full(4, 14.4), 0.1, GRID)
    clusters = ObservedClusters(posteriors, redshift=np.array([0.12, 0.17, 0.23, 0.28]))
    wide = Survey.of_sky(100, [0.1, 0.2, 0.3, 0.4])
    with pytest.raises(ValueError, match=r"span 0\.19 in redshift, and MassFunction does not evolve"):
        fit(Population(), clusters, wide)
    evolving = MassFunction(m_star_evolution=(-0.64, 0.5), density_evolution=(-0.91, 0.5))
    for masses, counts in ((evolving, True), (NormalMasses(), False)):
        how = {"counts": counts, "same_galaxies_allowed": False}
        refuse_mismatch(Population(masses), clusters, wide, **how)


def test_clusters_without_masses_are_not_taken_for_some_beyond_the_grid():
    x = 1.0 + 0.3 * (np.random.default_rng(1).normal(14.4, 0.2, 40) - 14.3)
    clusters = ObservedClusters.without_masses({"x": Observable(x, 0.05)})
    line = ScalingRelation("x", (1.0, 0.05), (0.3, 0.05), 0.1)
    refuse_at_the_ends(Problem.from_clusters(Population(NormalMasses(), (line,)), clusters, None, counts=False))


def test_survey_below_the_posteriors_support_is_refused_with_numbers_and_the_cure():
    posteriors = MassPosteriors.from_normal([14.2, 14.5], [0.1, 0.1], np.linspace(14.0, 15.6, 160))
    with pytest.raises(
        ValueError, match=r"below log10_mass 14\.00[\s\S]*richness cut[\s\S]*train the estimator on 13\.\d+"
    ):
        fit(BY_DATA, posteriors, Survey.of_volume(1e7, sample_variance=False))


def test_refusal_comes_at_one_percent_of_the_expected_clusters():
    """A hard floor placed at 0.9 % and at 1.1 % of the model's own expected clusters."""
    model, grid = MassFunction(), np.linspace(12.5, 16, 3501)
    at_centre = model.coordinates.parameters(model.coordinates.centre)
    log_phi = model.log_density(torch.as_tensor(grid), at_centre, torch.zeros(1))[0]
    expected = np.exp(log_phi.numpy()) * cut_on_data(grid)
    below = np.cumsum(expected) / expected.sum()
    floors = [np.interp(share, below, grid) for share in (0.009, 0.011)]
    accepted, refused = (MassPosteriors.from_normal([14.5], [0.1], np.linspace(low, 15.8, 200)) for low in floors)
    with pytest.raises(ValueError, match=r"1\.1% of the expected selected clusters .* centre of the model's priors"):
        fit(BY_DATA, refused, Survey.of_volume(1e6, sample_variance=False))
    # clusters that all lie near the floor make a steeper function than the prior's, with more below the floor
    steep = MassPosteriors.from_normal(np.full(60, floors[0] + 0.1), 0.05, accepted.grid)
    with pytest.raises(ValueError, match=r"outside .* fitted posterior mean"):
        fit(BY_DATA, steep, Survey.of_volume(1e6, sample_variance=False), sampler=Laplace(num_samples=20, rounds=1))


@pytest.mark.parametrize(("clusters", "warned"), [(20, False), (2000, True)])
def test_a_share_outside_that_a_small_survey_may_have_is_warned_of_in_a_large_one(clusters, warned):
    """.4 % outside: .1 of 20 clusters, with .2 allowed, and 8 of 2000, with 2.2."""
    model, grid = MassFunction(), np.linspace(12.5, 16, 3501)
    parameters = model.coordinates.parameters(model.coordinates.centre)
    log_phi = model.log_density(torch.as_tensor(grid), parameters, torch.zeros(1))[0]
    below = np.cumsum(np.exp(log_phi.numpy()) * cut_on_data(grid))
    floor = np.interp(0.004, below / below[-1], grid)
    posteriors = MassPosteriors.from_normal(np.full(clusters, 14.5), 0.1, np.linspace(floor, 15.8, 200))
    problem = Problem.from_clusters(
        BY_DATA, ObservedClusters(posteriors), Survey.of_volume(1e6, sample_variance=False), counts=True
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_some_outside(problem, clusters, parameters)
    assert [bool(re.search(r"\d of 2000 clusters are expected outside", str(each.message))) for each in caught] == (
        [True] if warned else []
    )


def test_an_estimator_that_leaks_is_refused_with_the_cure():
    posteriors = dataclasses.replace(MassPosteriors.from_normal([14.5], [0.1], GRID), leakage=0.03)
    with pytest.raises(ValueError, match=r"3\.0% of its probability outside[\s\S]*truncated=True"):
        fit(BY_DATA, posteriors, Survey.of_volume(1e6, sample_variance=False))


def test_counts_without_a_survey_are_refused():
    posteriors = MassPosteriors.from_normal([14.5], [0.1], GRID)
    with pytest.raises(ValueError, match=r"volume.*counts=False"):
        fit(BY_DATA, posteriors)
    with pytest.raises(ValueError, match=r"NormalMasses is no density per volume.*counts=False"):
        fit(Population(NormalMasses()), posteriors, Survey.of_volume(1e6, sample_variance=False))


@pytest.mark.parametrize("volume", [0.0, -1.0, np.nan, np.inf])
def test_impossible_volumes_are_refused(volume):
    with pytest.raises(ValueError, match="positive finite volume"):
        Survey.of_volume(volume, sample_variance=False)


# ---- observables -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "errors", "row"),
    [
        ([2.9, np.nan], 0.1, "nan ± 0.1 in row 1"),
        ([np.inf, 2.9], 0.1, "inf ± 0.1 in row 0"),
        ([2.9, 3.0], [0.1, -0.1], "3.0 ± -0.1 in row 1"),
        ([2.9, 3.0], [np.nan, 0.1], "2.9 ± nan in row 0"),
    ],
)
def test_values_and_errors_that_are_none_are_refused_by_row(values, errors, row):
    with pytest.raises(ValueError, match=rf"1 of 2 values are not finite, .*{row}[\s\S]*measured=False"):
        Observable(np.array(values), errors)


@pytest.mark.parametrize(
    "bad",
    [
        {"values": np.zeros((2, 2)), "errors": 0.1},
        {"values": np.float64(2.9), "errors": 0.1},
        {"values": np.zeros(3), "errors": np.ones(2)},
        {"values": np.zeros(3), "errors": 0.1, "measured": np.ones(2, bool)},
    ],
)
def test_shapes_that_do_not_fit_are_refused(bad):
    with pytest.raises(ValueError, match="one value a cluster, and one error for each or for all, or lower and upper"):
        Observable(**bad)


def test_observables_of_another_number_of_clusters_are_refused_by_name():
    posteriors = MassPosteriors.from_normal([14.1, 14.5], [0.1, 0.1], GRID)
    with pytest.raises(ValueError, match="3 values of 'sigma' for 2 mass posteriors"):
        ObservedClusters(posteriors, observables={"sigma": Observable(np.zeros(3), 0.1)})
    with pytest.raises(ValueError, match="3 values of 'xi' for 2 mass posteriors"):
        ObservedClusters.without_masses({"y": Observable(np.zeros(2), 0.1), "xi": Significance(np.full(3, 6.0))})


def test_clusters_of_which_nothing_is_known_are_refused():
    with pytest.raises(ValueError, match="need at least one observable"):
        ObservedClusters.without_masses({})


def test_correlated_scatter_with_a_significance_is_refused():
    posteriors = MassPosteriors.from_normal([14.1, 14.5], [0.1, 0.1], GRID)
    observables = {"sigma": Observable(np.full(2, 2.9), 0.1), "richness": Significance(np.array([5.0, 7.0]))}
    relations = [ScalingRelation(name, (2.0, 0.3), (0.4, 0.3), 0.2) for name in observables]
    population = Population(NormalMasses(), tuple(relations), correlated=True)
    with pytest.raises(ValueError, match="correlated scatter is for measured values; 'richness' is none"):
        fit(population, ObservedClusters(posteriors, observables=observables), counts=False)


def test_masses_beyond_the_grid_are_refused_without_counts_too():
    """Masses of 14.7 to 15.2 on a grid that ends at 14.5 gave a mean of 14.492 +- .002."""
    masses = np.linspace(14.7, 15.2, 100)
    posteriors = MassPosteriors.from_normal(masses, 0.1, np.linspace(13.0, 14.5, 151))
    with pytest.raises(
        ValueError, match=r"100% of the clusters are likeliest at an end of the posteriors' masses, 13.00 to 14.50"
    ):
        fit(Population(NormalMasses()), posteriors, counts=False, sampler=Laplace(num_samples=100, seed=1))


def test_whether_a_selection_is_of_the_data_must_be_said():
    with pytest.raises(TypeError, match="of_data"):
        KnownSelection(cut_on_data)  # pyright: ignore[reportCallIssue]


def test_the_same_cluster_twice_is_refused_or_weighted():
    """Copies of a survey, weighted, are the same evidence as the survey once; unweighted they would halve errors."""
    once = MassPosteriors.from_normal([14.0, 14.3, 14.8], 0.1, np.linspace(13.0, 15.6, 131))
    names = tuple(name for name in once.names for _ in range(4))
    copies = MassPosteriors.from_log_prob(once.grid, np.repeat(once.log_prob, 4, axis=0), names=names)
    with pytest.raises(ValueError, match="12 clusters have 3 names; '0' comes 4 times"):
        ObservedClusters(copies)
    survey = Survey.of_volume(1e6, sample_variance=False)
    found = []
    for clusters in (ObservedClusters(once), ObservedClusters(copies, repeated="weight")):
        problem = Problem.from_clusters(Population(), clusters, survey, counts=True)
        found.append([float(problem.potential(problem.coordinates.centre + shift)) for shift in (0.0, 0.1)])
    np.testing.assert_allclose(np.diff(found[0]), np.diff(found[1]), rtol=1e-10)  # float64 round-off

"""Wrong units, columns and types, as a new user gives them: refused or warned of, with what was found."""

import warnings

import numpy as np
import pytest

from sbi_clustermass.population import (
    AboveCut,
    KnownSelection,
    Laplace,
    MassFunction,
    NormalMasses,
    Observable,
    ObservedClusters,
    Population,
    ScalingRelation,
    Shell,
    Survey,
    fit,
)
from sbi_clustermass.posterior import MassPosteriors

POSTERIORS = MassPosteriors.from_normal(
    np.random.default_rng(1).normal(14.2, 0.25, 60), 0.15, np.linspace(12.8, 15.8, 256)
)
VALUES = np.random.default_rng(2).normal(2.9, 0.1, 60)
SURVEY, FAST = Survey.of_volume(1e6, sample_variance=False), Laplace(num_samples=50, rounds=1)
RELATION = ScalingRelation("log_sigma", (2.9, 0.2), (0.33, 0.1), 0.2)


def with_values(values, errors):
    return ObservedClusters(POSTERIORS, observables={"log_sigma": Observable(values, errors)})


def test_redshifts_that_are_not_finite_are_named_by_row():
    with pytest.raises(ValueError, match=r"1 of 60 redshifts .* first nan in row 3"):
        ObservedClusters(POSTERIORS, np.where(np.arange(60) == 3, np.nan, 0.1))
    with pytest.raises(ValueError, match=r"found shape \(59,\)"):
        ObservedClusters(POSTERIORS, np.full(59, 0.1))
    with pytest.raises(ValueError, match=r"lies in 0 of 2 shells, which reach from redshift 0\.1 to 0\.3"):
        Survey.of_sky(100, [0.1, 0.2, 0.3]).place(np.full(4, 0.35), 4)
    with pytest.raises(ValueError, match="redshift of at least 0, found"):
        Survey((Shell(np.nan, 1e6),))


def test_parts_of_the_sky_that_differ_name_what_differs():
    parts = Survey.of_sky(100, [0.1, 0.2]), Survey.of_sky(100, [0.1, 0.2], sample_variance=False)
    with pytest.raises(ValueError, match=r"must have one sample_variance, found \{(True, False|False, True)\}"):
        Survey.joined(*parts)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((Population(), VALUES, SURVEY), "clusters is a ndarray"),
        ((POSTERIORS, POSTERIORS, SURVEY), "population is a MassPosteriors"),
        ((Population(), POSTERIORS, 1e6), r"survey is a float[\s\S]*Survey.of_volume"),
        ((Population(selection=np.tanh), POSTERIORS, SURVEY), "population.selection is a ufunc"),
    ],
)
def test_arguments_of_other_types_are_refused_by_name(arguments, words):
    with pytest.raises(TypeError, match=words):
        fit(*arguments)
    with pytest.raises(TypeError, match="sampler is the class Laplace"):
        fit(Population(), POSTERIORS, SURVEY, sampler=Laplace)
    with pytest.raises(TypeError, match=r"'y' is a ndarray[\s\S]*Observable"):
        ObservedClusters(POSTERIORS, observables={"y": VALUES})


@pytest.mark.parametrize("prior", [-1.9, (-1.9,), "flat", None])
def test_a_prior_that_is_not_two_numbers_is_refused_by_name(prior):
    with pytest.raises(ValueError, match="MassFunction: the prior of alpha needs two finite numbers, got"):
        MassFunction(alpha=prior)


def test_masses_that_are_not_logs_are_no_range_of_masses():
    with pytest.raises(ValueError, match="mass_range must rise from 0 to at most 20"):
        Population(mass_range=(1e13, 1e16))


def test_clusters_below_the_cut_that_selected_them_are_refused():
    population = Population(relations=(RELATION,), selection=AboveCut("log_sigma", 2.9))
    with pytest.raises(ValueError, match=rf"cuts at log_sigma > 2.9, but {(VALUES < 2.9).sum()} of 60"):
        fit(population, with_values(VALUES, 0.02), SURVEY)


def test_a_volume_in_other_units_contradicts_the_prior_of_the_density_and_the_right_one_does_not():
    """60 clusters above 10^13.8 in (1 Gpc/h)^3 given as 1: a density nine widths above its prior."""
    rise = Population(selection=KnownSelection(lambda m: 1 / (1 + np.exp(-(m - 13.8) / 0.05)), of_data=False))
    with pytest.warns(UserWarning, match=r"contradict the priors, .* log10_density \d"):
        fit(rise, POSTERIORS, Survey.of_volume(1e-3, sample_variance=False), sampler=FAST)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        fit(rise, POSTERIORS, Survey.of_volume(2e6, sample_variance=False), sampler=FAST)
    assert not [one for one in found if "contradict" in str(one.message)]


def test_values_exchanged_with_their_errors_are_warned_of():
    population = Population(NormalMasses(), (RELATION,))
    with pytest.warns(UserWarning, match=r"errors of log_sigma are 2\.\d+, but its values, .* scatter by"):
        fit(population, with_values(np.full(60, 0.02), VALUES), counts=False, sampler=FAST)


def test_clusters_far_from_the_redshift_of_a_given_volume_are_warned_of():
    clusters = ObservedClusters(POSTERIORS, np.full(60, 0.5))
    with pytest.warns(UserWarning, match=r"60 of 60 clusters lie more than 0\.1 from redshift 0\.117"):
        fit(Population(NormalMasses()), clusters, SURVEY, counts=False, sampler=FAST)

"""Observables from the galaxies of the mass posteriors: refused, calibrated on mocks, or recorded."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from sbi_clustermass.population import (
    JointCalibration,
    Laplace,
    NormalMasses,
    Observable,
    ObservedClusters,
    Population,
    Problem,
    ScalingRelation,
    fit,
)
from sbi_clustermass.posterior import MassPosteriors

GRID = np.linspace(12.9, 15.7, 113)
MASS_ERROR, SCATTER, ERROR, RHO = 0.12, 0.05, 0.05, 0.7
SPREAD = np.hypot(SCATTER, ERROR)  # of y at fixed mass
COUPLING = RHO * SPREAD / MASS_ERROR
RELATION = ScalingRelation("log_sigma", intercept=(2.9, 0.3), slope=(0.35, 0.3), scatter=0.2, pivot=14.3)
QUICK = Laplace(num_samples=100, rounds=2, seed=1)
EXACT = JointCalibration(COUPLING, RHO, (0.0, 0.0, 0.0, 0.0), 14.3)


def toy(n, seed):
    """True masses, posteriors, and y; mass estimate and y have errors of correlation RHO, from the same galaxies."""
    rng = np.random.default_rng(seed)
    true = rng.normal(14.3, 0.25, n)
    cross = RHO * MASS_ERROR * SPREAD
    noise = rng.multivariate_normal([0, 0], [[MASS_ERROR**2, cross], [cross, SPREAD**2]], n)
    posteriors = MassPosteriors.from_normal(true + noise[:, 0], MASS_ERROR, GRID)
    return true, posteriors, 2.9 + 0.35 * (true - 14.3) + noise[:, 1]


def clusters_of(posteriors, values, **how):
    observable = Observable(values, ERROR, same_galaxies=True, **how)
    return ObservedClusters(posteriors, observables={"log_sigma": observable})


POPULATION = Population(NormalMasses(), (RELATION,))


# ---- the formula ----------------------------------------------------------------------------------------------------


def test_mass_posterior_and_calibrated_observable_are_together_a_bivariate_normal_at_each_mass():
    """p(m_hat | m) p(y | m_hat, m), with an estimate whose bias is a polynomial of mass."""
    calibration = JointCalibration(COUPLING, RHO, (0.02, -0.1, 0.03, 0.01), 14.2)
    point, values, masses = np.array([14.1, 14.6]), np.array([2.8, 3.05]), np.linspace(13.6, 15.1, 7)
    observable = Observable(values, ERROR, same_galaxies=True, calibration=calibration)
    chosen = observable.select(np.arange(2), point, masses)
    mean = 2.9 + 0.35 * (masses - 14.3)
    scatter = torch.tensor([[SCATTER]], dtype=torch.float64)
    found = chosen.log_likelihood(torch.as_tensor(np.tile(mean, (2, 1))), scatter).numpy()
    d = masses - 14.2
    estimate = masses + 0.02 - 0.1 * d + 0.03 * d**2 + 0.01 * d**3
    cross = RHO * MASS_ERROR * SPREAD
    for i in range(2):
        pairs = [
            multivariate_normal(at, [[MASS_ERROR**2, cross], [cross, SPREAD**2]])
            for at in zip(estimate, mean, strict=True)
        ]
        joint = [pair.logpdf([point[i], values[i]]) for pair in pairs]
        expected = joint - norm.logpdf(point[i], estimate, MASS_ERROR)
        np.testing.assert_allclose(found[i], expected, atol=1e-10)  # float64 round-off


def test_clusters_of_a_gaussian_population_have_the_closed_form():
    """Estimate and y are bivariate normal over the clusters, and their covariance has that of the noise in it."""
    _true, posteriors, values = toy(30, seed=1)
    clusters = clusters_of(posteriors, values, calibration=EXACT)
    at = {"mass_mean": 14.3, "mass_width": 0.25, "intercept_log_sigma": 2.9, "slope_log_sigma": 0.35}
    at |= {"scatter_log_sigma": SCATTER}
    parameters = {name: torch.tensor(value, dtype=torch.float64) for name, value in at.items()}
    found = Problem.from_clusters(POPULATION, clusters, None, counts=False).terms(parameters)["clusters"].numpy()
    cross = 0.35 * 0.25**2 + RHO * MASS_ERROR * SPREAD
    full = [[0.25**2 + MASS_ERROR**2, cross], [cross, (0.35 * 0.25) ** 2 + SPREAD**2]]
    pairs = np.column_stack([posteriors.mean, values])
    expected = multivariate_normal([14.3, 2.9], full).logpdf(pairs) + np.log(GRID[-1] - GRID[0])
    inside = np.abs(posteriors.mean - 14.3) < 0.6  # else a posterior is cut off by the grid within 6 sigma
    assert inside.sum() > 25
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-6)  # trapezoid, and 6 sigma


def test_some_of_the_clusters_keep_their_own_shift():
    _true, posteriors, values = toy(8, seed=2)
    observable = Observable(values, np.linspace(0.01, 0.08, 8), same_galaxies=True, calibration=EXACT)
    mean, std = torch.full((8, GRID.size), 2.9).double(), torch.tensor([[0.05]]).double()
    whole = observable.select(np.arange(8), posteriors.mean, GRID).log_likelihood(mean, std)
    rows = np.array([5, 2, 7])
    some = observable.select(rows, posteriors.mean, GRID).log_likelihood(mean[:3], std)
    torch.testing.assert_close(some, whole[rows], rtol=0, atol=1e-13)


# ---- measured on mocks ----------------------------------------------------------------------------------------------


def test_coupling_correlation_and_bias_are_measured_on_mocks():
    true, posteriors, values = toy(4000, seed=3)
    found = JointCalibration.from_mocks(posteriors, true, values)
    # three errors of a correlation, (1 - rho^2) / sqrt(n), and of a slope, spread sqrt(1 - rho^2) / (error sqrt(n))
    assert abs(found.correlation - RHO) < 3 * (1 - RHO**2) / np.sqrt(4000)
    assert abs(found.coupling - COUPLING) < 3 * SPREAD * np.sqrt(1 - RHO**2) / (MASS_ERROR * np.sqrt(4000))
    assert found.narrowing == pytest.approx(np.sqrt(1 - found.correlation**2))
    assert np.abs(found.shift(np.array([14.3]), np.array([14.3]))).max() < 0.005  # no bias: 3 errors of some .002 dex


def test_a_bias_that_is_a_polynomial_of_mass_is_found():
    rng = np.random.default_rng(4)
    true = rng.uniform(13.8, 14.9, 500)
    bias = 0.05 - 0.2 * (true - 14.3) + 0.1 * (true - 14.3) ** 2
    posteriors = MassPosteriors.from_normal(true + bias, 0.05, np.linspace(13, 15.7, 271))
    values = 2.9 + 0.35 * (true - 14.3) + 0.05 * rng.standard_normal(500)
    found = JointCalibration.from_mocks(posteriors, true, values)
    at = np.array([14.0, 14.7])
    mean = np.polynomial.polynomial.polyval(at - found.pivot, found.coefficients)
    np.testing.assert_allclose(mean, 0.05 - 0.2 * (at - 14.3) + 0.1 * (at - 14.3) ** 2, atol=1e-5)  # of posterior means


# ---- fits -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample():
    return toy(500, seed=5)


def test_scatter_is_recovered_with_a_calibration_from_mocks(sample):
    _true, posteriors, values = sample
    mock_true, mock_posteriors, mock_values = toy(2000, seed=6)
    calibration = JointCalibration.from_mocks(mock_posteriors, mock_true, mock_values)
    found = fit(POPULATION, clusters_of(posteriors, values, calibration=calibration), counts=False, sampler=QUICK)
    assert "consistency_check" not in found.attrs
    truth = {"scatter_log_sigma": SCATTER, "slope_log_sigma": 0.35, "intercept_log_sigma": 2.9, "mass_width": 0.25}
    for name, true in truth.items():
        draws = found["posterior"][name].values
        assert abs(draws.mean() - true) < 3 * draws.std(), name  # fails for 1 in 90 seeds, with four such


def test_without_a_calibration_the_scatter_is_wrong_and_the_result_says_what_it_is(sample):
    _true, posteriors, values = sample
    clusters = clusters_of(posteriors, values)
    found = fit(POPULATION, clusters, counts=False, sampler=QUICK, same_galaxies_allowed=True)
    assert found.attrs["consistency_check"] == "same galaxies as the masses: log_sigma"
    scatter, slope = (found["posterior"][f"{name}_log_sigma"].values for name in ("scatter", "slope"))
    assert SCATTER - scatter.mean() > 3 * scatter.std(), "what both share passes for agreement"
    assert slope.mean() - 0.35 > 3 * slope.std()


def test_same_galaxies_without_a_calibration_are_refused_with_three_cures(sample):
    _true, posteriors, values = sample
    with pytest.raises(
        ValueError,
        match=r"'log_sigma' was measured from the galaxies that the mass posteriors have seen[\s\S]*"
        r"JointCalibration.from_mocks[\s\S]*other data[\s\S]*same_galaxies_allowed=True",
    ):
        fit(POPULATION, clusters_of(posteriors, values), counts=False)


@pytest.mark.filterwarnings("ignore:population fit")  # few draws on purpose
def test_observables_from_other_data_need_nothing(sample):
    _true, posteriors, values = sample
    clusters = ObservedClusters(posteriors[:20], observables={"log_sigma": Observable(values[:20], ERROR)})
    assert "consistency_check" not in fit(POPULATION, clusters, counts=False, sampler=Laplace(8)).attrs


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_a_calibration_with_correlated_scatter_is_refused(sample):
    _true, posteriors, values = sample
    observables = {name: Observable(values, ERROR, same_galaxies=True, calibration=EXACT) for name in ("x", "y")}
    relations = tuple(dataclasses.replace(RELATION, observable=name) for name in observables)
    population = Population(NormalMasses(), relations, correlated=True)
    with pytest.raises(ValueError, match="'x' has a joint calibration, which excludes correlated scatter"):
        fit(population, ObservedClusters(posteriors, observables=observables), counts=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda true, values: (true[:-1], values), "100 posteriors, 99 masses and 100 values"),
        (lambda true, values: (true, values[:-1]), "100 posteriors, 100 masses and 99 values"),
        (lambda true, values: (np.where(true > 14.3, np.nan, true), values), r"100 posteriors, \d\d masses and 100"),
        (lambda true, values: (true, np.where(true > 14.3, np.inf, values)), r"100 posteriors, 100 masses and \d\d v"),
    ],
)
def test_mocks_that_do_not_fit_together_are_refused_with_numbers(change, words):
    true, posteriors, values = toy(100, seed=7)
    with pytest.raises(ValueError, match=f"needs 50 clusters or more with finite masses and values; found {words}"):
        JointCalibration.from_mocks(posteriors, *change(true, values))


def test_too_few_mocks_are_refused():
    true, posteriors, values = toy(49, seed=8)
    with pytest.raises(ValueError, match=r"needs 50 clusters or more .* found 49 posteriors, 49 masses and 49 values"):
        JointCalibration.from_mocks(posteriors, true, values)

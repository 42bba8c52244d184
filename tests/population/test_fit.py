"""Injection and recovery of a mass function, and what the result holds."""

import warnings
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm

from sbi_clustermass.population import (
    NUTS,
    SVI,
    KnownSelection,
    Laplace,
    NormalMasses,
    ObservedClusters,
    Population,
    Problem,
    Survey,
    fit,
    mass_function_band,
    shrink,
)
from sbi_clustermass.population.sampling import Draws
from sbi_clustermass.posterior import MassPosteriors
from tests.population.threshold import UncertainThreshold

GRID = np.linspace(13.0, 15.8, 256)
ERROR = 0.15  # dex
ALPHA, BETA, LOG10_M_STAR = -1.7, 0.8, 14.1
SLOPE = ALPHA + 1 - BETA * 10 ** (BETA * (14.3 - LOG10_M_STAR))
QUICK = NUTS(num_samples=75, num_warmup=40, num_chains=2, seed=1)


class MockSurvey(NamedTuple):
    true: np.ndarray  # log10_mass [dex]
    observed: np.ndarray  # with error [dex]
    posteriors: MassPosteriors
    survey: Survey


def mass_function(log10_mass):
    x = 10 ** (log10_mass - LOG10_M_STAR)
    return 1e-5 * x ** (ALPHA + 1) * np.exp(-(x**BETA))


def haloes(n, rng):
    """n log10 masses between 12.5 and 16, by the inverse cumulative mass function, and the volume they fill."""
    grid = np.linspace(12.5, 16.0, 20_001)
    density = mass_function(grid)
    cumulative = np.append(0, np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(grid)))
    return np.interp(rng.random(n), cumulative / cumulative[-1], grid), n / cumulative[-1]


def lost_by_chance(log10_mass):
    """A survey's P(selected | mass) that does not look at the mass estimate."""
    return expit((log10_mass - 14.0) / 0.12)


BY_CHANCE = Population(selection=KnownSelection(lost_by_chance, of_data=False))


def smooth_survey(n_selected, seed):
    """Clusters kept with a probability that depends on true mass only."""
    rng = np.random.default_rng(seed)
    masses, volume = haloes(50 * n_selected, rng)
    kept = np.flatnonzero(rng.random(masses.size) < lost_by_chance(masses))[:n_selected]
    volume *= (kept[-1] + 1) / masses.size  # stop the survey once it is full
    observed = masses[kept] + ERROR * rng.standard_normal(n_selected)
    posteriors = MassPosteriors.from_normal(observed, ERROR, GRID)
    return MockSurvey(masses[kept], observed, posteriors, Survey.of_volume(volume, sample_variance=False))


def cut_on_data(log10_mass):
    return norm.cdf((log10_mass - 14.0) / ERROR)


BY_DATA = Population(selection=KnownSelection(cut_on_data, of_data=True))


def cut_survey(n_expected, seed):
    """Clusters kept if their estimate exceeds 10^14: a cut on the data themselves leaves likelihoods alone."""
    rng = np.random.default_rng(seed)
    masses, volume = haloes(30 * n_expected, rng)
    observed = masses + ERROR * rng.standard_normal(masses.size)
    kept = observed > 14.0
    posteriors = MassPosteriors.from_normal(observed[kept], ERROR, GRID)
    return MockSurvey(masses[kept], observed[kept], posteriors, Survey.of_volume(volume, sample_variance=False))


def naive_slope(observed):
    """Straight line through the log histogram of mass estimates within 0.4 dex of the pivot: slope, error."""
    counts, edges = np.histogram(observed, np.linspace(13.9, 14.7, 9))
    centres = 0.5 * (edges[1:] + edges[:-1])
    line, covariance = np.polyfit(centres, np.log10(counts), 1, w=np.sqrt(counts) * np.log(10), cov="unscaled")
    return line[0], np.sqrt(covariance[0, 0])


@pytest.fixture(scope="module")
def mock():
    return smooth_survey(400, seed=2)


@pytest.fixture(scope="module")
def fitted(mock):
    return fit(BY_CHANCE, mock.posteriors, mock.survey, sampler=QUICK)


def test_slope_and_density_are_recovered_where_a_histogram_is_biased(mock, fitted):
    slope = fitted["posterior"]["slope"].values
    density = fitted["posterior"]["log10_density"].values
    assert abs(slope.mean() - SLOPE) < 3 * slope.std()  # fails for 1 in 370 seeds
    assert abs(density.mean() - np.log10(mass_function(14.3))) < 3 * density.std()
    naive, error = naive_slope(mock.observed)
    assert naive - SLOPE > 3 * error  # scatter and selection flatten the histogram


@pytest.mark.parametrize(
    "sampler", [SVI(steps=200, particles=1, seed=1), Laplace(num_samples=400, seed=1)], ids=["svi", "laplace"]
)
def test_approximations_agree_with_nuts(mock, fitted, sampler):
    found = fit(BY_CHANCE, mock.posteriors, mock.survey, sampler=sampler)["posterior"]
    for name in ("slope", "log10_density"):
        one, other = found[name].values, fitted["posterior"][name].values
        # half a sigma: some 75 independent draws give .12, and the posterior is not quite Gaussian
        assert abs(one.mean() - other.mean()) < 0.5 * other.std()
        assert one.std() == pytest.approx(other.std(), rel=0.35)


def test_result_holds_the_likelihood_it_was_drawn_from(mock, fitted):
    problem = Problem.from_clusters(BY_CHANCE, ObservedClusters(mock.posteriors), mock.survey, counts=True)
    draw = fitted["posterior"].isel(chain=1, draw=7)
    names = ("log10_m_star", "alpha", "beta", "log10_density")
    parameters = {name: torch.tensor(draw[name].item(), dtype=torch.float64) for name in names}
    log_rate, log_selected = problem.log_rate(parameters), problem.log_selected(parameters)
    expected = float(problem.likelihood.log_clusters(log_rate + log_selected).sum())
    selected = (log_rate + log_selected).exp().numpy()[0]
    expected -= np.trapezoid(selected, problem.likelihood.log10_mass.numpy())
    stored = fitted["log_likelihood"].isel(chain=1, draw=7)
    assert stored["clusters"].sum().item() + stored["count"].item() == pytest.approx(expected, abs=1e-8)
    assert fitted["posterior"]["slope"].shape == (2, 75)
    assert fitted["sample_stats"]["diverging"].shape == (2, 75)
    assert list(fitted["constant_data"]["cluster"].values) == list(mock.posteriors.names)


def test_result_predicts_the_number_of_clusters(fitted):
    number = fitted["posterior_predictive"]["n_selected"].values
    # Poisson about the expected number, itself known to 5 %: mean within 4 errors of 400
    assert abs(number.mean() - 400) < 4 * np.sqrt(400)
    assert number.std() > 0.8 * np.sqrt(400)
    prior = fitted["prior_predictive"]["n_selected"].values
    assert np.log10(prior).std() > 0.5  # the amplitude's prior is a factor of ten wide
    assert set(fitted["prior"].data_vars) == {"log10_m_star", "alpha", "beta", "log10_density", "slope"}


def test_band_brackets_the_truth_where_the_clusters_are(fitted):
    masses = np.array([14.1, 14.3, 14.6])
    low, median, high = mass_function_band(fitted, masses)
    assert np.all((low < median) & (median < high))
    # 3 sigma on each side, for three correlated masses: fails for under 1 in 100 seeds
    assert np.all(np.abs(np.log(median / mass_function(masses))) < 3 * np.log(high / low) / 2)
    at_pivot = 10 ** np.percentile(fitted["posterior"]["log10_density"].values, [16, 50, 84])
    np.testing.assert_allclose(
        [low[1], median[1], high[1]], at_pivot, rtol=1e-4
    )  # percentiles interpolate between draws


def test_a_band_needs_a_fit():
    import arviz

    with pytest.raises(ValueError, match="no record"):
        mass_function_band(arviz.from_dict(posterior={"slope": np.zeros((1, 5))}), GRID)


def test_shrinkage_moves_masses_towards_the_truth_and_keeps_them_calibrated(mock, fitted):
    found = shrink(fitted, BY_CHANCE, mock.posteriors, mock.survey)
    assert found.names == mock.posteriors.names
    before, after = (np.abs(each.mean - mock.true) for each in (mock.posteriors, found))
    assert np.sqrt(np.mean(after**2)) < np.sqrt(np.mean(before**2))
    assert abs((found.mean - mock.true).mean()) < 3 * (found.mean - mock.true).std() / 20  # 400 clusters
    inside = np.abs(found.pit(mock.true) - 0.5) < 0.34
    assert abs(inside.mean() - 0.68) < 3 * np.sqrt(0.68 * 0.32 / 400)


def test_shrinkage_at_a_known_population_is_bayes_rule():
    """Gaussian errors on a Gaussian population: precisions add, means are weighted by them."""
    population = Population(NormalMasses(mean=(14.3, 1e-4), width=1e-4))
    rng = np.random.default_rng(0)
    observed = rng.normal(14.3, 0.2, 50)
    posteriors = MassPosteriors.from_normal(observed, 0.15, GRID)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        idata = fit(population, posteriors, counts=False, sampler=Laplace(num_samples=8))
    idata["posterior"]["mass_mean"][:], idata["posterior"]["mass_width"][:] = 14.3, 0.2
    found = shrink(idata, population, posteriors)
    precision = 1 / 0.15**2 + 1 / 0.2**2
    np.testing.assert_allclose(found.mean, (observed / 0.15**2 + 14.3 / 0.2**2) / precision, atol=1e-4)  # grid's ends
    np.testing.assert_allclose(found.std, precision**-0.5, rtol=1e-3)


def test_fit_without_counts_needs_no_volume_and_leaves_the_amplitude_at_its_prior(mock):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few draws on purpose
        result = fit(BY_CHANCE, mock.posteriors, counts=False, sampler=Laplace(num_samples=100, seed=0))
    density = result["posterior"]["log10_density"].values
    assert 0.5 < density.std() < 1.6  # prior 1.0; 4 sigma of the standard deviation of some 40 independent draws
    assert "count" not in result["log_likelihood"]


def test_an_uncertain_selection_is_inferred_with_the_mass_function():
    """Threshold and width as parameters with priors about the truth: both come out, and the slope with them."""
    mock = smooth_survey(1500, seed=4)
    width = 0.12 * np.pi / np.sqrt(3)  # of a logistic curve; a normal one of the same variance is within .02 of it
    selection = UncertainThreshold(threshold=(14.1, 0.1), width=(width, 0.2), of_data=False)
    found = fit(Population(selection=selection), mock.posteriors, mock.survey, sampler=Laplace())["posterior"]
    threshold = found["selection_threshold"].values
    assert threshold.std() < 0.09, "the data know more than the prior"
    assert abs(threshold.mean() - 14.0) < 3.5 * threshold.std()  # the curves differ by .02, a tenth of this
    assert abs(found["slope"].values.mean() - SLOPE) < 3.5 * found["slope"].values.std()


# ---- warnings -------------------------------------------------------------------------------------------------------


def test_too_few_effective_draws_are_warned_of_with_numbers():
    few = MassPosteriors.from_normal([14.2, 14.5], [0.1, 0.1], GRID)
    with pytest.warns(UserWarning, match=r"\d+ effective draws \(at least 100\)"):
        fit(BY_CHANCE, few, Survey.of_volume(1e5, sample_variance=False), sampler=NUTS(10, 10, 1))


class HeavyTailed:
    """Draws by weights without a variance."""

    total = 8

    def draw(self, potential, start, progress=None):
        return Draws(start.expand(1, 8, -1), facts={"pareto_k": 0.83, "effective_draws": 40.0})


def test_an_approximation_that_does_not_fit_is_warned_of_with_numbers():
    few = MassPosteriors.from_normal([14.2, 14.5], [0.1, 0.1], GRID)
    message = r"Pareto k is 0\.83 \(at most 0\.7\); 40 draws are effective \(at least 100\)\. Sample with NUTS"
    with pytest.warns(UserWarning, match=message):
        fit(BY_CHANCE, few, counts=False, sampler=HeavyTailed())


# ---- slow -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_slope_is_unbiased_over_many_surveys_cut_on_their_own_data():
    pulls = []
    for seed in range(12):
        mock = cut_survey(600, seed)
        sampler = NUTS(num_samples=250, num_warmup=100, num_chains=1, seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            slope = fit(BY_DATA, mock.posteriors, mock.survey, sampler=sampler)["posterior"]["slope"].values
        pulls.append((SLOPE - slope.mean()) / slope.std())
    # mean of 12 unit pulls within 3 / sqrt(12) (fails 1 in 370), their spread within its 99.9 % range of chi^2 (12)
    assert abs(np.mean(pulls)) < 3 / np.sqrt(12)
    assert np.sum(np.square(pulls)) < 33


@pytest.mark.slow
def test_ignoring_mass_errors_biases_a_large_survey():
    mock = cut_survey(8000, seed=5)
    ignored = MassPosteriors.from_normal(mock.observed, 0.01, np.linspace(13.0, 15.8, 1024))
    hard = Population(selection=KnownSelection(lambda m: (m > 14.0).astype(float), of_data=True))
    sharp = fit(hard, ignored, mock.survey, sampler=QUICK)["posterior"]["slope"].values
    slope = fit(BY_DATA, mock.posteriors, mock.survey, sampler=QUICK)["posterior"]["slope"].values
    assert abs(slope.mean() - SLOPE) < 3 * slope.std()  # fails for 1 in 370 seeds
    assert abs(sharp.mean() - SLOPE) > 3 * sharp.std()

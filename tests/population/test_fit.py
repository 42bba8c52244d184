"""Injection and recovery of a mass function, the result's contents, and what a fit refuses."""

import dataclasses
import warnings
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm

from sbi_clustermass.population import MassFunction, PopulationLikelihood, Sampler, fit, mass_function_band
from sbi_clustermass.posterior import MassPosteriors

GRID = np.linspace(13.0, 15.8, 256)
ERROR = 0.15  # dex
ALPHA, BETA, LOG10_M_STAR = -1.7, 0.8, 14.1
SLOPE = ALPHA + 1 - BETA * 10 ** (BETA * (14.3 - LOG10_M_STAR))
QUICK = Sampler(num_samples=150, num_warmup=60, num_chains=2, seed=1)


class Survey(NamedTuple):
    observed: np.ndarray  # log10_mass with error [dex]
    posteriors: MassPosteriors
    volume: float


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


def smooth_survey(n_selected, seed):
    """Clusters kept with a probability that depends on true mass only: it then multiplies each likelihood."""
    rng = np.random.default_rng(seed)
    masses, volume = haloes(50 * n_selected, rng)
    kept = np.flatnonzero(rng.random(masses.size) < lost_by_chance(masses))[:n_selected]
    volume *= (kept[-1] + 1) / masses.size  # stop the survey once it is full
    observed = masses[kept] + ERROR * rng.standard_normal(n_selected)
    posteriors = MassPosteriors.from_normal(observed, ERROR, GRID)
    log_prior = posteriors.log_prior - np.log(lost_by_chance(GRID))
    return Survey(observed, dataclasses.replace(posteriors, log_prior=log_prior), volume)


def cut_on_data(log10_mass):
    return norm.cdf((log10_mass - 14.0) / ERROR)


def cut_survey(n_expected, seed):
    """Clusters kept if their estimate exceeds 10^14: a cut on the data themselves leaves likelihoods alone."""
    rng = np.random.default_rng(seed)
    masses, volume = haloes(30 * n_expected, rng)
    observed = masses + ERROR * rng.standard_normal(masses.size)
    observed = observed[observed > 14.0]
    return Survey(observed, MassPosteriors.from_normal(observed, ERROR, GRID), volume)


def naive_slope(observed):
    """Straight line through the log histogram of mass estimates within 0.4 dex of the pivot: slope, error."""
    counts, edges = np.histogram(observed, np.linspace(13.9, 14.7, 9))
    centres = 0.5 * (edges[1:] + edges[:-1])
    line, covariance = np.polyfit(centres, np.log10(counts), 1, w=np.sqrt(counts) * np.log(10), cov="unscaled")
    return line[0], np.sqrt(covariance[0, 0])


@pytest.fixture(scope="module")
def survey():
    return smooth_survey(400, seed=2)


@pytest.fixture(scope="module")
def fitted(survey):
    return fit(MassFunction(), survey.posteriors, selection=lost_by_chance, volume=survey.volume, sampler=QUICK)


def test_slope_and_density_are_recovered_where_a_histogram_is_biased(survey, fitted):
    slope = fitted["posterior"]["slope"].values
    density = fitted["posterior"]["log10_density"].values
    assert abs(slope.mean() - SLOPE) < 3 * slope.std()  # fails for 1 in 370 seeds
    assert abs(density.mean() - np.log10(mass_function(14.3))) < 3 * density.std()
    naive, error = naive_slope(survey.observed)
    assert naive - SLOPE > 3 * error  # scatter and selection flatten the histogram


def test_result_holds_the_likelihood_it_was_drawn_from(survey, fitted):
    likelihood = PopulationLikelihood.from_posteriors(survey.posteriors, selection=lost_by_chance)
    draw = fitted["posterior"].isel(chain=1, draw=7)
    model = MassFunction()
    names = ("log10_m_star", "alpha", "beta", "log10_density")
    parameters = {name: torch.tensor(draw[name].item(), dtype=torch.float64) for name in names}
    log_phi = model.log_density(likelihood.log10_mass, parameters)
    expected = float(likelihood.log_integrals(log_phi)[0].sum()) + len(likelihood) * np.log(survey.volume)
    phi_selected = (log_phi.exp() * likelihood.selected).numpy()
    expected -= survey.volume * np.trapezoid(phi_selected, likelihood.log10_mass.numpy())
    stored = fitted["log_likelihood"].isel(chain=1, draw=7)
    assert stored["clusters"].sum().item() + stored["count"].item() == pytest.approx(expected, abs=1e-8)
    assert fitted["posterior"]["slope"].shape == (2, 150)
    assert fitted["sample_stats"]["diverging"].shape == (2, 150)
    assert list(fitted["observed_data"]["cluster"].values) == list(survey.posteriors.names)


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


def test_fit_without_counts_needs_no_volume_and_leaves_the_amplitude_at_its_prior(survey):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few draws on purpose
        sampler = Sampler(num_samples=80, num_warmup=40, num_chains=1, seed=0)
        result = fit(MassFunction(), survey.posteriors, selection=lost_by_chance, counts=False, sampler=sampler)
    density = result["posterior"]["log10_density"].values
    assert 0.5 < density.std() < 1.6  # prior 1.0; 4 sigma of the standard deviation of some 40 independent draws
    assert "count" not in result["log_likelihood"]


def test_too_few_effective_draws_are_warned_of_with_numbers():
    few = MassPosteriors.from_normal([14.2, 14.5], [0.1, 0.1], GRID)
    with pytest.warns(UserWarning, match=r"\d+ effective draws \(at least 100\)"):
        fit(MassFunction(), few, selection=lost_by_chance, volume=1e5, sampler=Sampler(20, 20, 1))


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_survey_below_the_posteriors_support_is_refused_with_numbers_and_the_cure():
    posteriors = MassPosteriors.from_normal([14.2, 14.5], [0.1, 0.1], np.linspace(14.0, 15.6, 160))
    with pytest.raises(
        ValueError, match=r"below log10_mass 14\.00[\s\S]*richness cut[\s\S]*train the estimator on 13\.\d+"
    ):
        fit(MassFunction(), posteriors, selection=lost_by_chance, volume=1e7)


def test_refusal_comes_at_one_percent_of_the_expected_clusters():
    """A hard floor placed at 0.9 % and at 1.1 % of the model's own expected clusters."""
    model, grid = MassFunction(), np.linspace(12.5, 16, 3501)
    log_phi = model.log_density(torch.as_tensor(grid), model.parameters(model.centre))
    expected = np.exp(log_phi.numpy()) * lost_by_chance(grid)
    below = np.cumsum(expected) / expected.sum()
    floors = [np.interp(share, below, grid) for share in (0.009, 0.011)]
    accepted, refused = (MassPosteriors.from_normal([14.5], [0.1], np.linspace(low, 15.8, 200)) for low in floors)
    with pytest.raises(ValueError, match=r"1\.1% of the expected selected clusters .* centre of the model's priors"):
        fit(model, refused, selection=lost_by_chance, volume=1e6)
    # clusters that all lie near the floor make a steeper function than the prior's, with more below the floor
    steep = MassPosteriors.from_normal(np.full(60, floors[0] + 0.1), 0.05, accepted.grid)
    with pytest.raises(ValueError, match=r"outside .* fitted posterior mean"):
        fit(model, steep, selection=lost_by_chance, volume=1e6, sampler=Sampler(20, 20, 1))


@pytest.mark.parametrize("volume", [None, 0.0, -1.0, np.nan, np.inf])
def test_counts_without_a_volume_are_refused(volume):
    posteriors = MassPosteriors.from_normal([14.5], [0.1], GRID)
    with pytest.raises(ValueError, match=r"volume.*counts=False"):
        fit(MassFunction(), posteriors, selection=lost_by_chance, volume=volume)


# ---- slow -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_slope_is_unbiased_over_many_surveys_cut_on_their_own_data():
    pulls = []
    for seed in range(12):
        survey = cut_survey(600, seed)
        sampler = Sampler(num_samples=250, num_warmup=100, num_chains=1, seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            slope = fit(
                MassFunction(), survey.posteriors, selection=cut_on_data, volume=survey.volume, sampler=sampler
            )["posterior"]["slope"].values
        pulls.append((SLOPE - slope.mean()) / slope.std())
    # mean of 12 unit pulls within 3 / sqrt(12) (fails 1 in 370), their spread within its 99.9 % range of chi^2 (12)
    assert abs(np.mean(pulls)) < 3 / np.sqrt(12)
    assert np.sum(np.square(pulls)) < 33


@pytest.mark.slow
def test_ignoring_mass_errors_biases_a_large_survey():
    survey = cut_survey(8000, seed=5)
    ignored = MassPosteriors.from_normal(survey.observed, 0.01, np.linspace(13.0, 15.8, 1024))
    sharp = fit(
        MassFunction(), ignored, selection=lambda m: (m > 14.0).astype(float), volume=survey.volume, sampler=QUICK
    )["posterior"]["slope"].values
    honest = fit(MassFunction(), survey.posteriors, selection=cut_on_data, volume=survey.volume, sampler=QUICK)
    slope = honest["posterior"]["slope"].values
    assert abs(slope.mean() - SLOPE) < 3 * slope.std()  # fails for 1 in 370 seeds
    assert abs(sharp.mean() - SLOPE) > 3 * sharp.std()

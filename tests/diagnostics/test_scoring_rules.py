"""Scores against closed forms, quadrature and each other."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from sbi_clustermass import MassPosteriors
from sbi_clustermass.diagnostics.scoring_rules import crps, crps_of_each, gap, information_gain, log_score, mean_of

GRID = np.linspace(12, 17, 300)
FINE = np.linspace(12, 17, 500)


def closed_crps(mean, sigma, truth):
    """Score of a Gaussian (Gneiting et al. 2005, Mon. Wea. Rev. 133, 1098, eq. 5)."""
    z = (truth - mean) / sigma
    return sigma * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))


def test_crps_of_gaussians_is_the_closed_form_with_truths_in_the_tails_too():
    rng = np.random.default_rng(0)
    mean, sigma = rng.uniform(14, 15, 400), rng.uniform(0.08, 0.3, 400)
    truth = mean + sigma * rng.uniform(-6, 6, 400)
    found = crps_of_each(MassPosteriors.from_normal(mean, sigma, FINE), truth)
    # F is parabolic in a cell of .01 dex, an eighth of the narrowest width: its error is cubic in that
    np.testing.assert_allclose(found, closed_crps(mean, sigma, truth), atol=2e-6)


@settings(max_examples=30)
@given(st.floats(13.05, 15.55), st.floats(0.05, 0.8), st.floats(12.5, 16.0))
def test_crps_is_the_energy_form_of_samples(mean, sigma, truth):
    """E|X - M| - E|X - X'| / 2, by stratified samples, of densities that the grid's ends cut and truths beyond them."""
    posterior = MassPosteriors.from_normal(mean, sigma, np.linspace(13, 15.6, 40))
    x = posterior.quantile((np.arange(2000) + 0.5) / 2000)[:, 0]
    weight = 2 * np.arange(2000) - 1999  # sum of |x_i - x_j| over pairs of sorted numbers
    energy = np.abs(x - truth).mean() - (weight @ x) / 2000**2
    np.testing.assert_allclose(crps_of_each(posterior, truth), energy, atol=1e-4)  # strata of 5e-4, less at the tails


def test_log_score_of_right_gaussians_is_minus_their_entropy():
    rng = np.random.default_rng(1)
    mean = rng.uniform(14, 15, 4000)
    truth = mean + rng.normal(0, 0.2, 4000)
    found = log_score(MassPosteriors.from_normal(mean, 0.2, GRID), truth)
    assert abs(found.value + stats.norm(0, 0.2).entropy()) < 4 * found.error  # once in 16 000 seeds
    assert found.error == pytest.approx(np.sqrt(0.5 / 4000), rel=0.1)  # half a chi square; its width is known to 4 %
    assert log_score(MassPosteriors.from_normal(mean, 0.2, GRID), np.full(4000, 18.0)).value == -np.inf


def test_gap_is_the_divergence_and_its_paired_error_is_small():
    """KL(N(0, 1) || N(.1, 1)) = .005 nats, with an error of .1 / sqrt(n): unpaired it would be seven times that."""
    rng = np.random.default_rng(2)
    mean = rng.uniform(14, 15, 4000)
    truth = mean + rng.normal(0, 0.2, 4000)
    exact, off = (MassPosteriors.from_normal(mean + shift, 0.2, GRID) for shift in (0.0, 0.02))
    found = gap(off, exact, truth)
    assert abs(found.value - 0.005) < 4 * found.error
    assert found.error == pytest.approx(0.1 / np.sqrt(4000), rel=0.1)
    assert gap(exact, exact, truth).value == 0
    finer = MassPosteriors.from_normal(mean, 0.2, np.linspace(12, 17, 1234))
    assert gap(exact, finer, truth).value == pytest.approx(0, abs=1e-8)  # log densities are exact off the grid too
    with pytest.raises(ValueError, match="the same clusters"):
        gap(off, exact[np.arange(5)], truth)


def test_information_is_gained_over_the_prior_that_posteriors_carry():
    """Over a Gaussian prior of width .5, a datum of error .2 tells log(sqrt(.25 + .04) / .2) nats on average."""
    rng = np.random.default_rng(3)
    truth = rng.normal(14.5, 0.5, 4000)
    flat = MassPosteriors.from_normal(truth + rng.normal(0, 0.2, 4000), 0.2, GRID)
    right = flat.with_prior(stats.norm.logpdf(GRID, 14.5, 0.5) + 7.0)  # only the shape of a prior matters
    found = information_gain(right, truth)
    assert abs(found.value - np.log(np.sqrt(0.29) / 0.2)) < 4 * found.error
    nothing = right.from_log_prob(GRID, np.tile(right.log_prior, (4000, 1)), log_prior=right.log_prior)
    assert information_gain(nothing, truth).value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("wrong", [{"width": 0.6}, {"width": 1.6}, {"shift": 0.6}])
def test_proper_scores_prefer_right_posteriors(wrong):
    rng = np.random.default_rng(4)
    mean = rng.uniform(14, 15, 2000)
    truth = mean + rng.normal(0, 0.2, 2000)
    right = MassPosteriors.from_normal(mean, 0.2, GRID)
    other = MassPosteriors.from_normal(mean + 0.2 * wrong.get("shift", 0), 0.2 * wrong.get("width", 1), GRID)
    assert log_score(right, truth).value > log_score(other, truth).value
    assert crps(right, truth).value < crps(other, truth).value


def test_errors_of_means_are_those_of_repeated_sets():
    rng = np.random.default_rng(5)
    found = [mean_of(rng.exponential(size=300)) for _ in range(400)]
    # 400 repeats fix a standard deviation to 3.5 %; three of those
    assert np.std([each.value for each in found]) == pytest.approx(np.mean([each.error for each in found]), rel=0.11)
    assert np.isnan(mean_of(np.array([1.0, -np.inf])).error)


def test_the_error_of_a_mean_over_groups_is_that_of_their_means():
    rng = np.random.default_rng(1)
    groups = rng.permutation(np.repeat(np.arange(50), 4))
    shared = rng.normal(size=50)
    found = mean_of(shared[groups], groups)  # four equal values tell no more than one
    assert found.value == pytest.approx(shared.mean())
    assert found.error == pytest.approx(shared.std() / np.sqrt(50))

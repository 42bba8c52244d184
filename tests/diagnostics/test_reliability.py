"""Bins of what an observer sees, and predicted errors against residuals."""

from itertools import pairwise

import numpy as np
import pytest

from sbi_clustermass import MassPosteriors
from sbi_clustermass.diagnostics.reliability import by_posterior_mean, by_richness, reliability, standardised
from sbi_clustermass.diagnostics.test_sets import HeldOut

GRID = np.linspace(12, 17, 250)


def gaussian_set(n=6000, seed=1, factor=None):
    """Posteriors of widths .08 to .4, right but for a factor that may depend on the width; richness follows that."""
    rng = np.random.default_rng(seed)
    mean, sigma = rng.uniform(14, 15, n), rng.uniform(0.08, 0.4, n)
    truth = mean + sigma * rng.normal(size=n)
    wrong = sigma if factor is None else sigma * factor(sigma)
    number = np.round(10 + 4 / sigma).astype(int)
    return HeldOut(MassPosteriors.from_normal(mean, wrong, GRID), truth, number, drawn_from_prior=True)


@pytest.mark.parametrize("bins_of", [by_posterior_mean, by_richness])
def test_right_posteriors_are_right_in_every_bin(bins_of):
    found = bins_of(gaussian_set())
    assert sum(each.n for each in found) == 6000
    assert all(a.high < b.low for a, b in pairwise(found))
    for each in found:  # five bins of three numbers at 4 errors: once in 1000 seeds
        assert abs(each.coverage_68.value - 0.68) < 4 * each.coverage_68.error
        assert abs(each.coverage_95.value - 0.95) < 4 * each.coverage_95.error
        assert abs(each.mean.value) < 4 * each.mean.error


def test_errors_that_are_wrong_for_some_show_in_their_bins():
    """Twice too narrow above .2 dex, right below: richness tells which, the mean of all hides it."""
    found = by_richness(gaussian_set(factor=lambda sigma: np.where(sigma > 0.2, 0.5, 1.0)))
    assert found[0].coverage_68.value == pytest.approx(0.383, abs=0.06)  # P(|x| < .497); 4 errors of 1200 clusters
    assert found[-1].coverage_68.value == pytest.approx(0.68, abs=0.06)


def test_the_reliability_of_right_errors_is_one_and_of_wrong_ones_their_factor():
    for factor in (1.0, 0.5, 1.6):
        found = reliability(gaussian_set(factor=lambda sigma, factor=factor: factor))
        assert sum(each.n for each in found) == 6000
        for each in found:  # 24 numbers at 4 errors: once in 600 seeds
            assert abs(each.ratio.value - 1 / factor) < 4 * each.ratio.error
            assert each.found.value == pytest.approx(each.ratio.value * each.predicted)
            assert each.low <= each.predicted <= each.high


def test_errors_of_the_ratio_are_those_of_repeated_sets():
    ratios = [reliability(gaussian_set(n=200, seed=seed), bins=1)[0].ratio for seed in range(200)]
    # 200 repeats fix a standard deviation to 5 %; three of those
    assert np.std([each.value for each in ratios]) == pytest.approx(np.mean([each.error for each in ratios]), rel=0.16)


def test_right_posteriors_cut_off_at_the_priors_edge_are_reliable_too():
    """Posteriors there are no Gaussians, and still the mean square residual is their mean variance."""
    rng = np.random.default_rng(2)
    truth = rng.uniform(13.5, 15.3, 8000)
    posteriors = MassPosteriors.from_normal(truth + rng.normal(0, 0.4, 8000), 0.4, np.linspace(13.5, 15.3, 256))
    for each in reliability(HeldOut(posteriors, truth, drawn_from_prior=True)):
        assert abs(each.ratio.value - 1) < 4 * each.ratio.error  # 8 numbers: once in 2000 seeds


def test_standardised_residuals_are_standard_normal_or_wider_by_the_factor():
    mean, scatter = standardised(gaussian_set())
    assert abs(mean.value) < 4 * mean.error
    assert abs(scatter.value - 1) < 4 * scatter.error
    _, scatter = standardised(gaussian_set(factor=lambda sigma: 0.5))
    assert abs(scatter.value - 2) < 4 * scatter.error


def test_equal_richnesses_stay_in_one_bin_and_no_cluster_is_lost():
    clusters = gaussian_set(n=200)
    number = np.repeat([10, 11, 12, 80], [3, 150, 40, 7])  # three and seven are too few for a bin
    found = by_richness(HeldOut(clusters.posteriors, clusters.log10_mass, number, drawn_from_prior=True))
    assert sum(each.n for each in found) == 200
    assert [(each.low, each.high) for each in found] == [(10, 11), (12, 80)]


def test_what_cannot_be_binned_is_refused():
    clusters = gaussian_set(n=200)
    with pytest.raises(ValueError, match="bins of 200 clusters"):
        by_posterior_mean(clusters, bins=30)
    with pytest.raises(ValueError, match=r"HeldOut\.from_catalogue"):
        by_richness(HeldOut(clusters.posteriors, clusters.log10_mass, drawn_from_prior=True))

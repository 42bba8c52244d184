"""PIT values and coverage on posteriors that are right, or wrong in a known way, by construction."""

import numpy as np
import pytest
from scipy import stats

from sbi_clustermass import MassPosteriors
from sbi_clustermass.diagnostics import coverage
from sbi_clustermass.diagnostics.calibration import (
    LEVELS,
    central_level,
    coverages,
    curve_band,
    largest_deviation,
    pit_histogram,
)

GRID = np.linspace(12, 17, 400)
SIGMA = 0.2


def gaussian_set(n, seed, *, width=1.0, shift=0.0):
    """Masses around Gaussian posteriors whose widths and means are off by a factor and a part of the true width."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(14, 15, n)
    posteriors = MassPosteriors.from_normal(mean + shift * SIGMA, width * SIGMA, GRID)
    return posteriors, mean + rng.normal(0, SIGMA, n)


@pytest.mark.parametrize(("width", "shift"), [(1.0, 0.0), (0.5, 0.0), (2.0, 0.0), (1.0, 0.5)])
def test_coverage_is_that_of_the_normal_distribution(width, shift):
    """P(|x - shift| < width z) of a standard normal x, with z the half-width of the interval."""
    posteriors, truth = gaussian_set(6000, seed=1, width=width, shift=shift)
    for each in coverages(posteriors, truth):
        reach = width * stats.norm.isf((1 - each.level) / 2)
        share = stats.norm.cdf(shift + reach) - stats.norm.cdf(shift - reach)
        error = np.sqrt(share * (1 - share) / 6000)
        # 4 errors of 20 numbers in all: once in 800 seeds; .001 for PIT between masses of the grid
        assert abs(each.central.value - share) < 4 * error + 1e-3
        assert abs(each.highest.value - share) < 4 * error + 1e-3  # the same interval, of a symmetric density
        assert each.central.error == pytest.approx(np.sqrt(each.level * (1 - each.level) / 6000))


def test_coverage_by_central_interval_is_that_of_the_plain_function():
    posteriors, truth = gaussian_set(500, seed=2, width=0.7)
    for each in coverages(posteriors, truth, LEVELS):
        assert each.central == coverage(posteriors, truth, each.level)


def test_truths_off_the_grid_are_covered_by_nothing():
    posteriors, _ = gaussian_set(2, seed=3)
    np.testing.assert_allclose(central_level(posteriors, np.array([11.0, 18.0])), 1, atol=1e-12)
    assert all(each.highest.value == 0 for each in coverages(posteriors, np.array([11.0, 18.0])))


def test_highest_density_and_central_interval_differ_where_they_should():
    """An exponential density piled up at the grid's lower end: its smallest region starts at the end."""
    grid = np.linspace(13, 16, 600)
    posteriors = MassPosteriors.from_log_prob(grid, np.tile(-(grid - 13) / 0.2, (3000, 1)))
    truth = 13 + np.random.default_rng(4).exponential(0.2, 3000)
    truth = truth[truth < 16]
    posteriors = posteriors[np.arange(len(truth))]
    for each in coverages(posteriors, truth):  # 10 numbers at 4 errors: once in 1600 seeds
        assert abs(each.central.value - each.level) < 4 * each.central.error
        assert abs(each.highest.value - each.level) < 4 * each.highest.error
    levels = posteriors.hdr_level(truth)
    # the level of [13, M] is the distribution at M; densities are linear in a cell of .005 dex, 2.5 % of the scale
    np.testing.assert_allclose(levels, 1 - np.exp(-(truth - 13) / 0.2), atol=1e-3)


def test_all_bins_of_the_histogram_stay_in_their_range_in_95_of_100_calibrated_sets():
    """Over 800 sets of uniform PIT values: those of one flat posterior on [0, 1]."""
    flat = MassPosteriors.from_log_prob(np.linspace(0, 1, 3), np.zeros((1000, 3)))
    rng = np.random.default_rng(5)
    quiet = np.mean([pit_histogram(flat, rng.random(1000)).outside == 0 for _ in range(800)])
    assert 0.92 < quiet < 0.99  # .95 or a little more, as the docstring says; .008 is its error
    found = pit_histogram(flat, rng.random(1000), bins=10)
    assert found.counts.sum() == 1000
    assert found.expected == 100
    assert found.low < 100 < found.high


@pytest.mark.parametrize(
    ("width", "shift", "where"), [(0.5, 0, [0, -1]), (2, 0, [9, 10]), (1, 0.5, [0, 1]), (1, -0.5, [-1, -2])]
)
def test_wrong_posteriors_leave_the_histograms_range_where_they_should(width, shift, where):
    found = pit_histogram(*gaussian_set(4000, seed=6, width=width, shift=shift))
    assert found.outside >= 4
    assert (found.counts[where] > found.high).all()


def test_calibrated_curves_leave_their_band_once_in_20():
    values = np.sort(np.random.default_rng(7).random((4000, 100)), axis=1)
    steps = np.arange(101) / 100
    largest = np.maximum(steps[1:] - values, values - steps[:-1]).max(axis=1)
    assert np.mean(largest > curve_band(100)) == pytest.approx(0.05, abs=0.014)  # .0034 is its error
    deviation, pvalue = largest_deviation(values[0])
    assert deviation == pytest.approx(largest[0])
    assert pvalue == pytest.approx(np.mean(largest > largest[0]), abs=0.03)  # .008 is its error
    assert largest_deviation(values[0] ** 2)[1] < 1e-3  # .25 from uniform, where 100 clusters see .14

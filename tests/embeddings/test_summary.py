"""SummaryStatistics against numpy, scipy and astropy, cluster by cluster."""

import numpy as np
import pytest
import torch
from astropy.stats import biweight_scale, median_absolute_deviation
from hypothesis import example, given, settings, strategies as st
from scipy.stats import kurtosis, pearsonr

from sbi_clustermass.embeddings import SummaryStatistics
from sbi_clustermass.embeddings.summary import STATISTICS

APERTURE = 1.6


def cluster(n, seed=0):
    """(n, 3) galaxies with heavy tails in velocity and more speed in the centre."""
    rng = np.random.default_rng(seed)
    R = rng.uniform(0, APERTURE, n)
    v = 120 + 800 * (1.5 - 0.6 * R) * rng.standard_t(4, n)
    return np.stack([R, v, np.ones(n)], 1).astype(np.float32)


def ring_speed(R, v, low, high):
    """log10 rms v of a ring with a twentieth of the cluster added."""
    inside, everywhere = (low < R) & (high >= R), np.mean(v**2)
    return 0.5 * np.log10((np.mean(np.where(inside, v**2, 0)) + 0.05 * everywhere) / (inside.mean() + 0.05))


def reference(galaxies):
    """The statistics by their names, from libraries."""
    R, v = galaxies[:, 0].astype(float) / APERTURE, galaxies[:, 1].astype(float)
    mad, rms = median_absolute_deviation(v), np.sqrt(np.mean(v**2))
    log10 = {
        "log10 standard deviation of v": np.std(v),
        "log10 rms v": rms,
        "log10 1.48 median absolute deviation of v": 1.482602218505602 * mad,
        "log10 biweight scale of v": biweight_scale(v, c=9.0),
        "log10 median speed": np.median(np.abs(v)),
        "log10 90 % speed": np.quantile(np.abs(v), 0.9, method="inverted_cdf"),
        "log10 fourth moment of v over squared variance": kurtosis(v, fisher=False),
        "log10 mean deviation over standard deviation of v": np.mean(np.abs(v - v.mean())) / np.std(v),
    }
    return {name: np.log10(value) for name, value in log10.items()} | {
        "distance of the mean v from 0 [rms v]": abs(v.mean()) / rms,
        "mean R": R.mean(),
        "median R": np.median(R),
        "90 % R": np.quantile(R, 0.9, method="inverted_cdf"),
        "largest R": R.max(),
        "standard deviation of R": R.std(),
        "correlation of R and speed": pearsonr(R, np.abs(v)).statistic,
        "share of galaxies in the inner ring": np.mean(R <= 0.25),
        "share of galaxies in the middle ring": np.mean((R > 0.25) & (R <= 0.5)),
        "log10 rms v of the inner ring": ring_speed(R, v, -1, 0.25),
        "log10 rms v of the middle ring": ring_speed(R, v, 0.25, 0.5),
        "log10 rms v of the outer ring": ring_speed(R, v, 0.5, 2),
    }


def padded(*clusters):
    x = torch.zeros(len(clusters), max(map(len, clusters)) + 3, 3)
    for row, each in zip(x, clusters, strict=True):
        row[: len(each)] = torch.from_numpy(each)
    return x


def test_every_statistic_is_the_libraries():
    clusters = [cluster(n, seed=n) for n in (3, 4, 10, 11, 57, 400)]
    found = SummaryStatistics()(padded(*clusters)).double().numpy()
    truth = [reference(each) for each in clusters]
    assert tuple(truth[0]) == STATISTICS
    expected = [[*each.values(), np.log10(len(galaxies))] for each, galaxies in zip(truth, clusters, strict=True)]
    # rtol: float32 output; atol: a correlation that cancels
    np.testing.assert_allclose(found, expected, rtol=3e-7, atol=1e-6)


@given(n=st.integers(1, 60), seed=st.integers(0, 2**16))
@example(n=3, seed=708)
@settings(max_examples=25)
def test_velocities_scaled_by_ten_add_one_to_the_log_speeds_and_change_no_ratio(n, seed):
    galaxies = cluster(n, seed=seed) * np.float32([1, 100, 1])  # clear of the floor of 10 km/s
    before = SummaryStatistics()(padded(galaxies))[0].double().numpy()
    after = SummaryStatistics()(padded(galaxies * np.float32([1, 10, 1])))[0].double().numpy()
    speeds = np.array([name.startswith("log10") and "over" not in name for name in (*STATISTICS, "N")])
    zero = speeds & (before <= 1.0)  # 0 km/s, as one galaxy's dispersion is
    # float32 of up to 6; and what is left of it where large velocities cancel in a small spread
    cancelled = np.finfo(np.float32).eps * np.abs(galaxies[:, 1]).max() / 10 ** before[speeds & ~zero].min(initial=6)
    np.testing.assert_allclose(after - before, np.where(speeds & ~zero, 1, 0), atol=2e-6 + cancelled)


def test_a_spread_of_nothing_is_the_floor_and_a_ratio_of_nothings_is_zero():
    one = torch.tensor([[[0.4, 300.0, 1.0]]])
    found = dict(zip(STATISTICS, SummaryStatistics()(one)[0].tolist(), strict=False))
    assert found["log10 standard deviation of v"] == found["log10 biweight scale of v"] == 1.0
    assert found["log10 rms v of the outer ring"] == pytest.approx(np.log10(300), abs=1e-6)
    assert found["correlation of R and speed"] == 0
    none = SummaryStatistics()(torch.zeros(1, 5, 3))[0].tolist()
    assert set(none) == {0.0, 1.0}


def test_one_velocity_out_of_all_bounds_moves_the_robust_scales_little():
    galaxies = cluster(60)
    wild = galaxies.copy()
    wild[0, 1] = 1e6
    before, after = SummaryStatistics()(padded(galaxies, wild)).tolist()
    moved = dict(zip(STATISTICS, np.abs(np.subtract(after, before)), strict=False))
    assert moved["log10 standard deviation of v"] > 1
    assert moved["log10 biweight scale of v"] < 0.05
    assert moved["log10 1.48 median absolute deviation of v"] < 0.05

"""SBC and TARP on the grid against sbi's own on samples, on posteriors that are right or wrong by construction."""

import numpy as np
import pytest
import torch
from scipy import stats

from sbi_clustermass import MassPosteriors, Posteriors
from sbi_clustermass.diagnostics.simulation_based_calibration import sbc, sbc_of_each, sbc_ranks, tarp

GRID = np.linspace(13.0, 15.6, 256)
FAILURE_RATE = 1e-3  # of each statistical test, had the seed not been fixed


def gaussian_set(n, seed, *, width=1.0, shift=0.0):
    """Exact posteriors under the flat prior on the grid, or Gaussians that are off."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(13.0, 15.6, n)
    datum = truth + rng.normal(0, 0.15, n)
    return MassPosteriors.from_normal(datum + shift, width * 0.15, GRID), truth


def test_ranks_are_distributed_as_those_among_samples():
    posteriors, truth = gaussian_set(4000, seed=1, width=0.6)  # not uniform: there is something to agree on
    counted = (posteriors.sample(50, seed=2) < truth[:, None]).sum(axis=1)
    drawn = sbc_ranks(posteriors, truth, samples=50, seed=3)
    counts = np.stack([np.bincount(each, minlength=51) for each in (counted, drawn)])
    assert stats.chi2_contingency(counts).pvalue > FAILURE_RATE
    # of one cluster: both scatter around 50 PIT by at most sqrt(50) / 2, independently
    assert np.mean(counted - drawn) == pytest.approx(0, abs=4 * 5 / np.sqrt(4000))


def test_ranks_of_right_posteriors_are_uniform():
    ranks = sbc_ranks(*gaussian_set(8000, seed=4), samples=19, seed=5)
    assert stats.chisquare(np.bincount(ranks, minlength=20)).pvalue > FAILURE_RATE


def test_sbc_passes_right_posteriors_and_fails_wrong_ones():
    right = sbc(*gaussian_set(200, seed=6), samples=300, seed=7)
    assert right.ks_pvalue > FAILURE_RATE
    # 4 errors, once in 8000 seeds each: stock sbi finds .7 here, whole numbers told from continuous ones
    assert abs(right.c2st_ranks.value - 0.5) < 4 * right.c2st_ranks.error
    assert abs(right.c2st_masses.value - 0.5) < 4 * right.c2st_masses.error
    wrong = sbc(*gaussian_set(200, seed=6, width=0.5), samples=300, seed=7)
    assert wrong.ks_pvalue < FAILURE_RATE
    assert wrong.c2st_ranks.value > 0.5 + 4 * wrong.c2st_ranks.error


@pytest.mark.parametrize(("width", "sign"), [(1.0, 0), (0.7, -1), (1.5, 1)])
def test_tarp_has_no_area_below_right_posteriors_and_its_sign_tells_narrow_from_wide(width, sign):
    found = tarp(*gaussian_set(2000, seed=8, width=width), samples=300, seed=9)
    assert len(found.coverage) == len(found.credibility)
    if sign:
        assert sign * found.area.value > 4 * found.area.error
        assert found.ks_pvalue < FAILURE_RATE
    else:
        assert abs(found.area.value) < 4 * found.area.error  # once in 16 000 seeds
        assert found.ks_pvalue > FAILURE_RATE


def test_errors_of_the_area_are_those_of_repeated_sets():
    found = [tarp(*gaussian_set(200, seed=100 + i), samples=100, seed=i) for i in range(100)]
    # 100 repeats fix a standard deviation to 7 %; three of those
    assert np.std([each.area.value for each in found]) == pytest.approx(found[0].area.error, rel=0.22)
    assert stats.kstest([each.ks_pvalue for each in found], "uniform").pvalue > FAILURE_RATE


def test_torchs_random_numbers_are_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second = (tarp(*gaussian_set(200, seed=1), samples=100, seed=5) for _ in range(2))
    assert torch.rand(1) == expected
    assert first.area == second.area


def test_too_few_clusters_are_refused():
    for each in (sbc, tarp):
        with pytest.raises(ValueError, match="100 clusters or more, found 50"):
            each(*gaussian_set(50, seed=1), seed=1)


def joint_set(n, seed, *, width=1.0, correlation=0.8):
    """Samples of two parameters around data that scatter with a correlation of .8; posteriors may be off."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 10, (n, 2))  # a prior so wide that the posterior is the likelihood
    covariance = np.array([[1, 0.8], [0.8, 1]])
    data = truth + rng.multivariate_normal([0, 0], covariance, n)
    believed = width**2 * np.array([[1, correlation], [correlation, 1]])
    samples = data[:, None] + rng.multivariate_normal([0, 0], believed, (n, 300))
    ends = np.full(2, 60.0)
    return Posteriors(("log10_mass", "beta"), samples, -ends, ends, tuple(map(str, range(n)))), truth


def test_sbc_of_each_parameter_passes_right_samples_and_fails_narrow_ones():
    for name, found in sbc_of_each(*joint_set(150, seed=1), seed=2).items():
        assert name in ("log10_mass", "beta")
        assert found.ks_pvalue > FAILURE_RATE
        assert abs(found.c2st_ranks.value - 0.5) < 4 * found.c2st_ranks.error
    assert all(found.ks_pvalue < FAILURE_RATE for found in sbc_of_each(*joint_set(150, 1, width=0.5), seed=2).values())


def test_joint_tarp_sees_a_correlation_that_is_missing_where_sbc_of_each_parameter_does_not():
    right = tarp(*joint_set(2000, seed=3), seed=4)
    assert right.ks_pvalue > FAILURE_RATE
    assert abs(right.area.value) < 4 * right.area.error
    wrong, truth = joint_set(2000, seed=3, correlation=-0.8)
    assert tarp(wrong, truth, seed=4).ks_pvalue < FAILURE_RATE
    assert all(found.ks_pvalue > FAILURE_RATE for found in sbc_of_each(wrong[:300], truth[:300], seed=4).values())

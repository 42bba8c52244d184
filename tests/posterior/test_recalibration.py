"""Recalibration mends posteriors that are wrong in a known way, and leaves right ones alone."""

import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from sbi_clustermass import MassPosteriors
from sbi_clustermass.diagnostics.calibration import coverages, largest_deviation
from sbi_clustermass.diagnostics.residuals import residuals
from sbi_clustermass.diagnostics.scoring_rules import gap, log_score
from sbi_clustermass.posterior.recalibration import Recalibration

WIDE = np.linspace(12, 17, 150)  # holds every posterior whole; a Gaussian of two steps' width is exact to 1e-8
CUT = np.linspace(13.0, 15.6, 96)  # a prior whose ends cut many off
FINE = np.linspace(13.0, 15.6, 256)
SIGMA = 0.15


def gaussian_set(n, seed, grid, *, width=1.0, shift=0.0):
    """Posteriors off by a factor and a part of their width, the exact ones, and masses drawn from the exact ones."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(13.0, 15.6, n)
    datum = truth + rng.normal(0, SIGMA, n)
    wrong = MassPosteriors.from_normal(datum + shift * SIGMA, width * SIGMA, grid)
    return wrong, MassPosteriors.from_normal(datum, SIGMA, grid), truth


@pytest.mark.parametrize(("width", "shift"), [(0.5, 0.0), (2.0, 0.0), (1.0, 0.6), (0.6, -0.5)])
def test_gaussians_that_are_narrow_wide_or_shifted_become_the_exact_ones(width, shift):
    """No ends cut them off: the truth of the map is known, and four parameters cost 2/n nats a cluster."""
    rng = np.random.default_rng(1)
    mean = rng.uniform(14, 15, 6000)
    truth = mean + rng.normal(0, SIGMA, 6000)
    wrong, exact = (MassPosteriors.from_normal(mean + s * SIGMA, w * SIGMA, WIDE) for w, s in ((width, shift), (1, 0)))
    fitted, tested = np.arange(3000), np.arange(3000, 6000)
    mended = Recalibration.fit(wrong[fitted], truth[fitted]).apply(wrong[tested])
    left = gap(mended, exact[tested], truth[tested])
    before = gap(wrong[tested], exact[tested], truth[tested])
    assert before.value > 0.1
    assert left.value < 0.006  # chi^2 of 4 over 2 x 3000 is .0007; of 99.99 % .004; and its error .001
    np.testing.assert_allclose(mended.mean, exact[tested].mean, atol=0.1 * SIGMA)  # errors of the fit: 1/sqrt(3000)
    np.testing.assert_allclose(mended.std, SIGMA, rtol=0.08)


@pytest.mark.parametrize(("width", "shift"), [(0.5, 0.0), (1.0, 0.5)])
def test_coverage_and_mean_are_mended_where_the_prior_cuts_off(width, shift):
    fitted, tested = (gaussian_set(6000, seed, CUT, width=width, shift=shift) for seed in (2, 3))
    mended = Recalibration.fit(fitted[0], fitted[2]).apply(tested[0])
    for each in coverages(mended, tested[2], (0.5, 0.68, 0.9, 0.95)):
        # 3 errors of the test set and as many of the fit; .01 for one map where cut-off ones need another
        assert abs(each.central.value - each.level) < 3 * np.sqrt(2) * each.central.error + 0.01
    assert max(abs(each.central.value - each.level) for each in coverages(tested[0], tested[2])) > 0.03
    assert largest_deviation(mended.pit(tested[2]))[0] < 0.5 * largest_deviation(tested[0].pit(tested[2]))[0]
    assert log_score(mended, tested[2]).value > log_score(tested[0], tested[2]).value + 0.05
    mean, _ = residuals(mended.mean, tested[2])
    assert abs(mean.value) < 0.01


@pytest.mark.parametrize("grid", [WIDE, CUT])
def test_right_posteriors_are_left_alone_within_the_error_of_the_fit(grid):
    lost = []
    for seed in range(8):
        (fitted, _, truth), (tested, _, new) = (gaussian_set(1500, 10 * seed + i, grid) for i in (0, 1))
        lost.append(gap(Recalibration.fit(fitted, truth).apply(tested), tested, new).value)
    # 2/1500 = .0013 nats on average, chi^2 of 4 over 8 sets: .0013 +- .0003 +- .0004 of the test sets
    assert np.mean(lost) < 0.004
    assert np.mean(lost) > -0.001


def test_heavy_tails_and_skewness_are_mended():
    """Truths of a skewed Student's t around Gaussian posteriors."""
    rng = np.random.default_rng(4)
    mean = rng.uniform(14, 15, 8000)
    truth = mean + 0.1 * rng.standard_t(4, 8000) + 0.1 * (rng.exponential(1, 8000) - 1)
    wrong = MassPosteriors.from_normal(mean, 0.12, WIDE)
    fitted, tested = np.arange(4000), np.arange(4000, 8000)
    found = Recalibration.fit(wrong[fitted], truth[fitted])
    assert found.skew > 0.05
    assert found.tails < 0.95
    mended = found.apply(wrong[tested])
    assert (
        largest_deviation(mended.pit(truth[tested]))[1] > 1e-3 > largest_deviation(wrong[tested].pit(truth[tested]))[1]
    )
    assert log_score(mended, truth[tested]).value > log_score(wrong[tested], truth[tested]).value + 0.1


@settings(max_examples=40)
@given(
    st.floats(12.6, 16.0),
    st.floats(0.1, 0.6),
    st.tuples(st.floats(-0.6, 0.6), st.floats(0.7, 1.6), st.floats(-0.3, 0.3), st.floats(0.8, 1.3)),
)
def test_every_density_stays_finite_and_follows_the_map(mean, sigma, numbers):
    found = Recalibration(*numbers)
    before = MassPosteriors.from_normal(mean, sigma, FINE)
    after = found.apply(before)
    assert np.isfinite(after.log_prob).all()
    below, above = before.cdf[0], MassPosteriors.from_normal(-mean, sigma, -FINE[::-1]).cdf[0, ::-1]
    z = np.where(below < above, stats.norm.ppf(below), -stats.norm.ppf(above))
    expected = stats.norm.cdf(np.sinh(found.tails * np.arcsinh((z - found.shift) / found.width) - found.skew))
    # densities linear in a cell, a tenth of the width; the outermost cells of one piled up at an end hold their share
    # as nearly as a table can say it
    np.testing.assert_allclose(after.cdf[0], expected, atol=0.005 + expected[1] + 1 - expected[-2])


def test_the_identity_changes_nothing():
    posteriors, _, _ = gaussian_set(50, 5, FINE)
    after = Recalibration().apply(posteriors)
    np.testing.assert_allclose(after.log_prob[:, 1:-1], posteriors.log_prob[:, 1:-1], atol=1e-6)
    np.testing.assert_allclose(after.mean, posteriors.mean, atol=1e-5)  # the end cells' mass, by the trapezium rule
    assert after.names == posteriors.names


def test_a_recalibration_comes_back_from_its_file_and_a_damaged_one_is_refused(tmp_path):
    found = Recalibration(0.1, 1.2, -0.05, 0.9)
    found.save(tmp_path / "map.json")
    assert Recalibration.load(tmp_path / "map.json") == found
    with pytest.raises(FileNotFoundError):
        Recalibration.load(tmp_path / "none.json")
    for content in (
        "{",
        "[]",
        json.dumps({"format": 9}),
        json.dumps({"format": 1, "shift": 0}),
        json.dumps({"format": 1, "shift": 0, "width": -1, "skew": 0, "tails": 1}),
    ):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(ValueError, match=r"bad\.json: not a recalibration, or damaged"):
            Recalibration.load(tmp_path / "bad.json")


def test_what_cannot_be_fitted_is_refused():
    posteriors, _, truth = gaussian_set(150, 6, CUT)
    with pytest.raises(ValueError, match="100 clusters or more"):
        Recalibration.fit(posteriors[np.arange(20)], truth[:20])
    truth[3] = 16.0
    with pytest.raises(ValueError, match="found 150, of which 1 are not allowed"):
        Recalibration.fit(posteriors, truth)
    with pytest.raises(ValueError, match="width and tails above 0"):
        Recalibration(width=0.0)

"""MassPosteriors against scipy's distributions."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sbi_clustermass import MassPosteriors

GRID = np.linspace(13.0, 15.6, 256)
# the trapezoid rule with steps of .0102 on a Gaussian of width .1 is exact but for what the ends cut off
TIGHT = 1e-4


def test_moments_quantiles_mode_and_pit_are_those_of_a_truncated_normal():
    mean, std = np.array([14.2, 13.05]), np.array([0.12, 0.2])
    posteriors = MassPosteriors.from_normal(mean, std, GRID)
    truth = stats.truncnorm((13.0 - mean) / std, (15.6 - mean) / std, mean, std)
    np.testing.assert_allclose(posteriors.mean, truth.mean(), atol=TIGHT)
    np.testing.assert_allclose(posteriors.std, truth.std(), atol=TIGHT)
    for level in (0.16, 0.5, 0.84):
        np.testing.assert_allclose(posteriors.quantile(level), truth.ppf(level), atol=2e-3)  # a fifth of a grid step
    np.testing.assert_allclose(posteriors.pit(np.array([14.1, 13.2])), truth.cdf([14.1, 13.2]), atol=2e-3)
    np.testing.assert_allclose(posteriors.mode, mean, atol=np.diff(GRID)[0])


@given(st.floats(13.2, 15.4), st.floats(0.03, 0.5))
def test_every_posterior_integrates_to_one(mean, std):
    prob = MassPosteriors.from_normal(mean, std, GRID).prob
    np.testing.assert_allclose(np.trapezoid(prob, GRID, axis=1), 1, rtol=1e-12)


def test_samples_follow_the_posterior():
    posteriors = MassPosteriors.from_normal([14.0, 14.9], 0.1, GRID)
    samples = posteriors.sample(4000, seed=1)
    for row, mean in zip(samples, (14.0, 14.9), strict=True):
        assert stats.kstest(row, stats.norm(mean, 0.1).cdf).pvalue > 1e-3  # fails once in 500 seeds


def test_likelihood_does_not_depend_on_the_prior_that_was_trained_with():
    likelihood = -0.5 * ((GRID - 14.3) / 0.15) ** 2
    steep = np.log(np.exp(-3 * (GRID - 13)))
    flat, tilted = (
        MassPosteriors.from_log_prob(GRID, (likelihood + prior)[None], log_prior=prior)
        for prior in (np.zeros_like(GRID), steep)
    )
    difference = flat.log_likelihood() - tilted.log_likelihood()
    np.testing.assert_allclose(difference, difference[:, :1] * np.ones_like(GRID), atol=1e-9)
    np.testing.assert_allclose(flat.with_prior(steep).log_prob, tilted.log_prob, atol=1e-9)


def test_parquet_gives_back_the_same_posteriors(tmp_path):
    posteriors = MassPosteriors.from_normal([14.0, 14.9, 13.4], [0.1, 0.2, 0.3], GRID)[[2, 0]]
    posteriors.to_parquet(tmp_path / "masses.parquet")
    again = MassPosteriors.from_parquet(tmp_path / "masses.parquet")
    assert again.names == posteriors.names == ("2", "0")
    np.testing.assert_array_equal(again.grid, GRID)
    np.testing.assert_allclose(again.log_prob, posteriors.log_prob, rtol=1e-6, atol=1e-5)  # stored as float32
    np.testing.assert_allclose(pq.read_table(tmp_path / "masses.parquet")["log10_mass_mean"], posteriors.mean)


def test_foreign_and_damaged_files_say_what_they_are(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    (tmp_path / "junk.parquet").write_bytes(b"PAR1 not really")
    for name, message in (("other", "not mass posteriors"), ("junk", "damaged")):
        with pytest.raises(ValueError, match=message):
            MassPosteriors.from_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(FileNotFoundError):
        MassPosteriors.from_parquet(tmp_path / "none.parquet")


def test_posteriors_that_are_zero_everywhere_or_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="zero or not finite"):
        MassPosteriors.from_log_prob(GRID, np.full((1, 256), -np.inf))
    with pytest.raises(ValueError, match="must be"):
        MassPosteriors(GRID, np.zeros((2, 255)), np.zeros(256), ("a", "b"))
    with pytest.raises(ValueError, match="errors positive"):
        MassPosteriors.from_normal([14.0], [0.0], GRID)

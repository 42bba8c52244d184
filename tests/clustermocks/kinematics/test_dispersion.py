"""Robust dispersions against astropy, the mean difference of pairs, and the known errors of a Gaussian."""

import numpy as np
import pytest
from astropy.stats import sigma_clip
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from clustermocks.kinematics.dispersion import MOST, robust_dispersions, velocity_dispersion


def clipped(v):
    return sigma_clip(v, sigma=3, maxiters=None, cenfunc="median", masked=False)


def velocities():
    return arrays(np.float32, st.integers(2, 60), elements=st.floats(-2500, 2500, width=32))


@settings(max_examples=30)
@given(st.lists(velocities(), min_size=1, max_size=5))
def test_each_cluster_gets_the_gapper_of_what_astropys_clipping_leaves(clusters):
    found = robust_dispersions(clusters, range(len(clusters)))
    for v, one in zip(clusters, found, strict=True):
        kept = clipped(v).astype(float)
        if one.n_galaxies != len(kept):
            continue  # on the very edge float32 may see a velocity on either side; the next test counts them
        # the gapper is the mean difference of all pairs over that of a unit Gaussian, 2 / sqrt(pi)
        pairs = np.abs(kept[:, None] - kept).sum() / max(len(kept) * (len(kept) - 1), 1)
        expected = np.sqrt(np.pi) / 2 * pairs if len(kept) > 1 else np.nan
        np.testing.assert_allclose(one.value, expected, rtol=1e-5, atol=1e-3)  # float32 of sums over 60 velocities


def test_clipping_leaves_as_many_galaxies_as_astropys():
    rng = np.random.default_rng(3)
    clusters = [np.r_[rng.normal(0, 500, n), rng.uniform(-2500, 2500, n // 5)] for n in rng.integers(5, 200, 300)]
    found = robust_dispersions(clusters, range(300))
    expected = [len(clipped(v)) for v in clusters]
    assert [one.n_galaxies for one in found] == expected  # random velocities: none stands on an edge


def test_the_error_is_the_scatter_between_samples_of_a_gaussian():
    rng = np.random.default_rng(1)
    n = 60
    found = robust_dispersions(list(rng.normal(0, 800, (400, n))), range(400))
    values, errors = np.array([(one.value, one.error) for one in found]).T
    assert values.mean() == pytest.approx(800, rel=0.02)  # clipping takes 1 %; 400 samples know it to .5 %
    # the standard deviation of 400 samples is known to 3.5 %, a bootstrap of 60 galaxies is low by a few per cent
    assert np.mean(errors) == pytest.approx(values.std(), rel=0.15)


def test_an_answer_depends_on_no_other_cluster_and_on_the_seed_alone():
    rng = np.random.default_rng(2)
    clusters = [rng.normal(0, 700, n) for n in (40, 300, 12)]
    together = robust_dispersions(clusters, [5, 6, 7])
    assert [robust_dispersions([v], [seed])[0] for v, seed in zip(clusters, (5, 6, 7), strict=True)] == together
    assert robust_dispersions(clusters[:1], [8])[0].error != together[0].error


def test_of_very_many_galaxies_some_are_resampled_and_the_error_falls_with_the_root_of_their_number():
    n = 4 * MOST
    one = robust_dispersions([np.random.default_rng(1).normal(0, 500, n)], [1])[0]
    assert one.error == pytest.approx(500 / np.sqrt(2 * n), rel=0.3)  # of 100 resamplings: 7 %, three of them, and .98


def test_one_galaxy_has_no_dispersion_and_equal_velocities_have_none_of_any_size():
    alone, equal = robust_dispersions([np.array([3.0]), np.full(20, 250.0)], [1, 2])
    assert np.isnan(alone.value)
    assert (equal.value, equal.error, equal.n_galaxies) == (0, 0, 20)
    assert velocity_dispersion([np.full(20, 250.0)], method="gapper")[0] == equal.value

"""Clipping is astropy's, ties included, and drops the galaxies that hide one another."""

import numpy as np
from hypothesis import given, strategies as st

from clustermocks.kinematics.clipping import sigma_clipping
from tests.clustermocks.kinematics.plain import clusters, plain_clipping


@given(clusters(), st.sampled_from([2.0, 2.5, 3.0]))
def test_clipping_is_astropys(cluster, clip):
    v_los = np.round(cluster[1])  # ties, too
    np.testing.assert_array_equal(sigma_clipping(v_los, np.array([len(v_los)]), clip=clip), plain_clipping(v_los, clip))


def test_clipping_drops_the_galaxies_that_hide_one_another():
    rng = np.random.default_rng(2)
    v_los = np.concatenate([rng.normal(0, 300, 100), [2400.0, -2300.0, 1500.0]])
    assert not sigma_clipping(v_los, np.array([103]))[-3:].any()


def test_many_clusters_of_all_sizes_are_clipped_in_parts_as_each_alone():
    rng = np.random.default_rng(5)
    n = rng.permutation(np.r_[np.zeros(50, int), rng.integers(1, 150, 3000), 30_000])  # more than one part holds
    v_los = np.where(rng.random(n.sum()) < 0.7, rng.normal(0, 400, n.sum()), rng.uniform(-2500, 2500, n.sum()))
    alone = [sigma_clipping(v, np.array([len(v)])) for v in np.split(v_los, np.cumsum(n)[:-1])]
    np.testing.assert_array_equal(sigma_clipping(v_los, n), np.concatenate(alone))

"""Scores of membership against sums by hand, and the rivals on a few mocks."""

import numpy as np
import pytest

from benchmarks.membership import completeness_at, methods, of_clusters, reliability, rivals_table, score, universal
from clustermocks.haloes.cosmology import radius_200c


def test_the_area_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(1)
    values, truth = rng.integers(0, 6, 80) / 5, rng.random(80) < 0.4
    ahead = values[truth][:, None] - values[~truth]
    assert score(values, truth).area == pytest.approx(np.mean((ahead > 0) + 0.5 * (ahead == 0)))


def test_a_removal_has_the_mean_of_both_rates_as_its_area():
    kept, truth = np.array([1, 1, 1, 0, 0, 0.0]), np.array([1, 1, 0, 1, 0, 0], bool)
    found = score(kept, truth)
    assert found.area == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert (found.purity, found.completeness) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert np.isnan(found.completeness_at_purity)


def test_completeness_at_a_purity_takes_galaxies_of_one_value_together():
    values = np.array([0.9, 0.8, 0.8, 0.8, 0.1])
    truth = np.array([True, True, True, False, True])
    assert completeness_at(values, truth, 0.9) == 0.25  # the three at .8 are two thirds pure
    assert completeness_at(values, truth, 0.75) == 1.0  # four of five


def test_probabilities_that_are_right_are_reliable_and_others_are_found_out():
    rng, n = np.random.default_rng(2), 200_000
    values, groups = rng.random(n), np.arange(n) // 20
    truth = rng.random(n) < values
    for mean, off, error, number in reliability(values, truth, groups):
        assert number == pytest.approx(n / 10, rel=0.05)
        assert abs(off) < 4 * error + 1e-9
        assert error == pytest.approx(100 * np.sqrt(mean * (1 - mean) / number), rel=0.15)
    assert any(abs(off) > 4 * error for _, off, error, _ in reliability(values**2, truth, groups))


def test_the_universal_density_ends_at_r200c_and_tells_members(mocks):
    some = mocks.select(np.flatnonzero(mocks.n_galaxies > 30)[:40])
    found = universal(some, some.log10_mass, virial=False)
    r_200c = radius_200c(10**some.log10_mass, some.observation.redshift, some.cosmology)[some.cluster_of_galaxy]
    assert not found[some.galaxy_column("R_proj") > 1.001 * r_200c].any()
    assert score(found, some.galaxy_column("within_r200c")).area > 0.75


def test_all_methods_score_the_same_galaxies(with_membership, mocks):
    some = mocks.select(np.arange(60))
    found = methods(some, with_membership, "is_member")
    assert {len(values) for values in found.values()} == {some.n_galaxies.sum()}
    table = rivals_table(some, found, "is_member", "mocks")
    assert len(table.rows) == len(found)
    rows = np.array([3, 10, 20])
    part, scores = of_clusters(some, rows, found)
    assert {len(values) for values in scores.values()} == {part.n_galaxies.sum()}

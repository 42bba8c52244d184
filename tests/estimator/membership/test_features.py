"""Features of galaxies at a mass: sums by brute force, and what must not change them."""

import numpy as np
import pytest
import torch

from sbi_clustermass.estimator.membership import features
from sbi_clustermass.estimator.membership.features import MembershipFeatures, densities


def cluster(n, seed, width=None):
    """A padded cluster with conditions."""
    rng = np.random.default_rng(seed)
    x = np.zeros((1, width or n, 6), np.float32)
    x[0, :n, 0], x[0, :n, 1], x[0, :n, 2] = rng.uniform(0, 2, n), rng.normal(0, 700, n), 1
    x[0, :n, 3:] = 0.117, 40.0, 0.0
    return torch.from_numpy(x)


def test_densities_are_sums_over_the_other_galaxies():
    rng, n = np.random.default_rng(1), 30
    r, u = rng.uniform(0, 3, n), rng.normal(0, 1, n)
    found = densities(torch.tensor(r)[None], torch.tensor(u)[None], torch.ones(1, n, dtype=torch.bool))[0].numpy()
    for i in range(n):
        others = np.arange(n) != i
        for column, (sign, size) in enumerate(((1, 1), (1, 2), (-1, 1), (-1, 2))):
            far = ((r[i] - r) / 0.4 * size) ** 2 + ((u[i] - sign * u) / 0.5 * size) ** 2
            assert found[i, column] == pytest.approx(np.exp(-far[others] / 2).sum(), abs=1e-9)


def test_densities_in_blocks_are_the_same(monkeypatch):
    r, u, real = torch.rand(3, 40), torch.randn(3, 40), torch.rand(3, 40) < 0.8
    whole = densities(r, u, real)
    monkeypatch.setattr(features, "_PAIRS", 1000)
    torch.testing.assert_close(densities(r, u, real), whole)


@pytest.mark.parametrize("change", ["mirrored", "padded", "in another order"])
def test_features_are_those_of_a_set_without_a_sign(change):
    x, order = cluster(25, 2), torch.arange(25)
    if change == "mirrored":
        other = x * torch.tensor([1, -1, 1, 1, 1, 1.0])
    elif change == "padded":
        other = cluster(25, 2, width=40)
    else:
        order = torch.randperm(25)
        other = x[:, order]
    network, mass = MembershipFeatures(richness=True, conditions=True), torch.tensor([14.4])
    one, two = network(x, mass), network(other, mass)
    torch.testing.assert_close(two.galaxies, one.galaxies[order])
    torch.testing.assert_close(two.clusters, one.clusters)


def test_a_heavier_cluster_that_is_larger_and_faster_has_the_same_galaxies():
    """Distances and velocities grow as the cube root of the mass."""
    x, factor = cluster(25, 3), 10 ** (0.6 / 3)
    larger = x * torch.tensor([factor, factor, 1, 1, factor, 1])
    network = MembershipFeatures(richness=False, conditions=True)
    one, two = network(x, torch.tensor([14.0])), network(larger, torch.tensor([14.6]))
    torch.testing.assert_close(two.galaxies, one.galaxies, rtol=1e-4, atol=1e-4)  # float32
    torch.testing.assert_close(two.clusters[:, :-1], one.clusters[:, :-1], rtol=1e-4, atol=1e-4)


def test_without_richness_a_cluster_twice_over_is_the_same():
    x = cluster(200, 4)
    twice = torch.cat([x, x], 1)
    network, mass = MembershipFeatures(richness=False, conditions=True), torch.tensor([14.4])
    one, two = network(x, mass), network(twice, mass)
    torch.testing.assert_close(two.clusters, one.clusters)
    assert (two.galaxies[:200] - one.galaxies).abs().mean() < 0.15  # each galaxy has one more at its own place
    counted = MembershipFeatures(richness=True, conditions=True)
    assert (counted(twice, mass).galaxies[:200] - counted(x, mass).galaxies).abs().mean() > 0.2  # log 2 of 4 columns

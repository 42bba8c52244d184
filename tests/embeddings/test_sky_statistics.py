"""Shapes and clumps: eigenvalues by numpy, pairs one by one against directions drawn at random."""

import numpy as np
import torch
from hypothesis import given, settings, strategies as st

from sbi_clustermass.embeddings import SummaryStatistics
from sbi_clustermass.embeddings.sky_statistics import SEPARATIONS, SHAPES, SKY_STATISTICS, VELOCITIES, sky_statistics


def cluster(n, seed):
    rng = np.random.default_rng(seed)
    x = np.ones((n, 5))
    x[:, 3:], x[:, 1] = rng.normal(0, [0.6, 0.4], (n, 2)), rng.normal(100, 600, n)
    x[:, 0] = np.hypot(*x[:, 3:].T)
    return torch.from_numpy(x)[None]


@given(n=st.integers(3, 50), seed=st.integers(0, 2**16))
@settings(max_examples=20)
def test_shapes_are_those_of_numpy(n, seed):
    x = cluster(n, seed)
    position, v = x[0, :, 3:].numpy(), x[0, :, 1].numpy()
    slow = np.abs(v - v.mean()) <= v.std()
    about = (position - position.mean(0))[slow]
    axes = (np.linalg.eigvalsh(moments) for moments in (np.cov(position.T), about.T @ about))
    gradient = np.linalg.norm((position - position.mean(0)).T @ (v - v.mean()) / n)
    expected = [
        *(np.sqrt(max(minor, 0) / major) for minor, major in axes),
        np.hypot(*position.mean(0)),
        gradient / v.std() / np.sqrt(np.var(position, axis=0).sum()),
        abs(np.exp(2j * np.arctan2(*position.T[::-1])).mean()),
    ]
    found = sky_statistics(x, richness=True)[0, : len(SHAPES)]
    np.testing.assert_allclose(found, expected, atol=1e-6)  # roots of cancelled eigenvalues


def test_the_excess_of_pairs_is_that_over_random_directions():
    x, rng = cluster(12, 1), np.random.default_rng(2)
    R, v = (x[0, :, i].numpy() for i in range(2))

    def pairs(position):
        apart = ((position[:, None] - position) ** 2).sum(-1)
        dv = (v[:, None] - v) ** 2
        return np.array(
            [(np.exp(-apart / 2 / s**2) * np.exp(-dv / 2 / w**2)).sum() for s in SEPARATIONS for w in VELOCITIES]
        )

    angles = rng.uniform(0, 2 * np.pi, (4000, 12))
    drawn = np.array([pairs(np.stack([R * np.cos(a), R * np.sin(a)], 1)) for a in angles])
    expected = (pairs(x[0, :, 3:].numpy()) - drawn.mean(0)) / 12
    found = sky_statistics(x, richness=True)[0, len(SHAPES) :].numpy()
    # a galaxy is its own neighbour, whatever the direction: the statistic expects it elsewhere
    own = [
        (1 - torch.special.i0e(torch.from_numpy(R / s) ** 2).numpy()).mean() for s in SEPARATIONS for _ in VELOCITIES
    ]
    error = drawn.std(0) / np.sqrt(len(angles)) / 12
    assert (np.abs(found - own - expected) < 4.5 * error).all()


def test_a_clump_is_an_excess_of_pairs_and_the_features_have_their_names():
    x = cluster(200, 3)
    clumpy = x.clone()
    clumpy[0, :20, 3:] = torch.tensor([0.5, 0.3]) + 0.1 * clumpy[0, :20, 3:]
    clumpy[0, :20, 1] = 700 + 0.3 * clumpy[0, :20, 1]
    clumpy[..., 0] = clumpy[..., 3:].norm(dim=-1)
    before, after = (sky_statistics(each, richness=True)[0] for each in (x, clumpy))
    assert (after[len(SHAPES) :] > before[len(SHAPES) :] + 0.15).all()
    added = SummaryStatistics(sky=True)(x.float()).shape[1] - SummaryStatistics()(x.float()[..., :3]).shape[1]
    assert added == len(SKY_STATISTICS) == len(before)

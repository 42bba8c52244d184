"""Counts in units of trial masses, held against counting, and what self-similarity promises."""

import numpy as np
import pytest
import torch

from clustermocks import FlatMasses, HaloModel, SphericalJeans
from sbi_clustermass import Tabulated, Training, train
from sbi_clustermass.embeddings import TrialMasses
from sbi_clustermass.embeddings.scaled_counts import FARTHEST_NODES, R_NODES, RADIUS, SPEED, V_NODES

BINS = len(R_NODES) * len(V_NODES)


def cluster(n, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    x = np.ones((1, n, 3), np.float32)
    x[0, :, 0], x[0, :, 1] = scale * rng.uniform(0, 0.9, n), scale * 500 * rng.standard_normal(n)
    return torch.from_numpy(x)


def test_each_trial_counts_every_galaxy_once_shared_linearly_among_nodes():
    embedding = TrialMasses(14.0, 1.0, trials=3, edge=True)
    x = cluster(25)
    counts, farthest = embedding.counts(x)[0].split([BINS, len(FARTHEST_NODES)], -1)
    for trial, log10_mass in zip(counts.reshape(3, len(R_NODES), len(V_NODES)), (13.5, 14.0, 14.5), strict=True):
        s = 10 ** ((log10_mass - 14) / 3)
        assert trial.sum().item() == pytest.approx(25, rel=1e-5)
        # a linear share keeps first moments: those of the galaxies themselves, clamped to the nodes
        u = (x[0, :, 1].abs() / SPEED / s).clamp(max=V_NODES[-1]).sum()
        assert (trial.sum(0) @ torch.tensor(V_NODES)).item() == pytest.approx(u.item(), rel=1e-4)
        r = (x[0, :, 0] / RADIUS / s).clamp(max=R_NODES[-1]).sum()
        assert (trial.sum(1) @ torch.tensor(R_NODES)).item() == pytest.approx(r.item(), rel=1e-4)
    largest = x[0, :, 0].max() / RADIUS
    assert (farthest[1] @ torch.tensor(FARTHEST_NODES)).item() == pytest.approx(largest.item(), rel=1e-4)


def test_without_an_edge_the_galaxies_are_counted_and_nothing_else():
    x = cluster(25)
    plain, edge = (TrialMasses(14.0, 1.0, trials=3, edge=edge).counts(x) for edge in (False, True))
    torch.testing.assert_close(plain, edge[..., :BINS])


def test_a_cluster_of_ten_times_the_mass_counts_as_the_same_at_trials_of_ten_times_the_mass():
    counts = TrialMasses(14.5, 1.0, trials=2, edge=True).counts
    small, large = counts(cluster(40)), counts(cluster(40, scale=10 ** (1 / 3)))
    torch.testing.assert_close(small[:, 0], large[:, 1], rtol=1e-3, atol=1e-3)  # float32 over steps of .005


@pytest.mark.parametrize("log10_mass", [14.2, 14.9])
def test_before_any_training_the_likelihood_peaks_near_the_mass(log10_mass):
    model = SphericalJeans(richness="independent")
    mocks = model.simulate(np.full(40, log10_mass), seed=1)
    torch.manual_seed(0)
    embedding = TrialMasses(14.4, 1.8, trials=37)
    with torch.no_grad():
        peak = embedding(torch.from_numpy(mocks.padded())).argmax(1)
    masses = np.linspace(13.5, 15.3, 37)[peak]
    # some 28 galaxies give .11 dex at best; the guess is a rough one
    assert abs(np.median(masses) - log10_mass) < 0.25


def test_the_ladder_must_have_two_rungs():
    with pytest.raises(ValueError, match="trials is 1"):
        TrialMasses(trials=1)
    assert FlatMasses(*TrialMasses().range).draw(1, seed=1)[0] > 13.0


def test_trials_are_widened_to_cover_a_support_at_the_same_distances():
    embedding = TrialMasses(14.0, 1.0, trials=11, richness=False)
    assert embedding.covering(13.6, 14.5) is embedding
    wider = embedding.covering(13.2, 14.2)
    assert wider.range == pytest.approx((13.2, 14.5))
    assert (wider.trials, wider.richness) == (14, False)


def test_training_beyond_the_trial_masses_widens_them():
    """Beyond the trials a density falls off whatever the data: masses there would never be found."""
    mocks = HaloModel().simulate(FlatMasses(13.0, 15.6).draw(300, seed=1), seed=1)
    flow = Tabulated(embedding=TrialMasses(14.3, 1.0, trials=21))
    estimator = train(mocks, flow=flow, training=Training(max_updates=5), support=(13.0, 15.6), device="cpu")
    assert estimator.flow.embedding.range == pytest.approx((13.0, 15.6))


@pytest.mark.parametrize("times", [2, 20])
def test_many_galaxies_saturate(times):
    torch.manual_seed(0)
    plain, saturating = (TrialMasses(14.3, 1.0, trials=5, saturating=each) for each in (False, True))
    x = cluster(25)
    for embedding in (plain, saturating):
        torch.nn.init.zeros_(embedding.likelihood.mix[-1].weight)  # leaves the sum over galaxies
    with torch.no_grad():
        for embedding, more in ((plain, times), (saturating, times * (1 + 25 / 50) / (1 + times * 25 / 50))):
            torch.testing.assert_close(embedding(x.repeat(1, times, 1)), more * embedding(x), rtol=1e-3, atol=1e-3)

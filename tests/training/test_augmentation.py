"""Augmentation: what it does to galaxies, and what it leaves of the prior and of the posterior."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.stats import biweight_location
from hypothesis import given, strategies as st
from scipy import stats
from torch import nn

from clustermocks import MDPL2, Catalogue, Observation
from clustermocks.observation import centre_velocity
from sbi_clustermass import ClusterNPE, StackedAffine, Training, mass_prior
from sbi_clustermass.posterior.prior import fit_effective_prior
from sbi_clustermass.training import Augmentation, GalaxyWriter, RaggedDataset, Storage
from sbi_clustermass.training.augmentation import biweight_centre
from sbi_clustermass.training.precompute import augment_once

LOW, HIGH, CUT, SHARE = 13.0, 13.8, 20, 0.6


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clusters(n: int, galaxies: int) -> torch.Tensor:
    x = torch.ones(n, galaxies, 3)
    x[..., 0], x[..., 1] = torch.rand(n, galaxies, generator=generator(2)), 1000.0
    return x


def test_galaxies_are_kept_with_a_completeness_drawn_for_each_cluster():
    x, passed = Augmentation(completeness=(0.4, 0.8), velocity_error=(0, 0), mirror=False)(
        clusters(4000, 100), generator()
    )
    share = x[..., 2].mean(1).numpy()
    assert passed.all()
    # uniform in [.4, .8] plus binomial: standard errors of the mean .0020 and, of 4000, 1.1 % of the variance 2.2 %
    assert share.mean() == pytest.approx(0.6, abs=0.008)
    assert share.var() == pytest.approx(0.4**2 / 12 + np.mean([s * (1 - s) for s in (0.4, 0.6, 0.8)]) / 100, rel=0.1)


def test_velocity_errors_have_a_size_drawn_for_each_cluster_and_half_the_clusters_are_reversed():
    x, _ = Augmentation(completeness=(1, 1), velocity_error=(50, 150))(clusters(4000, 100), generator())
    side = x[..., 1].mean(1).sign()
    assert side.mean().item() == pytest.approx(0, abs=0.064)  # four standard errors of 4000 signs
    size = (x[..., 1] * side[:, None]).std(1).numpy()
    # the std of 100 normal draws scatters by 7 %: the ends blur by that
    assert np.percentile(size, [1, 50, 99]) == pytest.approx([50, 100, 150], rel=0.12)


def test_no_galaxy_is_invented_and_those_beyond_the_velocity_cut_are_lost():
    before = clusters(50, 40)
    x, passed = Augmentation(velocity_error=(300, 300), v_cut=1100.0, mirror=False)(before, generator())
    real = x[..., 2] > 0
    assert passed.all()
    assert torch.equal(x[..., 0][real], before[..., 0][real])
    assert x[~real].abs().max() == 0
    assert x[..., 1].abs().max() < 1100
    assert real.float().mean().item() < 0.75 * stats.norm.cdf(1 / 3) + 0.05  # completeness .75, error below 100 km/s


def test_a_cluster_left_with_too_few_galaxies_has_no_weight_and_stays_as_it_was():
    before = clusters(2000, 10)
    x, passed = Augmentation(completeness=(0.5, 0.5), min_galaxies=6)(before, generator())
    # P(binomial(10, .5) >= 6) = .377, standard error .011
    assert passed.float().mean().item() == pytest.approx(stats.binom.sf(5, 10, 0.5), abs=0.044)
    assert torch.equal(x[~passed], before[~passed])
    assert (x[passed][..., 2].sum(1) >= 6).all()


@given(counts=st.lists(st.integers(0, 40), min_size=1, max_size=8), seed=st.integers(0, 2**31))
def test_the_centre_of_padded_clusters_is_the_biweight_of_astropy(counts, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(50, 700, (len(counts), 40)).astype(np.float32)
    real = rng.permuted(np.arange(40) < np.array(counts)[:, None], axis=1)
    found = biweight_centre(torch.from_numpy(x), torch.from_numpy(real))[:, 0].numpy()
    for row, mask, centre in zip(x, real, found, strict=True):
        expected = biweight_location(row[mask].astype(float)) if mask.any() else 0.0
        assert centre == pytest.approx(expected, abs=0.02)  # float32: 7 digits of some thousand km/s, summed


def test_thinned_clusters_stand_where_a_table_of_them_would():
    x = clusters(2000, 40)
    x[..., 1] = 700 * torch.randn(2000, 40, generator=generator(5))
    changed = Augmentation((0.3, 0.5), min_galaxies=5, v_cut=2500.0, recentre=True, mirror=False)
    centres = []
    for each in (changed, replace(changed, recentre=False)):
        seen, passed = each(x, generator())
        assert passed.float().mean() > 0.9
        rows = [row[row[:, 2] > 0, 1].double().numpy() for row in seen[passed]]
        centres.append(np.array([centre_velocity(row, 2500.0) for row in rows]))
        assert seen[passed][..., 1].abs().max() < 2500
    # the first step is not the last where a galaxy left the window: 3.6 dispersions
    assert np.quantile(np.abs(centres[0]), 0.98) < 5
    assert np.std(centres[1]) > 100  # 700 / sqrt(16) = 175


def test_training_recentres_where_the_mocks_are():
    observation, asked = Observation(), Augmentation()
    assert [asked.within(observation, recentred=each).recentre for each in (True, False)] == [True, False]
    assert replace(asked, recentre=False).within(observation, recentred=True).recentre is False


def poisson_catalogue(seed: int, *, slope: float, n: int = 20_000, share: float = 1.0) -> Catalogue:
    """Attempted masses with a density that falls as exp(-slope M), richness Poisson, thinned before the cut."""
    rng = np.random.default_rng(seed)
    span = HIGH - LOW
    masses = LOW - np.log1p(-rng.random(n) * -np.expm1(-slope * span)) / slope if slope else rng.uniform(LOW, HIGH, n)
    count = rng.binomial(rng.poisson(30 * 10 ** (masses - LOW)), share)
    galaxies = {"R_proj": np.full(count.sum(), 0.5), "v_los": np.zeros(count.sum())}
    return Catalogue.from_arrays(
        Observation(min_galaxies=CUT),
        MDPL2,
        clusters={"log10_mass": masses, "host_id": np.arange(n)},
        galaxies=galaxies,
        offsets=np.concatenate([[0], np.cumsum(count)]),
    )


def test_the_effective_prior_is_the_same_for_the_thinned_set():
    grid = np.linspace(LOW, HIGH, 50)
    whole, thinned = poisson_catalogue(1, slope=3.0), poisson_catalogue(1, slope=3.0, share=SHARE)
    assert len(thinned) < 0.9 * len(
        whole
    )  # otherwise nothing was tested: a third is left at the low end, all at the high
    for catalogue in (whole, thinned):
        log_prior = fit_effective_prior(catalogue, (LOW, HIGH)).log_density(grid)
        # some 8000 masses fix the slope of log pi to 3 / sqrt(8000) = .05 over a dex; four of these over the support
        np.testing.assert_allclose(log_prior - log_prior.mean(), -3.0 * (grid - grid.mean()), atol=0.2)


class LogCount(nn.Module):
    def forward(self, x):
        return x[..., 2].sum(1, keepdim=True).clamp(min=1).log()


@pytest.fixture(scope="module")
def counts():
    """A network trained on Poisson richness, thinned in the loop to a share that never varies."""
    mocks = poisson_catalogue(2, slope=0.0, n=5000)
    inference = ClusterNPE(
        mass_prior(LOW, HIGH), StackedAffine(blocks=1, hidden=(16,), embedding=LogCount()), device="cpu"
    )
    theta, x = torch.tensor(mocks.log10_mass, dtype=torch.float32)[:, None], torch.from_numpy(mocks.padded())
    changed = Augmentation(completeness=(SHARE, SHARE), velocity_error=(0, 0), min_galaxies=CUT)
    rule = Training(learning_rate=1e-2, max_updates=250, patience=250, seed=1, augmentation=changed)
    return inference, inference.append_simulations(theta, x).train(rule)


def test_training_on_thinned_clusters_gives_the_exact_posterior_of_a_thinned_cluster(counts):
    _, network = counts
    grid = torch.linspace(LOW, HIGH, 401)
    for n in (CUT, 30, 60):
        exact = stats.poisson.pmf(n, SHARE * 30 * 10 ** (grid.numpy() - LOW))
        with torch.no_grad():
            found = network.log_prob_grid(torch.ones(1, n, 3), grid, within=(LOW, HIGH))[0].exp().numpy()
        means = [np.average(grid.numpy(), weights=density) for density in (exact, found)]
        # width .05 to .09 dex; a Gaussian in log mass is off by a tenth of it. The untouched clusters that were dropped
        # would pull by up to log10(1 / .6) = .2
        assert means[1] == pytest.approx(means[0], abs=0.02)


def test_the_validation_set_is_thinned_once_for_the_whole_training(counts):
    inference, _ = counts
    changed = Augmentation(completeness=(SHARE, SHARE), min_galaxies=CUT)
    rule = Training(learning_rate=1e-30, max_updates=30, validate_every=10, cooldown=0, seed=1, augmentation=changed)
    inference.train(rule)
    history = inference.history
    assert len(set(history.validation_loss)) == 1  # the weights do not move, nor does the set
    assert len(set(history.training_loss)) == 3


def test_galaxies_on_end_are_augmented_as_padded_ones_are():
    x = clusters(30, 25)
    writer = GalaxyWriter(Storage(torch.device("cpu")))
    writer.append(x[..., :2].reshape(-1, 2).numpy(), np.full(30, 25))
    rows = writer.finish(torch.arange(30.0)[:, None])
    changed = Augmentation(min_galaxies=15)
    few = augment_once(rows, torch.arange(5, 30), changed, generator=generator(), storage=Storage(torch.device("cpu")))
    padded, passed = changed(x[5:], generator())
    assert isinstance(few, RaggedDataset)
    assert few.theta[:, 0].tolist() == torch.arange(5, 30)[passed].tolist()
    assert torch.equal(few.flat, padded[passed][padded[passed][..., 2] > 0][:, :2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"completeness": (0.5, 1.5)}, "completeness is"),
        ({"completeness": (0.0, 0.0)}, "no galaxy is left"),
        ({"velocity_error": (100.0, 50.0)}, "velocity_error is"),
        ({"min_galaxies": 0}, "min_galaxies 0"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)


def test_a_completeness_that_leaves_no_validation_cluster_is_refused():
    writer = GalaxyWriter(Storage(torch.device("cpu")))
    writer.append(np.ones((100, 2)), np.full(10, 10))
    with pytest.raises(ValueError, match="higher completeness"):
        augment_once(
            writer.finish(torch.zeros(10, 1)),
            torch.arange(10),
            Augmentation(completeness=(0.1, 0.1), min_galaxies=10),
            generator=generator(),
            storage=Storage(torch.device("cpu")),
        )

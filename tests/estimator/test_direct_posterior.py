"""sbi's own diagnostics and plots on `estimator.to_sbi()`, and its posterior against ours."""

import matplotlib as mpl
import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import nn

mpl.use("agg")

FAILURE_RATE = 1e-3  # of each statistical test, had the seed not been fixed


@pytest.fixture(scope="module")
def calibrated():
    """A network whose density is exact, N(14.3 + .3 v, .2) truncated to 13.0 to 15.6, and observations."""
    from sbi_clustermass.flows import EmbedOnce
    from sbi_clustermass.flows.affine_flow import AffineFlow, Layout

    layout = Layout(theta=1, blocks=1, hidden=(), components=1, activation="tanh")
    inner = AffineFlow(torch.tensor([14.3]), torch.tensor([1.0]), layout)
    network = EmbedOnce(nn.Identity(), FirstVelocity(), inner, (1, 3))
    rng = torch.Generator().manual_seed(5)
    x = torch.zeros(300, 4, 3)
    x[:, :, 2] = 1
    x[:, 0, 1] = 2 * torch.randn(300, generator=rng)
    return network, x


class FirstVelocity(nn.Module):
    """Shift and log width of the Gaussian, from the first galaxy's velocity."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.3))

    def forward(self, x):
        return torch.stack([self.slope * x[:, 0, 1], torch.full((len(x),), float(np.log(0.2)))], dim=1)


@pytest.fixture(scope="module")
def bridged(estimator, mocks):
    """sbi's posterior, observations padded to its width, and our posteriors of the same clusters."""
    some = mocks.select(np.arange(120))
    x = torch.from_numpy(some.padded(estimator.richness[1]))
    return estimator.to_sbi(), x, estimator.posterior(some)


@pytest.fixture(scope="module")
def pairs(calibrated):
    """sbi's posterior of a network that is right, with observations and parameters that follow it."""
    from sbi_clustermass.estimator.direct_posterior import direct_posterior

    network, x = calibrated
    posterior = direct_posterior(network, (13.0, 15.6), width=4)
    torch.manual_seed(1)
    return posterior, posterior.sample_batched((1,), x=x, show_progress_bars=False)[0], x


def test_it_is_sbis_posterior_in_float32(bridged):
    from sbi.inference.posteriors import DirectPosterior

    posterior, x, _ = bridged
    assert isinstance(posterior, DirectPosterior)
    assert x.dtype == torch.float32
    assert posterior.sample((5,), x=x[0], show_progress_bars=False).dtype == torch.float32
    assert posterior.sample((5,), x=x[:1], show_progress_bars=False).shape == (5, 1)


def test_its_log_densities_are_ours(bridged):
    posterior, x, ours = bridged
    grid = torch.as_tensor(ours.grid, dtype=torch.float32)
    theta = grid[1:-1, None, None].expand(254, len(x), 1)
    theirs = posterior.log_prob_batched(theta, x=x).T.numpy()
    # float32 of numbers up to 100, and of masses: 1e-6 times the log density's slope of up to 100 a dex
    np.testing.assert_allclose(theirs, ours.log_prob[:, 1:-1], rtol=1e-5, atol=5e-4)
    alone = posterior.log_prob(grid[1:-1, None], x=x[3])
    np.testing.assert_allclose(alone.numpy(), ours.log_prob[3, 1:-1], rtol=1e-5, atol=5e-4)
    assert posterior.log_prob(torch.tensor([[12.9]]), x=x[3]).item() == -np.inf


def test_sbis_own_leakage_agrees_within_its_monte_carlo_error(pairs):
    from sbi.inference.posteriors import DirectPosterior

    posterior, _, x = pairs
    torch.manual_seed(1)
    exact = posterior.leakage_correction(x)
    some = x[(exact > 0.4) & (exact < 0.99)][:10]  # sbi's sampling stalls where hardly any draw is accepted
    assert len(some) > 3
    sampled, exact = DirectPosterior.leakage_correction(posterior, some), posterior.leakage_correction(some)
    # the share of 10 000 draws or more; 4 sigma for each of 10: fails once in 1600 seeds
    assert ((sampled - exact).abs() <= 4 * torch.sqrt(exact * (1 - exact) / 10_000)).all()


def test_leakage_follows_the_default_observation(pairs):
    """Stock sbi 0.27 keeps the first observation's factor."""
    from sbi.inference.posteriors import DirectPosterior

    posterior, _, x = pairs
    inside = posterior.leakage_correction(x)
    first, second = x[inside.argmax()][None], x[(inside - 0.5).abs().argmin()][None]
    theta = torch.tensor([[15.5]])
    right = posterior.log_prob(theta, x=second).item()
    ours, stock = (make(posterior.posterior_estimator, posterior.prior) for make in (type(posterior), DirectPosterior))
    for each, follows in ((ours, True), (stock, False)):
        each.set_default_x(first).log_prob(theta)
        found = each.set_default_x(second).log_prob(theta).item()
        assert (abs(found - right) < 0.05) is follows  # the factor .5 is .7 nats


def test_its_samples_are_distributed_as_ours(bridged):
    posterior, x, ours = bridged
    rows = [0, 40, 80]
    torch.manual_seed(2)
    samples = posterior.sample_batched((2000,), x=x[rows], show_progress_bars=False)
    for i, row in enumerate(rows):  # one of the three fails once in 300 seeds
        drawn = samples[:, i, 0].numpy()
        assert kstest(ours[np.full(len(drawn), row)].pit(drawn), "uniform").pvalue > FAILURE_RATE


def test_sbc_passes_a_network_that_is_right_and_fails_one_that_is_shifted(pairs):
    from sbi.diagnostics import check_sbc, run_sbc

    posterior, theta, x = pairs
    ranks, dap = run_sbc(theta, x, posterior, 300, show_progress_bar=False)
    assert check_sbc(ranks, theta, dap, num_posterior_samples=300)["ks_pvals"][0] > FAILURE_RATE
    shifted = (theta[:150] + 0.1).clamp(13.0, 15.6)  # half a sigma
    ranks, _ = run_sbc(shifted, x[:150], posterior, 300, show_progress_bar=False)
    assert uniformity(ranks) < FAILURE_RATE


def uniformity(ranks):
    """p-value of ranks among 300 samples."""
    return kstest(ranks[:, 0].numpy() / 300, "uniform").pvalue


def test_tarp_and_expected_coverage_pass_a_network_that_is_right(pairs):
    from sbi.diagnostics import check_tarp, run_sbc, run_tarp

    posterior, theta, x = pairs
    torch.manual_seed(3)
    ecp, alpha = run_tarp(theta, x, posterior, num_posterior_samples=300, show_progress_bar=False)
    atc, pvalue = check_tarp(ecp, alpha)
    assert pvalue > FAILURE_RATE
    assert abs(atc) < 0.1  # an area over 300 clusters: 3 sigma
    log_prob = posterior.log_prob
    ranks, _ = run_sbc(theta[:150], x[:150], posterior, 300, reduce_fns=log_prob, show_progress_bar=False)
    assert uniformity(ranks) > FAILURE_RATE


@pytest.mark.slow
def test_lc2st_runs_on_the_embedding_and_finds_a_shift(pairs):
    from sbi.diagnostics import LC2ST

    posterior, theta, x = pairs
    torch.manual_seed(4)
    samples = posterior.sample_batched((1,), x=x, show_progress_bars=False)[0]
    features = posterior.posterior_estimator.embedding_net(x).detach()[:, :1]
    theta_o = posterior.sample((200,), x=x[:1], show_progress_bars=False)
    pvalues = []
    for shift in (0.0, 0.5):
        test = LC2ST(theta + shift, features, samples, num_trials_null=10, classifier="random_forest", z_score=True)
        test.train_on_observed_data(verbosity=0).train_under_null_hypothesis(verbosity=0)
        pvalues.append(test.p_value(theta_o, features[:1]))
    assert pvalues[1] < 0.1 <= pvalues[0]  # a right network fails in one of 10 seeds, this one does not


def test_pairplot_draws_its_samples(bridged):
    from sbi.analysis import pairplot

    posterior, x, _ = bridged
    figure, _ = pairplot(posterior.sample((500,), x=x[0], show_progress_bars=False), labels=["log10 M200c"])
    assert figure.axes[0].get_xlabel() == "log10 M200c"


def test_width_holds_the_richest_training_cluster_and_another_may_be_asked_for(estimator, mocks):
    poor = mocks.select(np.argsort(mocks.n_galaxies)[:3])
    posterior = estimator.to_sbi(width=40)
    theta = torch.full((1, 3, 1), 13.5)
    narrow = posterior.log_prob_batched(theta, x=torch.from_numpy(poor.padded(40)))
    wide = estimator.to_sbi().log_prob_batched(theta, x=torch.from_numpy(poor.padded(int(mocks.n_galaxies.max()))))
    np.testing.assert_allclose(narrow, wide, atol=1e-3)  # float32 sums in another order
    assert estimator.network.condition_shape != torch.Size([40, 3]), "the estimator's own network is left alone"
    with pytest.raises(ValueError, match="at least one galaxy"):
        estimator.to_sbi(width=0)

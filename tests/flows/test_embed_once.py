"""EmbedOnce: one embedding per condition, sbi's shapes, and probabilities between bounds."""

from math import log

import numpy as np
import pytest
import torch
from nflows.distributions.normal import StandardNormal
from nflows.flows import Flow
from nflows.transforms.base import CompositeTransform
from sbi.neural_nets.estimators.nflows_flow import NFlowsFlow
from sbi.neural_nets.net_builders import build_nsf
from scipy.stats import norm, truncnorm
from torch import nn

from sbi_clustermass.flows import EmbedOnce, StackedAffine
from sbi_clustermass.flows.affine_flow import StandardiseParameters
from sbi_clustermass.flows.univariate import log_normal_mass

LOW, HIGH = 13.5, 15.3


class Counting(nn.Module):
    """Velocity moments; counts the rows it is asked to reduce."""

    def __init__(self):
        super().__init__()
        self.rows = 0

    def forward(self, x):
        self.rows += len(x)
        return x.flatten(1)[:, :6]


def pairs(n=40, theta=1, dtype=torch.float32):
    torch.manual_seed(1)
    x = torch.randn(n, 5, 3, dtype=dtype)
    return 14.4 + 0.3 * x[:, 0, :theta] + 0.1 * torch.randn(n, theta, dtype=dtype), x


def small(dtype=torch.float32, theta=1):
    torch.manual_seed(2)
    pair = pairs(theta=theta, dtype=dtype)
    return StackedAffine(hidden=(16, 8, 16), embedding=Counting())(*pair).to(dtype), *pair


def spline():
    """An inner estimator that is no Gaussian, behind the same trunk."""
    flow, theta, x = small()
    return EmbedOnce(flow.summary, flow.embedding, build_nsf(theta, flow.embed(x).detach()), x.shape[1:]), theta, x


@pytest.mark.parametrize("build", [small, spline])
@pytest.mark.parametrize(
    "ask",
    [
        lambda flow, x: flow.log_prob(torch.full((32, 100, 1), 14.0), x),
        lambda flow, x: flow.log_prob_grid(x, torch.linspace(LOW, HIGH, 32), within=(LOW, HIGH)),
        lambda flow, x: flow.sample((32,), x),
        lambda flow, x: flow.sample_and_log_prob((32,), x),
        lambda flow, x: flow.log_mass_within(x, LOW, HIGH),
        lambda flow, x: flow.truncated_loss(torch.full((100, 1), 14.0), x, low=LOW, high=HIGH),
        lambda flow, x: flow.inverse_transform(torch.full((100, 1), 14.0), x),
    ],
)
def test_a_hundred_conditions_are_embedded_a_hundred_times(build, ask):
    flow = build()[0]
    flow.summary.rows = 0
    ask(flow, torch.randn(100, 5, 3))
    assert flow.summary.rows == 100


@pytest.mark.parametrize("build", [small, spline])
def test_it_takes_all_of_sbis_shapes(build):
    flow, theta, x = build()
    assert flow.log_prob(theta, x).shape == (1, 40)
    assert flow.log_prob(theta.expand(7, 40, 1), x).shape == (7, 40)
    assert flow.log_prob(theta.expand(7, 40, 1), x[:1]).shape == (7, 40)
    assert flow.log_prob(theta[:1].expand(7, 1, 1), x).shape == (7, 40)
    assert flow.log_prob(theta.expand(7, 40, 1), x.expand(7, *x.shape)).shape == (7, 40)
    assert flow.loss(theta, x).shape == (40,)
    assert flow.sample((3, 2), x).shape == (3, 2, 40, 1)
    assert flow.sample(torch.Size(()), x).shape == (40, 1)
    assert flow.sample((3,), x[:, :2]).shape == (3, 40, 1), "another number of galaxies"


def test_a_condition_without_batch_says_what_to_do():
    flow, theta, x = small()
    with pytest.raises(ValueError, match=r"condition\[None\]"):
        flow.log_prob(theta[:1], x[0])


def test_on_summaries_shares_the_weights_and_gives_the_same_losses():
    flow, theta, x = small()
    cached = flow.on_summaries()
    assert flow.summary_is_fixed
    assert torch.equal(cached.loss(theta, flow.summary(x)), flow.loss(theta, x))
    assert {id(p) for p in cached.parameters()} == {id(p) for p in flow.parameters()}


def test_a_summary_with_weights_is_not_fixed():
    flow, _, x = small()
    learned = EmbedOnce(nn.Sequential(nn.Flatten(), nn.Linear(15, 6)), flow.embedding, flow.net, x.shape[1:])
    assert not learned.summary_is_fixed


def test_embedding_net_maps_an_observation_to_the_features():
    flow, _, x = small()
    assert torch.equal(flow.embedding_net(x), flow.embed(x))


@pytest.mark.parametrize("build", [small, spline])
def test_samples_of_several_conditions_come_with_their_own_log_probs(build):
    flow, _, x = build()
    samples, log_prob = flow.sample_and_log_prob((50, 4), x[:3])
    assert samples.shape == (50, 4, 3, 1)
    torch.testing.assert_close(log_prob.reshape(200, 3), flow.log_prob(samples.reshape(200, 3, 1), x[:3]))


def test_stock_sbi_mixes_the_conditions_up():
    # the reason for our own sample_and_log_prob: when this fails, sbi has mended it
    flow, _, _ = small()
    features = torch.tensor([[-8.0, 0, 0, 0, 0, 0], [8.0, 0, 0, 0, 0, 0]])
    own, _ = EmbedOnce(nn.Identity(), nn.Identity(), flow.net, (6,)).sample_and_log_prob((500,), features)
    stock, _ = flow.net.sample_and_log_prob(torch.Size((500,)), features)
    loc = flow.net.normal(features)[0][:, 0]
    # half the distance between the two means: samples are within 3 standard errors of theirs
    assert (own.mean(0)[:, 0] - loc).abs().max() < (loc[1] - loc[0]) / 4
    assert (stock.mean(0)[:, 0] - loc).abs().max() > (loc[1] - loc[0]) / 4


@pytest.mark.parametrize("build", [small, spline])
def test_the_transform_to_noise_gives_the_density_by_change_of_variables(build):
    flow, theta, x = build()
    theta = theta.requires_grad_()
    noise = flow.inverse_transform(theta, x)
    slope = torch.autograd.grad(noise.sum(), theta)[0][:, 0]
    log_prob = -0.5 * noise[:, 0] ** 2 - 0.5 * np.log(2 * np.pi) + slope.log()
    # float32 through five splines
    torch.testing.assert_close(-log_prob, flow.loss(theta, x), rtol=1e-4, atol=1e-4)


def test_an_estimator_without_noise_says_so():
    flow, theta, x = small()
    del flow.net
    flow.net = nn.Identity()
    with pytest.raises(TypeError, match="Identity is not a flow"):
        flow.inverse_transform(theta, x)


@pytest.mark.parametrize("build", [small, spline])
def test_log_prob_grid_is_log_prob_on_the_grid(build):
    flow, _, x = build()
    grid = torch.linspace(LOW, HIGH, 33)
    expected = flow.log_prob(grid[:, None, None].expand(33, 40, 1), x).T
    # float32 of values up to some tens, in another order of operations
    torch.testing.assert_close(flow.log_prob_grid(x, grid), expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("build", [small, spline])
def test_the_density_integrates_to_one_and_between_bounds_after_truncation(build):
    flow, _, x = build()
    wide, support = torch.linspace(11, 18, 2001), torch.linspace(LOW, HIGH, 501)
    # trapezoid of float32 densities; nsf has kinks
    total = torch.trapezoid(flow.log_prob_grid(x, wide).exp(), wide)
    torch.testing.assert_close(total, torch.ones(40), rtol=0, atol=2e-3)
    inside = torch.trapezoid(flow.log_prob_grid(x, support, within=(LOW, HIGH)).exp(), support)
    torch.testing.assert_close(inside, torch.ones(40), rtol=0, atol=2e-3)
    mass = torch.trapezoid(flow.log_prob_grid(x, support).exp(), support).log()
    torch.testing.assert_close(flow.log_mass_within(x, LOW, HIGH), mass, rtol=0, atol=2e-3)


def test_the_truncated_loss_is_scipys_truncated_normal():
    flow, theta, x = small(torch.float64)
    theta = theta.clamp(LOW, HIGH)
    loc, scale = (part.detach().numpy()[:, 0] for part in flow.net.normal(flow.embed(x)))
    truth = -truncnorm.logpdf(theta.numpy()[:, 0], (LOW - loc) / scale, (HIGH - loc) / scale, loc, scale)
    found = flow.truncated_loss(theta, x, low=LOW, high=HIGH).detach().numpy()
    np.testing.assert_allclose(found, truth, rtol=1e-10, atol=1e-10)  # float64, both closed forms
    parts = flow.loss(theta, x) + flow.log_mass_within(x, LOW, HIGH)
    np.testing.assert_allclose(parts.detach().numpy(), truth, rtol=1e-10, atol=1e-10)


LOCS = np.array([-1000.0, 0.0, 10.0, 13.0, 13.5, 14.4, 15.3, 16.0, 20.0, 60.0, 1000.0])


@pytest.mark.parametrize("scale", [0.01, 0.1, 0.5, 5.0, 1e4])
def test_the_mass_within_bounds_is_exact_far_into_both_tails(scale):
    found = log_normal_mass(torch.tensor(LOCS), torch.full((len(LOCS),), scale, dtype=torch.float64), LOW, HIGH)
    near = np.where(LOCS > (LOW + HIGH) / 2, LOCS - HIGH, LOW - LOCS) / scale
    far = np.where(LOCS > (LOW + HIGH) / 2, LOCS - LOW, HIGH - LOCS) / scale
    log_near, log_far = norm.logsf(near), norm.logsf(far)
    truth = log_near + np.log(-np.expm1(log_far - log_near))
    np.testing.assert_allclose(found, truth, rtol=1e-9)  # float64; truth takes a plain difference of logs
    if scale < 5:
        middle = np.abs(LOCS - 14.4) < 3
        cdf = np.log(np.maximum(norm.cdf(HIGH, LOCS, scale) - norm.cdf(LOW, LOCS, scale), 1e-300))
        well = middle & (cdf > -20)  # the plain difference of two cdfs is good where it does not cancel
        np.testing.assert_allclose(found.numpy()[well], cdf[well], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_mass_within_bounds_has_finite_values_and_gradients_anywhere(dtype):
    loc = torch.tensor([-1e30, -1e6, 0.0, 14.0, 30.0, 1e6, 1e30], dtype=dtype).repeat(4).requires_grad_()
    scale = torch.tensor([1e-6, 0.1, 10.0, 1e6], dtype=dtype).repeat_interleave(7).requires_grad_()
    for bounds in ((LOW, HIGH), (-np.inf, HIGH), (LOW, np.inf)):
        mass = log_normal_mass(loc, scale, *bounds)
        gradients = torch.autograd.grad(mass.sum(), (loc, scale))
        assert mass.isfinite().all()
        if dtype == torch.float64:
            assert all(each.isfinite().all() for each in gradients)


@pytest.mark.parametrize("value", [9.0, 13.2, 14.4, 15.3, 21.0])
def test_the_gradient_of_the_mass_is_its_difference(value):
    loc = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    scale = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    # gradcheck: central differences with steps of 1e-6, relative error 1e-5
    assert torch.autograd.gradcheck(lambda m, s: log_normal_mass(m, s, LOW, HIGH), (loc, scale), rtol=1e-5)


def test_bounds_out_of_order_and_several_parameters_are_refused():
    flow, _, x = small()
    with pytest.raises(ValueError, match="not ordered"):
        flow.log_mass_within(x, HIGH, LOW)
    two, _, x = small(theta=2)
    with pytest.raises(ValueError, match="one parameter"):
        two.log_mass_within(x, LOW, HIGH)
    with pytest.raises(ValueError, match="one parameter"):
        two.log_prob_grid(x, torch.linspace(LOW, HIGH, 5))


def test_a_flow_that_has_left_the_bounds_is_not_rewarded_for_what_float32_cannot_resolve():
    """Noise 9 at every mass to seven digits: the density between the bounds is flat, and its loss log(1.8)."""
    far = StandardiseParameters(torch.tensor([14.0 - 9e9]), torch.tensor([1e9]))
    inner = NFlowsFlow(Flow(CompositeTransform([far]), StandardNormal((1,))), torch.Size([1]), torch.Size([4]))
    flow = EmbedOnce(nn.Identity(), nn.Identity(), inner, (4,))
    loss = flow.truncated_loss(torch.full((3, 1), 14.0), torch.rand(3, 4), low=13.5, high=15.3)
    assert (loss >= log(1.8)).all()

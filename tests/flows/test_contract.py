"""What every entry of FLOWS must do: a new entry is tested by existing."""

import json
import warnings
from dataclasses import fields, replace
from functools import cache
from inspect import signature

import numpy as np
import pytest
import torch
from safetensors.torch import load_model, save_model
from sbi.diagnostics import run_sbc, run_tarp
from sbi.inference import NPE
from sbi.neural_nets.factory import model_builders
from sbi.utils import BoxUniform
from torch import nn

from sbi_clustermass import ClusterNPE, Training, mass_prior
from sbi_clustermass.embeddings import EMBEDDINGS, KDEImage, embedding_from_config
from sbi_clustermass.flows import FLOWS, flow_from_config
from sbi_clustermass.flows.box import OnBox
from sbi_clustermass.flows.univariate import QuadratureDensity, density_at
from sbi_clustermass.training import clusters_loss

LOW, HIGH = 13.5, 15.3
GAUSSIAN = {"stacked_affine", "maf", "zuko_maf", "zuko_nice"}  # in one dimension, as their docstrings say
every_flow = pytest.mark.parametrize("name", FLOWS)


def toy(n=200, theta=1):
    """Clusters whose velocity dispersion follows mass: 12 galaxies."""
    generator = torch.Generator().manual_seed(1)
    mass = LOW + (HIGH - LOW) * torch.rand(n, theta, generator=generator)
    x = torch.ones(n, 12, 3)
    x[..., 0] = 1.6 * torch.rand(n, 12, generator=generator).sqrt()
    x[..., 1] = 700 * 10 ** ((mass[:, :1] - 14.5) / 3) * torch.randn(n, 12, generator=generator)
    return mass, x


def small(name, **more):
    """The flow with little networks on a little image."""
    flow = FLOWS[name](embedding=KDEImage(bins=6))
    little = {"hidden": (8, 8), "trunk": (8, 4), "num_transforms": 2}
    little["hidden_features"] = (8,) if isinstance(getattr(flow, "hidden_features", 0), tuple) else 8
    known = {each.name for each in fields(flow)}
    return replace(flow, **{key: value for key, value in little.items() if key in known} | more)


def built(name, theta=1, **more):
    torch.manual_seed(0)
    return small(name, **more)(*toy(theta=theta)).eval()


def stirred(name, factor=1.5):
    """A flow that depends on its condition more than at the start, as after training."""
    flow = built(name)
    with torch.no_grad():
        for parameter in flow.embedding.parameters():
            parameter *= factor
    return flow


class Counting(nn.Module):
    """Velocities; counts the rows it is asked to reduce."""

    def __init__(self):
        super().__init__()
        self.rows = 0

    def forward(self, x):
        self.rows += len(x)
        return x[:, :6, 1]


@every_flow
def test_two_are_equal_if_their_fields_are(name):
    one, same = FLOWS[name](), FLOWS[name]()
    assert one == same
    assert hash(one) == hash(same)
    for embedding, kind in EMBEDDINGS.items():
        pair = [replace(one, embedding=embedding_from_config({"name": embedding})) for _ in range(2)]
        assert pair[0] == pair[1]
        assert len({one, *pair}) == (1 if isinstance(one.embedding, kind) else 2)
    own = nn.Flatten()
    others = [replace(one, embedding=KDEImage(bins=6)), replace(one, activation="silu"), replace(one, embedding=own)]
    assert len({one, *others, *(FLOWS[other]() for other in FLOWS)}) == len(FLOWS) + 3
    assert others[2] == replace(one, embedding=own) != replace(one, embedding=nn.Flatten())


@every_flow
def test_its_class_instead_of_an_object_is_refused_where_sbi_calls_it(name):
    inference = NPE(mass_prior(LOW, HIGH), density_estimator=FLOWS[name], show_progress_bars=False)
    inference.append_simulations(*toy())
    with pytest.raises(TypeError, match=rf"try:    {FLOWS[name].__name__}\(\) instead of"):
        inference.train(max_num_epochs=1)


@every_flow
def test_it_trains_and_samples_through_stock_npe(name):
    torch.manual_seed(0)
    inference = NPE(mass_prior(LOW, HIGH), density_estimator=small(name), show_progress_bars=False)
    inference.append_simulations(*toy()).train(max_num_epochs=1, training_batch_size=60)
    posterior, x = inference.build_posterior(), toy()[1]
    inside = torch.full((5, 1), 14.4)
    assert posterior.sample((7,), x=x[:1], show_progress_bars=False).shape == (7, 1)
    assert posterior.sample_batched((7,), x=x[:4], show_progress_bars=False).shape == (7, 4, 1)
    assert posterior.log_prob(inside, x=x[:1], norm_posterior=False).isfinite().all()
    log_prob = posterior.log_prob_batched(inside[:, None].expand(5, 4, 1), x=x[:4], norm_posterior=False)
    assert log_prob.isfinite().all()


@every_flow
@pytest.mark.parametrize("truncated", [True, False])
def test_it_trains_through_cluster_npe_and_gets_better(name, truncated):
    inference, (mass, x) = ClusterNPE(mass_prior(LOW, HIGH), density_estimator=small(name), device="cpu"), toy()
    training = Training(learning_rate=1e-2, max_updates=9, validate_every=3, batch_size=60, truncated=truncated)
    trained = inference.append_simulations(mass, x).train(training)
    with torch.no_grad():
        support = (LOW, HIGH) if truncated else None
        before, after = (clusters_loss(net, mass, x, support=support).mean() for net in (built(name), trained))
    assert after < before


@every_flow
def test_it_integrates_to_one_over_the_prior_and_its_mass_is_its_integral(name):
    flow, x = stirred(name), toy()[1][:8]
    grid = torch.linspace(LOW, HIGH, 801)
    with torch.no_grad():
        inside = torch.trapezoid(flow.log_prob_grid(x, grid, within=(LOW, HIGH)).exp(), grid)
        torch.testing.assert_close(inside, torch.ones(8), rtol=0, atol=1e-3)  # trapezoid over splines with kinks
        for low, high in ((LOW, HIGH), (13.9, 14.1), (14.8, 15.25)):
            part = torch.linspace(low, high, 201)
            log_prob = flow.log_prob_grid(x, part)
            truth = (torch.trapezoid((log_prob - log_prob.amax(1, True)).exp(), part)).log() + log_prob.amax(1)
            found = flow.log_mass_within(x, low, high)
            seen = truth > -14  # float32: the noise's two ends differ by less than their rounding in deeper tails
            torch.testing.assert_close(found[seen], truth[seen], rtol=0, atol=3e-3)
            assert found.isfinite().all()


@every_flow
def test_its_samples_follow_its_density(name):
    flow, x = stirred(name), toy()[1][:2]
    torch.manual_seed(1)
    samples = flow.sample((600,), x)[..., 0]
    grid = torch.linspace(LOW, HIGH, 801)
    with torch.no_grad():
        density = flow.log_prob_grid(x, grid, within=(LOW, HIGH)).exp()
    cdf = torch.cumulative_trapezoid(density, grid)
    for drawn, expected in zip(samples.T, cdf, strict=True):
        drawn = drawn[(drawn > LOW) & (drawn < HIGH)]
        assert len(drawn) > 50
        empirical = (drawn[:, None] < grid[1:]).float().mean(0)
        # Kolmogorov-Smirnov: exceeded once in 3000 trials of a right sampler; the seed is fixed
        assert (empirical - expected).abs().max() < 2.1 / len(drawn) ** 0.5


@every_flow
def test_a_hundred_conditions_are_embedded_a_hundred_times(name):
    torch.manual_seed(0)
    flow = small(name, embedding=Counting())(*toy())
    grid, x = torch.linspace(LOW, HIGH, 128), toy(100)[1]
    with torch.no_grad():
        for ask in (
            lambda: flow.log_prob_grid(x, grid, within=(LOW, HIGH)),
            lambda: flow.log_prob(grid[:, None, None].expand(-1, 100, 1), x),
            lambda: flow.truncated_loss(torch.full((100, 1), 14.0), x, low=LOW, high=HIGH),
        ):
            flow.summary.rows = 0
            ask()
            assert flow.summary.rows == 100


@every_flow
def test_its_mass_within_bounds_needs_no_quadrature(name):
    flow = built(name)
    assert not isinstance(density_at(flow.net, flow.embed(toy()[1])), QuadratureDensity)


@every_flow
def test_its_gradients_are_finite_far_from_the_data_too(name):
    flow, (mass, x) = stirred(name).train(), toy()
    mass[0], mass[1] = LOW, HIGH
    flow.truncated_loss(mass, x, low=LOW, high=HIGH).mean().backward()
    gradients = [each.grad for each in flow.parameters() if each.grad is not None]
    assert all(each.isfinite().all() for each in gradients)
    first = next(flow.embedding.parameters())
    assert first.grad is not None
    assert first.grad.abs().max() > 0


@every_flow
def test_it_is_saved_and_loaded_bit_by_bit(name, tmp_path):
    flow, (mass, x) = stirred(name), toy()
    save_model(flow, str(tmp_path / "flow.safetensors"))
    again = flow_from_config(json.loads(json.dumps(small(name).config()))).template(1, x.shape[1:]).eval()
    load_model(again, tmp_path / "flow.safetensors")
    assert torch.equal(again.loss(mass, x), flow.loss(mass, x))
    assert torch.equal(again.log_prob_grid(x, mass[:9, 0]), flow.log_prob_grid(x, mass[:9, 0]))
    assert again.condition_shape == flow.condition_shape


@every_flow
def test_two_flows_of_one_builder_share_no_weights(name):
    learned = nn.Sequential(nn.Flatten(), nn.Linear(36, 6))
    build = small(name, embedding=learned)
    first, second, given = (
        {each.data_ptr() for each in net.parameters()} for net in (build(*toy()), build(*toy()), learned)
    )
    assert not first & second
    assert not (first | second) & given


@every_flow
def test_it_takes_three_parameters(name):
    flow, (mass, x) = built(name, theta=3), toy(theta=3)
    samples, log_prob = flow.sample_and_log_prob((4, 2), x[:5])
    assert samples.shape == (4, 2, 5, 3)
    expected = flow.log_prob(samples.reshape(8, 5, 3), x[:5]).reshape(4, 2, 5)
    torch.testing.assert_close(log_prob, expected)
    loss = flow.loss(mass, x)
    loss.mean().backward()
    assert loss.shape == (200,)
    assert all(each.grad.isfinite().all() for each in flow.parameters() if each.grad is not None)
    with pytest.raises(ValueError, match="one parameter"):
        flow.log_mass_within(x, LOW, HIGH)


@every_flow
def test_in_a_prior_of_two_parameters_it_trains_integrates_to_one_and_samples_inside(name):
    prior, (theta, x) = BoxUniform(torch.full((2,), LOW), torch.full((2,), HIGH)), toy(theta=2)
    inference = ClusterNPE(prior, density_estimator=small(name), device="cpu").append_simulations(theta, x)
    training = Training(learning_rate=1e-2, max_updates=9, validate_every=3, batch_size=60)
    network, posterior = inference.train(training), inference.build_posterior()
    torch.manual_seed(0)
    before = OnBox(small(name), (LOW, LOW), (HIGH, HIGH))(theta, x).eval()
    nodes = BoxNodes(96)
    with torch.no_grad():
        assert network.loss(theta, x).mean() < before.loss(theta, x).mean()
        total = network.log_prob(nodes.points[:, None], x[:2]).exp().T @ nodes.weights
    torch.testing.assert_close(total, torch.ones(2), rtol=0, atol=0.02)  # kinks of splines and tables between nodes
    draws = posterior.sample_batched((50,), x=x[:4], show_progress_bars=False)
    assert draws.shape == (50, 4, 2)
    assert prior.log_prob(draws).isfinite().all()
    assert posterior.log_prob_batched(draws, x=x[:4]).isfinite().all()


@every_flow
def test_sbis_calibration_runs_on_it_with_three_parameters(name):
    prior, (theta, x) = BoxUniform(torch.full((3,), LOW), torch.full((3,), HIGH)), toy(theta=3)
    stock = NPE(prior, density_estimator=OnBox(small(name), (LOW,) * 3, (HIGH,) * 3), show_progress_bars=False)
    with warnings.catch_warnings():  # that the padding of sets is constant, that 10 are few
        warnings.simplefilter("ignore")
        stock.append_simulations(theta, x).train(max_num_epochs=1, training_batch_size=60)
        posterior, some = stock.build_posterior(), slice(10)
        ranks, averaged = run_sbc(theta[some], x[some], posterior, num_posterior_samples=5, show_progress_bar=False)
        coverage, _ = run_tarp(theta[some], x[some], posterior, num_posterior_samples=5, show_progress_bar=False)
    assert ranks.shape == (10, 3)
    assert prior.log_prob(averaged).isfinite().all()
    assert 0 <= coverage.min() <= coverage.max() <= 1


class BoxNodes:
    """Gauss-Legendre nodes in the normal coordinates of a box of two masses, and their weights in the masses."""

    def __init__(self, n):
        node, weight = (torch.as_tensor(part) for part in np.polynomial.legendre.leggauss(n))
        z = 4.7 * node  # up to 1e-6 of the box's ends
        share = torch.special.ndtr(z)
        slope = (HIGH - LOW) * (-z.square() / 2).exp() / (2 * torch.pi) ** 0.5
        self.points = (LOW + (HIGH - LOW) * torch.cartesian_prod(share, share)).float()
        self.weights = torch.outer(4.7 * weight * slope, 4.7 * weight * slope).flatten().float()


@every_flow
def test_its_docstring_says_what_it_can_express_in_one_dimension(name):
    assert "n one dimension" in FLOWS[name].__doc__
    assert ("in one dimension, a Gaussian" in FLOWS[name].__doc__) == (name in GAUSSIAN)
    flow, x = stirred(name, factor=3.0), toy()[1][:10]
    grid = torch.linspace(LOW, HIGH, 41, dtype=torch.float64)
    with torch.no_grad():
        for parameter in flow.net.parameters():
            parameter *= 2
        log_prob = flow.double().log_prob_grid(x.double(), grid)
    curvature = log_prob.diff(n=2)
    bend = (curvature - curvature.mean(1, keepdim=True)).abs().amax(1) / curvature.abs().amax(1)
    # a Gaussian's curvature is constant up to rounding; one that can bend does so for random weights
    assert (bend.max() < 1e-5) == (name in GAUSSIAN)


@every_flow
def test_its_card_goes_through_json(name):
    flow = small(name)
    again = flow_from_config(json.loads(json.dumps(flow.config())))
    assert again.config() == flow.config()
    assert again.name == name
    assert replace(again, embedding=flow.embedding) == flow


@every_flow
def test_unknown_fields_fail_where_they_are_written(name):
    known = next(each.name for each in fields(FLOWS[name]) if each.name != "embedding")
    with pytest.raises(TypeError, match="unexpected keyword"):
        FLOWS[name](**{known + "x": 3})
    with pytest.raises(ValueError, match=f"Did you mean '{known}'"):
        flow_from_config({"name": name, known + "x": 3})
    with pytest.raises(ValueError, match="needs"):
        FLOWS[name](**{known: -1})


@every_flow
def test_every_option_has_an_effect(name):
    """In one dimension or in three: the state's shapes, or the density."""
    plain = cache(lambda theta: answer(name, theta))
    for option, value in options(name).items():
        assert any(plain(theta) != answer(name, theta, **{option: value}) for theta in (1, 3)), option


@pytest.mark.parametrize("name", [name for name in FLOWS if name in model_builders])
def test_sbis_builder_names_every_option(name):
    """Its **kwargs would swallow any other, unread."""
    assert set(small(name).options()) <= set(signature(model_builders[name]).parameters)


def options(name):
    """A changed value for each of the flow's own options."""
    flow = small(name)
    changed = {
        tuple: lambda value: (*value[:-1], value[-1] + 1),
        bool: lambda value: not value,
        int: lambda value: value + 1,
        float: lambda value: value * 2,
        str: lambda value: "elu",
    }
    own = {each.name: getattr(flow, each.name) for each in fields(flow) if each.name != "embedding"}
    return {key: changed[type(value)](value) for key, value in own.items()}


def answer(name, theta, **more):
    flow = built(name, theta, **more)
    shapes = [(key, tuple(value.shape)) for key, value in flow.state_dict().items()]
    mass, x = toy(20, theta)
    return shapes, flow.loss(mass, x).tolist()

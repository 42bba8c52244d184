"""Floating point types: what `double`, `half`, `bfloat16`, autocast and another default type do to every flow."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from safetensors.torch import load_model, save_model

from sbi_clustermass import Augmentation, KDEImage, MassEstimator, Training, train
from sbi_clustermass.embeddings import EMBEDDINGS
from sbi_clustermass.embeddings.galaxies import stages
from sbi_clustermass.flows import StackedAffine
from tests.flows.test_contract import HIGH, LOW, every_flow, small, toy
from tests.flows.test_shapes import KINDS, every_network, pairs
from tests.sky import as_taken

DTYPES = torch.float64, torch.float16, torch.bfloat16
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@contextmanager
def default(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def precision(dtype):
    """Rounding, relative and absolute: of features once or twice in half precision, of some ten layers in float32."""
    eps = 5 * torch.finfo(dtype).eps if dtype != torch.float64 else 400 * torch.finfo(torch.float32).eps
    return {"rtol": eps, "atol": eps}


def answers(network, theta, x):
    """All that a network is asked for, samples apart."""
    found = [network.log_prob(theta, x), network.loss(theta, x)]
    if network.input_shape == (1,):
        grid = theta[:5, 0]
        found += [network.log_prob_grid(x, grid, within=(LOW, HIGH)), network.log_mass_within(x, LOW, HIGH)]
    return found


@every_dtype
@every_network
@torch.no_grad()
def test_a_converted_network_answers_in_its_type_within_its_precision(name, kind, dtype):
    network = KINDS[kind](name)
    theta, x = (part.to(dtype) for part in pairs(network))
    expected = answers(network, theta.float(), x.float())
    converted = KINDS[kind](name).to(dtype)
    for given in ((theta, x), (theta.float(), x.float())):
        for found, truth in zip(answers(converted, *given), expected, strict=True):
            assert found.dtype == dtype
            torch.testing.assert_close(found.float(), truth, **precision(dtype))
    samples, log_prob = converted.sample_and_log_prob((3,), x)
    assert samples.dtype == converted.sample((3,), x).dtype == log_prob.dtype == dtype
    assert samples.isfinite().all()
    again = [part.dtype for part in answers(converted.float(), theta.float(), x.float())]
    assert set(again) == {torch.float32}


@every_network
def test_autocast_leaves_the_density_in_float32(name, kind):
    network = KINDS[kind](name)
    theta, x = pairs(network)
    expected = answers(network, theta, x)
    with torch.autocast("cpu", torch.bfloat16):
        found = answers(network, theta, x)
        samples = network.sample((3,), x)
    assert samples.dtype == torch.float32
    for ours, truth in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, truth, **precision(torch.bfloat16))
    found[1].mean().backward()
    assert all(each.grad.isfinite().all() for each in network.parameters() if each.grad is not None)


@every_flow
def test_another_default_type_changes_no_bit_of_a_flow_that_is_built_loaded_or_evaluated(name, tmp_path):
    theta, x = toy(20)
    expected = everything_on(name, theta, x, tmp_path)
    with default(torch.float64):
        found = everything_on(name, theta, x, tmp_path)
    assert all(same(ours, truth) for ours, truth in zip(found, expected, strict=True))


def everything_on(name, theta, x, folder):
    """A flow's answers and samples, built from data and loaded into a template."""
    torch.manual_seed(0)
    network = small(name)(theta, x).eval()
    again = small(name).template(1, x.shape[1:]).eval()
    save_model(network, str(folder / "flow"))
    load_model(again, folder / "flow")
    return [part for each in (network, again) for part in (*answers(each, theta, x), each.sample((4,), x))]


def same(ours, truth):
    return ours.dtype == truth.dtype and torch.equal(ours, truth)


@pytest.mark.parametrize("name", EMBEDDINGS)
@torch.no_grad()
def test_another_default_type_and_autocast_leave_an_embedding_as_it_is_within_precision(name):
    torch.manual_seed(0)
    embedding = EMBEDDINGS[name]().eval()
    x = as_taken(embedding, toy(30)[1])
    expected = embedding(x)
    with default(torch.float64):
        assert same(embedding(x), expected)
    with torch.autocast("cpu", torch.bfloat16):
        found = embedding(x)
    assert ((found - expected).abs() <= precision(torch.bfloat16)["rtol"] * expected.abs().amax()).all()


@every_dtype
@pytest.mark.parametrize("name", EMBEDDINGS)
@torch.no_grad()
def test_a_converted_embedding_answers_in_its_type_within_its_precision(name, dtype):
    torch.manual_seed(0)
    embedding = EMBEDDINGS[name]().eval()
    x = as_taken(embedding, toy(30)[1]).to(dtype)
    expected, found = embedding(x.float()), embedding.to(dtype)(x)
    assert found.dtype == dtype
    # twice that of a flow: log-likelihoods of trial masses are sums over galaxies, most of which cancels
    assert ((found.float() - expected).abs() <= 2 * precision(dtype)["rtol"] * expected.abs().amax()).all()


@every_dtype
@pytest.mark.parametrize("name", EMBEDDINGS)
@torch.no_grad()
def test_conversion_does_not_move_the_places_of_a_fixed_stage(name, dtype):
    """Centres of pixels and nodes of bins, of which half precision holds three digits."""
    fixed, converted = (stages(EMBEDDINGS[name]())[0] for _ in range(2))
    x = as_taken(fixed, toy(30)[1])
    expected = fixed(x)
    assert same(converted.to(dtype)(x), expected)
    assert same(converted.float()(x), expected)


@every_dtype
def test_an_image_in_another_type_has_its_pixels_where_they_were(dtype):
    one, other = KDEImage(), KDEImage().to(dtype)
    assert all(same(ours, truth) for ours, truth in zip(other.grid()[:2], one.grid()[:2], strict=True))
    assert other.to("meta").R_centres.is_meta


@pytest.mark.slow
def test_an_estimator_is_loaded_under_another_default_type_with_the_same_posteriors(with_membership, mocks, tmp_path):
    with_membership.save(tmp_path)
    some = mocks.select(np.arange(20))

    def everything():
        estimator = MassEstimator.load(tmp_path, device="cpu")
        posteriors = estimator.posterior(some)
        return estimator.warnings(some, posteriors), posteriors.log_prob, estimator.memberships(some)

    expected = everything()
    with default(torch.float64):
        found = everything()
    assert found[0] == expected[0]
    assert all(np.array_equal(ours, truth) for ours, truth in zip(found[1:], expected[1:], strict=True))


def test_training_under_another_default_type_gives_the_same_weights(mocks):
    augmented = Training(max_updates=6, validate_every=3, augmentation=Augmentation())

    def weights(training):
        flow, some = StackedAffine(hidden=(16,)), mocks.select(np.arange(300))
        return train(some, flow=flow, support=(13.0, 15.6), training=training, device="cpu").network.state_dict()

    for training in (augmented, Training(max_updates=6, validate_every=3)):
        expected = weights(training)
        with default(torch.float64):
            found = weights(training)
        assert all(same(found[name], expected[name]) for name in expected)

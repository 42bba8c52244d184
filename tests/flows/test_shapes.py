"""sbi's contract of shapes, for every flow of FLOWS alone, in a box and in an ensemble: sizes of 0 and 1 included."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from sbi_clustermass.flows import FLOWS
from sbi_clustermass.flows.box import OnBox
from sbi_clustermass.flows.ensemble import Ensemble
from tests.flows.test_contract import HIGH, LOW, built, small, toy

SAMPLES, BATCH = 3, 5


def boxed(name):
    torch.manual_seed(0)
    return OnBox(small(name), (LOW - 0.1,) * 2, (HIGH + 0.1,) * 2)(*toy(theta=2)).eval()


def ensemble(name):
    return Ensemble([built(name), built(name)], (LOW, HIGH))


KINDS = {
    "one parameter": built,
    "three parameters": lambda name: built(name, theta=3),
    "a box": boxed,
    "an ensemble": ensemble,
}
LATER = "a box", "an ensemble"
IN_BRIEF = "stacked_affine", "tabulated"  # the others in a box and in an ensemble are for the slow tests
every_network = pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=[pytest.mark.slow] if kind in LATER and name not in IN_BRIEF else [])
        for name, kind in product(FLOWS, KINDS)
    ],
)


def pairs(network, n=SAMPLES * BATCH):
    generator = torch.Generator().manual_seed(7)
    return LOW + (HIGH - LOW) * torch.rand(n, *network.input_shape, generator=generator), toy(n)[1]


@every_network
@torch.no_grad()
def test_densities_broadcast_over_samples_and_batches_as_pairs_do(name, kind):
    network = KINDS[kind](name)
    theta, x = pairs(network)
    n = len(theta)
    every = network.log_prob(theta.repeat_interleave(n, 0), x.repeat(n, 1, 1)).reshape(n, n)  # of input, condition
    # float32 of logs up to some tens, in other matrix products
    close = {"rtol": 1e-4, "atol": 2e-4}
    torch.testing.assert_close(network.log_prob(theta[3:4], x[8:9])[0], every[3:4, 8], **close)
    rows = torch.arange(n).reshape(SAMPLES, BATCH)
    for (a, b), (c, d) in product(product((1, SAMPLES), (1, BATCH)), repeat=2):
        left, right = rows[:a, :b], rows[:c, :d]
        expected = every[torch.broadcast_tensors(left, right)]
        for one, other in product((left, left[0]) if a == 1 else (left,), (right, right[0]) if c == 1 else (right,)):
            found = network.log_prob(theta[one], x[other])
            torch.testing.assert_close(found, expected, **close, msg=f"{tuple(one.shape)}, {tuple(other.shape)}")


@every_network
def test_empty_samples_and_batches_have_empty_densities_with_gradients(name, kind):
    network = KINDS[kind](name)
    theta, x = pairs(network)
    for left, right, shape in (
        ((0,), (0,), (1, 0)),
        ((3, 0), (0,), (3, 0)),
        ((0, 5), (5,), (0, 5)),
        ((0, 5), (1,), (0, 5)),
        ((3, 0), (1,), (3, 0)),
        ((3, 0), (3, 0), (3, 0)),
    ):
        given = theta.new_zeros(*left, *network.input_shape), x.new_zeros(*right, *x.shape[1:])
        assert network.log_prob(*given).shape == shape, (left, right)
    loss = network.loss(theta[:0], x[:0])
    assert loss.shape == (0,)
    loss.sum().backward()
    for draws, batch in product(((0,), (2, 0), (2,), ()), (0, 1, BATCH)):
        samples, log_prob = network.sample_and_log_prob(draws, x[:batch])
        assert samples.shape == network.sample(draws, x[:batch]).shape == (*draws, batch, *network.input_shape)
        assert log_prob.shape == (*draws, batch)
    if network.input_shape == (1,):
        assert network.log_mass_within(x[:0], LOW, HIGH).shape == (0,)
        assert network.log_prob_grid(x[:0], torch.linspace(LOW, HIGH, 7)).shape == (0, 7)


@every_network
def test_shapes_that_do_not_go_together_are_refused(name, kind):
    network = KINDS[kind](name)
    theta, x = pairs(network)
    for given in (
        (theta[:3], x[:5]),
        (theta[:1].expand(2, 1, 1, -1), x[:1]),
        (theta[0], x[:1]),
        (theta.repeat(1, 2), x),
    ):
        with pytest.raises(ValueError, match="does not go with"):
            network.log_prob(*given)
    with pytest.raises(ValueError, match="one batch dimension"):
        network.sample((2,), x[None])


@pytest.mark.parametrize("name", IN_BRIEF)
@pytest.mark.parametrize("event", [(1,), (3,), (4,), (6,), (7,), (8,), (9,), (2, 2, 7)])
def test_observations_that_are_no_sets_of_galaxies_have_any_number_of_columns(name, event):
    """A set of galaxies with 6 or 8 columns has conditions in the last ones; a vector has none."""
    torch.manual_seed(0)
    theta, x = toy()[0], torch.randn(len(toy()[0]), *event)
    network = replace(small(name), embedding=torch.nn.Flatten())(theta, x).eval()
    found = network.log_prob(theta, x)
    assert found.shape == (1, len(theta))
    assert found.isfinite().all()

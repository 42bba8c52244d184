"""What no network can be built from is refused where it enters, with what was given and what is needed."""

from threading import Lock

import pytest
import torch
from torch import nn

from sbi_clustermass.flows.box import OnBox
from tests.flows.test_contract import HIGH, LOW, built, every_flow, small, toy

THETA, X = toy(20)
WRONG = {
    "no simulation": (lambda: (THETA[:0], X[:0]), ValueError, r"theta has shape \(0, 1\), x \(0, 12, 3\)"),
    "one simulation": (lambda: (THETA[:1], X[:1]), ValueError, "one pair has no standard deviation"),
    "parameters in a row": (lambda: (THETA[:, 0], X), ValueError, r"theta has shape \(20,\).*(?s:.)*theta\[:, None\]"),
    "three axes": (lambda: (THETA[None], X), ValueError, r"theta has shape \(1, 20, 1\).*two axes, \(batch, theta\)"),
    "no parameter": (lambda: (THETA[:, :0], X), ValueError, r"theta has shape \(20, 0\)"),
    "observations in a row": (lambda: (THETA, X[:, 0, 0]), ValueError, r"x \(20,\)\. x needs .*\(batch, \*event\)"),
    "other lengths": (lambda: (THETA[:5], X), ValueError, r"\(5, 1\), x \(20, 12, 3\)\. .*same number of rows"),
    "exchanged": (lambda: (X, THETA), ValueError, r"theta has shape \(20, 12, 3\), x \(20, 1\)"),
    "an array of parameters": (lambda: (THETA.numpy(), X), TypeError, r"theta is a numpy\.ndarray.*(?s:.)*as_tensor"),
    "an array of observations": (lambda: (THETA, X.numpy()), TypeError, r"x is a numpy\.ndarray.*(?s:.)*as_tensor"),
    "a list": (lambda: (THETA.tolist(), X), TypeError, r"theta is a builtins\.list"),
    "whole parameters": (lambda: (THETA.long(), X), TypeError, r"theta is a tensor of torch\.int64"),
    "whole observations": (lambda: (THETA, X.int()), TypeError, r"x is a tensor of torch\.int32"),
    "complex parameters": (lambda: (THETA + 0j, X), TypeError, r"theta is a tensor of torch\.complex64"),
    "sparse observations": (lambda: (THETA, X.to_sparse()), TypeError, r"x is a tensor of .*sparse_coo"),
    "another device": (lambda: (THETA, X.to("meta")), ValueError, r"x is on meta\. .*use x\.to\('cpu'\)"),
    "a parameter that is no number": (lambda: (THETA.clone().fill_(torch.nan), X), ValueError, "20 of 20 .*not finite"),
}


@pytest.mark.parametrize("what", WRONG)
@every_flow
def test_what_is_no_batch_of_pairs_is_refused_by_every_builder(name, what):
    given, error, message = WRONG[what]
    flow = small(name)
    with pytest.raises(error, match=f"{type(flow).__name__}: .*{message}"):
        flow(*given())


@pytest.mark.parametrize("what", WRONG)
def test_a_builder_in_a_box_refuses_it_too(what):
    given, error, message = WRONG[what]
    with pytest.raises(error, match=message):
        OnBox(small("stacked_affine"), (LOW,), (HIGH,))(*given())


def test_a_box_of_other_parameters_is_refused():
    with pytest.raises(ValueError, match="theta has 1 parameters, the box 2"):
        OnBox(small("stacked_affine"), (LOW, LOW), (HIGH, HIGH))(THETA, X)


class Wrong(nn.Module):
    """An embedding whose result is a function of x."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x[:, 0, 0], r"makes \(20,\) of observations \(20, 12, 3\)(.|\n)*\(20, feature\)"),
        (lambda x: x.flatten(0, 1), r"makes \(240, 3\) of observations \(20, 12, 3\)"),
        (lambda x: x[:, :0].flatten(1), r"makes \(20, 0\)"),
        (lambda x: x.mean((1, 2), keepdim=True).expand(1, -1, -1, -1)[0, :1], r"makes \(1, 1, 1\)"),
        (lambda x: x[..., 0].where(x[:, :1, 1] > 0, torch.nan), r"features of \d+ of 20 observations are not finite"),
    ],
)
@pytest.mark.parametrize("name", ["stacked_affine", "mdn", "tabulated"])
def test_features_of_which_no_network_can_be_built_are_refused(name, function, message):
    with pytest.raises(ValueError, match=message):
        small(name, embedding=Wrong(function))(THETA, X)


@pytest.mark.parametrize("held", [Lock(), torch.eye(3).to_sparse_csr()])
def test_an_embedding_that_cannot_be_copied_is_refused_with_the_reason(held):
    embedding = nn.Flatten()
    embedding.held = held
    with pytest.raises(TypeError, match=r"the embedding Flatten cannot be copied: (.|\n)*copy\.deepcopy"):
        small("stacked_affine", embedding=embedding)(THETA, X)


@pytest.mark.parametrize("columns", [3, 4, 6, 7, 8])
def test_a_users_embedding_of_matrices_gets_them_whole_whatever_their_columns(columns):
    """Only sets of galaxies, with a flag in the third column, have a mass and conditions behind it."""
    x = torch.rand(20, 5, columns)
    network = small("stacked_affine", embedding=nn.Flatten())(THETA, x)
    assert torch.equal(network.summary(x), x.flatten(1))
    x[..., 2] = 1
    galaxies = small("stacked_affine", embedding=nn.Flatten())(THETA, x)
    assert torch.equal(galaxies.summary(x), x.flatten(1)) == (columns == 3)


def test_a_complex_weight_of_an_embedding_does_not_set_the_type_of_the_density():
    class Waves(nn.Module):
        def __init__(self):
            super().__init__()
            self.whole = nn.Parameter(torch.ones(1, dtype=torch.int8), requires_grad=False)
            self.weight = nn.Parameter(torch.ones(7, dtype=torch.complex64))

        def forward(self, x):
            return torch.fft.irfft(torch.fft.rfft(x[..., 1], n=12) * self.weight, n=12)

    network = small("stacked_affine", embedding=Waves())(THETA, X)
    loss = network.loss(THETA, X)
    torch.testing.assert_close(loss, twin_without_weights(network).loss(THETA, X))
    loss.mean().backward()
    assert network.embedding[0].weight.grad.abs().max() > 0


def twin_without_weights(network):
    """The same network with the embedding replaced by what it does as long as its weights are 1: nothing."""
    learned, *rest = network.embedding
    assert (learned.weight == 1).all()
    network = type(network)(nn.Identity(), nn.Sequential(Wrong(lambda x: x[..., 1]), *rest), network.net, X.shape[1:])
    return network.eval()


def test_double_and_half_batches_are_still_taken():
    for dtype in (torch.float64, torch.float16):
        network = small("stacked_affine")(THETA.to(dtype), X.to(dtype))
        assert network.input_shape == built("stacked_affine").input_shape

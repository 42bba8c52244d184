"""A training whose loss is compiled ends in the weights of one whose loss is not."""

import numpy as np
import pytest
import torch

from sbi_clustermass.embeddings import KDEImage, TrialMasses
from sbi_clustermass.flows import StackedAffine, Tabulated
from sbi_clustermass.training import DenseDataset, Training, TrainingData, build_network, fit, split_by_group

LOW, HIGH = 13.5, 15.3
FLOWS = [
    StackedAffine(embedding=KDEImage(bins=10), hidden=(16,)),
    Tabulated(embedding=TrialMasses(14.4, 1.8, trials=20)),
]
# cancels in a table's normalised density: its gradient is rounding error, which Adam's steps enlarge
UNDETERMINED = {"embedding.0.mix.4.bias"}


def trained(flow, device, *, compiled):
    """Weights after some updates, and the losses."""
    rng = torch.Generator().manual_seed(1)
    theta = LOW + (HIGH - LOW) * torch.rand(60, 1, generator=rng)
    x = torch.rand(60, 15, 3, generator=rng) * torch.tensor([1.6, 1000.0, 0.0]) + torch.tensor([0.0, 0.0, 1.0])
    training = Training(max_updates=8, validate_every=4, batch_size=10, learning_rate=1e-3, compiled=compiled)
    network = build_network(flow, theta, x, seed=1).to(device)
    data = TrainingData(DenseDataset(theta.to(device), x.to(device)), split_by_group(np.arange(60), training))
    history = fit(network, data, support=(LOW, HIGH), training=training)
    return {name: value.cpu() for name, value in network.state_dict().items()}, history.validation_loss


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: type(flow).__name__)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_compiled_loss_trains_the_same_network(flow, device):
    torch.compiler.reset()
    (weights, losses), (expected, expected_losses) = (trained(flow, device, compiled=each) for each in (True, False))
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-4)  # eight updates of float32
    for name in expected.keys() - UNDETERMINED:
        torch.testing.assert_close(weights[name], expected[name], rtol=1e-3, atol=1e-5)  # Adam's steps are 1e-3


def test_a_compiled_loss_is_compiled(monkeypatch):
    calls = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: calls.append(options) or function)
    trained(FLOWS[0], "cpu", compiled=True)
    assert calls == [{"backend": "aot_eager"}]

"""Networks that maximise the Fisher information reach the information of data whose likelihood is known."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sbi_clustermass.likelihood import IMNN, WindowFits
from sbi_clustermass.training import DenseDataset, Training, TrainingData, build_network, fit, split_by_group

RULE = Training(learning_rate=3e-3, batch_size=500, validate_every=75, max_updates=225, truncated=False, seed=1)

N = 20_000
FIDUCIALS, WIDTHS = torch.tensor([-0.5, 0.0, 0.5]), torch.full((3,), 0.2)


class Squares(nn.Module):
    """The data and their squares: what a network finds out by itself with more time."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x.square()], 1)


def linear(theta: Tensor) -> Tensor:
    """x ~ N(A theta, 1): F = |A|^2."""
    return theta * torch.tensor([1.0, -2.0, 0.5, 0.0]) + torch.randn(len(theta), 4)


def dispersion(theta: Tensor) -> Tensor:
    """Ten velocities of the variance e^theta: F = 10/2 in theta, at any theta."""
    return torch.randn(len(theta), 10) * (theta / 2).exp()


# least: of the dispersions, the logarithm of their sum of squares, whose mean is a line in theta, has 1/psi'(5) = 4.52
@pytest.mark.parametrize(
    ("simulator", "embedding", "exact", "least"),
    [(linear, nn.Identity(), 5.25, 5.25), (dispersion, Squares(), 5.0, 4.52)],
)
def test_an_imnn_reaches_the_information_of_the_whole_data(simulator, embedding, exact, least):
    torch.manual_seed(1)
    theta = torch.rand(N, 1) * 2 - 1
    pairs = DenseDataset(theta, simulator(theta))
    network = build_network(IMNN(embedding, fiducials=4), theta, pairs.x, seed=1)
    fit(network, TrainingData(pairs, split_by_group(np.arange(N), RULE)), support=None, training=RULE)
    new = torch.rand(40_000, 1) * 2 - 1
    with torch.no_grad():
        summaries = network.embed(simulator(new))
    found = WindowFits.of(summaries, new[:, 0], FIDUCIALS, WIDTHS).information()
    # 10 000 simulations in a window: F is measured to 2 sqrt(2/10 000) = 2.8 %, here averaged over three windows
    assert found.mean() < exact * 1.05
    assert found.mean() > least * 0.95
    means = [float(summaries[abs(new - at) < 0.1].mean()) for at in np.linspace(-0.9, 0.9, 7)]
    assert abs(np.sign(np.diff(means)).sum()) == 6  # it rises everywhere, or falls


def test_information_of_the_data_themselves_is_that_of_their_distribution():
    torch.manual_seed(2)
    theta = torch.rand(40_000) * 2 - 1
    fits = WindowFits.of(linear(theta[:, None]), theta, FIDUCIALS, WIDTHS)
    np.testing.assert_allclose(fits.information(), 5.25, rtol=0.09)  # two standard errors, see above
    np.testing.assert_allclose(fits.covariance, np.stack([np.eye(4)] * 3), atol=0.06)  # three: 1/sqrt(10 000) sqrt(2)
    np.testing.assert_allclose(fits.share, 1 / 3, atol=0.01)

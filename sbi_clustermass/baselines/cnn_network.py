"""The convolutional networks of Ho et al. 2019 and 2021, and how they are trained.

An image is (channel, velocity pixel): rings in R are channels, and filters run along velocity.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

LENGTHS = (5, 3)  # lengths of the filters [pixel]
DENSE = (128, 64)


@final
@dataclass(frozen=True)
class Architecture:
    """Settings in which the networks differ.

    Attributes:
        filters: Number of filters of the two convolutions.
        pool: Number of pixels per max-pooling.
        outputs: 1, a point; or 2, a mean and a log variance.
        dropout: Dropout rate between the convolutions and the dense layers.
        before_layers: Dropout rate before every layer, the first one included.
    """

    filters: tuple[int, int] = (24, 10)
    pool: int = 1
    outputs: int = 1
    dropout: float = 0.0
    before_layers: float = 0.0

    def build(self, channels: int, bins: int) -> nn.Sequential:
        """Build an untrained network for images with these numbers of channels and velocity pixels."""
        shapes = zip((channels, self.filters[0]), self.filters, LENGTHS, strict=True)
        widths = (self.filters[1] * (bins // self.pool), *DENSE, self.outputs)
        layers: list[nn.Module] = []
        for inputs, filters, length in shapes:
            layers += [self._dropout(), nn.Conv1d(inputs, filters, length, padding="same"), nn.ReLU()]
        layers += [nn.MaxPool1d(self.pool), nn.Dropout(self.dropout), nn.Flatten()]
        for inputs, outputs in pairwise(widths):
            layers += [self._dropout(), nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def _dropout(self) -> nn.Module:
        return SharedDropout(self.before_layers) if self.before_layers else nn.Identity()


@final
class SharedDropout(nn.Dropout):
    """Dropout with one mask for all clusters of a batch while `shared` is set."""

    shared = False

    def forward(self, input: Tensor) -> Tensor:
        """Apply dropout in training, or while `shared` is set."""
        if not self.shared:
            return super().forward(input)
        return input * F.dropout(torch.ones_like(input[:1]), self.p)


@final
@dataclass(frozen=True)
class CNNTraining:
    """Training by Adam with the batch size and learning rate of Ho et al. 2019, and two additions.

    The learning rate falls to zero along half a cosine, and the weights of the epoch with the best held-out loss are
    kept. Ho et al. use a constant rate, and the weights after 20 epochs.

    Attributes:
        epochs: Passes through the training set.
        batch_size: Clusters per weight update.
        learning_rate: Initial learning rate of Adam.
        weight_decay: Multiple of each weight that is added to its gradient.
        held_out: Share of the hosts that is held out to choose the epoch.
    """

    epochs: int = 20
    batch_size: int = 50
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    held_out: float = 0.1

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(
                f"CNNTraining: found epochs={self.epochs}, batch_size={self.batch_size}; both need 1 or more."
            )
        if not (self.learning_rate > 0 and self.weight_decay >= 0 and 0 < self.held_out < 1):
            raise ValueError(
                f"CNNTraining: found learning_rate={self.learning_rate}, weight_decay={self.weight_decay} and "
                f"held_out={self.held_out}; they need to be positive, not negative, and between 0 and 1."
            )


class Pairs(NamedTuple):
    """Images and their standardised masses, (cluster, channel, pixel) and (cluster,)."""

    image: Float[Tensor, "cluster channel pixel"]
    mass: Float[Tensor, " cluster"]


Loss = Callable[[Float[Tensor, "cluster output"], Float[Tensor, " cluster"]], Float[Tensor, ""]]


def squared_error(output: Float[Tensor, "cluster 1"], mass: Float[Tensor, " cluster"]) -> Float[Tensor, ""]:
    """Mean squared error."""
    return F.mse_loss(output[:, 0], mass)


def gaussian_nll(output: Float[Tensor, "cluster 2"], mass: Float[Tensor, " cluster"]) -> Float[Tensor, ""]:
    """Mean -log N(mass; mean, variance) without its constant [nats]."""
    return F.gaussian_nll_loss(output[:, 0], mass, output[:, 1].exp())


def train(network: nn.Sequential, fitting: Pairs, validating: Pairs, training: CNNTraining, loss: Loss) -> list[float]:
    """Train in place and load the best weights; the sign of each cluster's velocities is random.

    Dropout that is active in prediction is active for the held-out clusters, too, so that the chosen epoch is the best
    for prediction.

    Returns:
        Loss of the held-out clusters after each epoch.

    Raises:
        FloatingPointError: That loss is not finite.
    """
    optimizer = torch.optim.Adam(network.parameters(), training.learning_rate, weight_decay=training.weight_decay)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.epochs)
    history, best = [], network.state_dict()
    for _ in range(training.epochs):
        _epoch(network, fitting, optimizer, training.batch_size, loss)
        rate.step()
        history.append(_loss(network, validating, loss))
        if not isfinite(history[-1]):
            message = f"the loss is {history[-1]} after {len(history)} epochs; try a lower learning rate."
            raise FloatingPointError(message)
        if history[-1] == min(history):
            best = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(best)
    network.eval()
    return history


def _epoch(network: nn.Sequential, pairs: Pairs, optimizer: torch.optim.Optimizer, batch_size: int, loss: Loss) -> None:
    network.train()
    device = pairs.mass.device
    for rows in torch.randperm(len(pairs.mass)).split(batch_size):
        image, mass = (part[rows.to(device)] for part in pairs)
        reversed_ = (torch.rand(len(rows)) < 0.5).to(device)[:, None, None]
        optimizer.zero_grad(set_to_none=True)
        loss(network(torch.where(reversed_, image.flip(2), image)), mass).backward()
        optimizer.step()


@torch.no_grad()
def _loss(network: nn.Sequential, pairs: Pairs, loss: Loss) -> float:
    enable_dropout(network)
    both_ways = 0.5 * (network(pairs.image) + network(pairs.image.flip(2)))
    return float(loss(both_ways, pairs.mass))


def enable_dropout(network: nn.Sequential, *, shared: bool = False) -> None:
    """Prepare for prediction: dropout before every layer stays active (Monte Carlo dropout), any other does not.

    If `shared`, all clusters have one dropout mask.
    """
    network.train(isinstance(network[0], SharedDropout))
    for layer in network:
        if isinstance(layer, SharedDropout):
            layer.shared = shared

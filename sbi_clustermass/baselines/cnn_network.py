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

LENGTHS = (5, 3)  # of the filters [pixel]
DENSE = (128, 64)


@final
@dataclass(frozen=True)
class Architecture:
    """What sets the networks apart.

    Attributes:
        filters: Of the two convolutions.
        pool: Pixels of which the largest is kept.
        outputs: 1, a point; or 2, a mean and a log variance.
        dropout: Share of the numbers left out, once between convolutions and dense layers.
        before_layers: Share left out before every layer, the first one included.
    """

    filters: tuple[int, int] = (24, 10)
    pool: int = 1
    outputs: int = 1
    dropout: float = 0.0
    before_layers: float = 0.0

    def build(self, channels: int, bins: int) -> nn.Sequential:
        """An untrained network for images of so many channels and velocity pixels."""
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
    """Dropout that leaves out the same numbers of every cluster while `shared` is set: one smaller network for all."""

    shared = False

    def forward(self, input: Tensor) -> Tensor:
        """Drop, in training or while `shared` is set."""
        if not self.shared:
            return super().forward(input)
        return input * F.dropout(torch.ones_like(input[:1]), self.p)


@final
@dataclass(frozen=True)
class CNNTraining:
    """How a network is trained: Adam at batches and rate of Ho et al. 2019, with two additions.

    The learning rate falls to zero along half a cosine, and the weights kept are those that were best for clusters kept
    aside; their 20 epochs at a constant rate end wherever the last batch left them.

    Attributes:
        epochs: Passes through the training set.
        batch_size: Clusters a weight update.
        learning_rate: Of Adam, at the start.
        weight_decay: Share of each weight that is added to its gradient.
        held_out: Share of the hosts that chooses the epoch.
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
    """ClusterImages and their standardised masses, (cluster, channel, pixel) and (cluster,)."""

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
    """Train in place and leave the best weights; clusters are shown one way round in velocity or the other, at random.

    Dropout that is on in prediction is on for the clusters kept aside: a network is chosen for what it will be used as.

    Returns:
        Loss of the clusters kept aside after each epoch.

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
    """Ready for prediction: dropout before every layer stays on (Monte Carlo dropout), any other goes off.

    Args:
        network: Of `Architecture.build`.
        shared: Whether it drops the same numbers of every cluster.
    """
    network.train(isinstance(network[0], SharedDropout))
    for layer in network:
        if isinstance(layer, SharedDropout):
            layer.shared = shared

"""A network after its training, with the clusters that it learned from, and the weights next to its output.

Losses are in nats.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.graph import Node

from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.flows.density_estimator import DensityEstimator
from sbi_clustermass.training.dataset import Dataset, RowIndices, Storage
from sbi_clustermass.training.loop import Support, TrainingData, clusters_loss, generator_of
from sbi_clustermass.training.precompute import augment_once, network_on, precompute_summaries
from sbi_clustermass.training.settings import Training

_SMALL = 8192  # weights: of a network with no more, all are uncertain
_PROBES = 8  # clusters whose losses show which layers are last
_STREAM = 2  # of random numbers; the training has 0 and 1


@final
@dataclass(frozen=True)
class Trained:
    """A trained network and its training.

    Attributes:
        network: The network, with its best weights.
        data: Clusters, split into those for fitting and those for validation.
        support: Box over which the loss was truncated, or None for the plain loss.
        training: Settings of the training.
        independent: Clusters per row of the data: one half where each is shown with reversed velocities as well.
    """

    network: EmbedOnce
    data: TrainingData
    support: Support | None
    training: Training
    independent: float

    @property
    def n_clusters(self) -> float:
        """Number of independent clusters for fitting."""
        return self.independent * len(self.data.split.fitting)

    def generator(self) -> torch.Generator:
        """Random numbers on the CPU that are not those of the training."""
        return generator_of(self.training.seed, _STREAM, torch.device("cpu"))

    def fitting(self) -> tuple[Dataset, Tensor]:
        """Dataset, and its rows for fitting; augmented once if the training augments clusters."""
        change, rows = self.training.augmentation, self.data.split.fitting
        if change is None:
            return self.data.dataset, rows
        storage = self.data.storage or Storage(self.device)
        generator = generator_of(self.training.seed, _STREAM, self.device)
        dataset = augment_once(self.data.dataset, rows, change, generator=generator, storage=storage)
        return precompute_summaries(self.network, dataset, storage), torch.arange(len(dataset.theta))

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self.data.dataset.theta.device

    def loss_on(self, dataset: Dataset) -> "LossOfWeights":
        """Losses of clusters of a dataset, as a function of some weights."""
        return LossOfWeights(network_on(dataset, self.network), self.support)

    def last_weights(self) -> dict[str, nn.Parameter]:
        """Weights by name that are uncertain: all of a small network, else those of the last layers.

        A layer is one of the last if the loss depends on it other than through further layers. The blocks of a flow are
        all of this kind: each scales the parameter itself.

        Raises:
            ValueError: There is no such layer.
        """
        trained = {name: each for name, each in self.network.named_parameters() if each.requires_grad and each.numel()}
        if sum(each.numel() for each in trained.values()) <= _SMALL:
            return trained
        dataset, rows = self.data.dataset, self.data.split.fitting[:_PROBES]
        picked = RowIndices(rows, rows.to(self.device))
        network = network_on(dataset, self.network)
        layers = last_layers(network, dataset.theta[picked.device], dataset.take(picked), self.support)
        kept = {id(part) for layer in layers for part in layer.parameters(recurse=False)}
        if not kept:
            raise ValueError(
                "the network has no layer whose weights could be uncertain.\n"
                "  try:    weights='independent', which trains each network by itself"
            )
        return {name: each for name, each in trained.items() if id(each) in kept}

    def with_weights(self, weights: Mapping[str, Tensor]) -> EmbedOnce:
        """Copy of the network with other values for some weights."""
        network = deepcopy(self.network)
        own = dict(network.named_parameters())
        with torch.no_grad():
            for name, values in weights.items():
                own[name].copy_(values)
        return network


@final
class LossOfWeights(nn.Module):
    """Loss of each cluster as a function of weights, for `torch.func.functional_call`."""

    def __init__(self, network: nn.Module, support: Support | None) -> None:
        super().__init__()
        self.network, self.support = network, support

    def forward(self, theta: Tensor, x: Tensor) -> Float[Tensor, " cluster"]:
        """Losses with the weights that the network has."""
        return clusters_loss(self.network, theta, x, support=self.support)  # pyright: ignore[reportArgumentType]

    def at(self, weights: Mapping[str, Tensor], theta: Tensor, x: Tensor) -> Float[Tensor, " cluster"]:
        """Losses with other values for some weights, named as in the network."""
        named = {f"network.{name}": values for name, values in weights.items()}
        return torch.func.functional_call(self, named, (theta, x))


def last_layers(network: DensityEstimator, theta: Tensor, x: Tensor, support: Support | None) -> list[nn.Module]:
    """Modules with weights of their own on which the losses depend other than through further ones."""
    made: dict[Node, nn.Module] = {}

    def remember(layer: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and output.grad_fn is not None:
            made[output.grad_fn] = layer

    layers = [each for each in network.modules() if any(part.numel() for part in each.parameters(recurse=False))]
    hooks = [each.register_forward_hook(remember) for each in layers]
    try:
        loss = clusters_loss(network, theta, x, support=support).sum()
    finally:
        for hook in hooks:
            hook.remove()
    return list(dict.fromkeys(made[node] for node in _first_of(loss.grad_fn, set(made))))


def _first_of(start: Node | None, goals: set[Node]) -> Iterator[Node]:
    """Walk a graph from a node and stop at each goal."""
    waiting, seen = [start], set[Node | None]()
    while waiting:
        node = waiting.pop()
        if node in seen or node is None:
            continue
        seen.add(node)
        if node in goals:
            yield node
        else:
            waiting += [after for after, _ in node.next_functions]

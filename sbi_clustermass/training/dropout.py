"""Monte Carlo dropout: networks that differ in the inputs of layers that they lack.

Gal & Ghahramani 2016 (arXiv:1506.02142); for masses of clusters Ho et al. 2021 (arXiv:2006.13231).
"""

from dataclasses import dataclass
from typing import Any, cast, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.training.settings import Training
from sbi_clustermass.training.trained import Trained


@final
@dataclass(frozen=True)
class Dropout:
    """Dropout of the inputs of every linear layer from the observation to the flow's condition.

    The flow itself, whose maps have to stay monotone, keeps all of its inputs. In the training all clusters of a batch
    share one mask for each layer, so that the density and its integral over the support are those of one network. A
    drawn network is an ordinary one, without the weights that its masks take away.

    Attributes:
        rate: Share of the inputs that are dropped, as in Ho et al. 2021.
    """

    rate: float = 0.1

    def prepare(self, network: EmbedOnce, training: Training) -> None:
        """Give the layers their masks.

        Raises:
            ValueError: There is no such layer, or the training is compiled, which would keep the first masks.
        """
        if training.compiled:
            raise ValueError("weights='dropout' cannot be compiled.\n  try:    Training(compiled=False)")
        layers = [each for each in network.embedding_net.modules() if isinstance(each, nn.Linear)]
        if not layers:
            raise ValueError(
                "weights='dropout': the embedding has no nn.Linear layer.\n  try:    weights='variational'"
            )
        for number, layer in enumerate(layers):
            mask = InputMask(layer.in_features, self.rate, seed=1000 * training.seed + number)
            parametrize.register_parametrization(layer, "weight", mask.to(layer.weight.device))

    def draw(self, trained: Trained, n: int) -> list[EmbedOnce]:
        """Networks, each with one mask for each layer; the layers of the trained one are ordinary ones again."""
        masks: dict[str, InputMask] = {}
        for name, layer in list(trained.network.named_modules()):
            if isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer, "weight"):
                masks[f"{name}.weight"] = cast(Any, layer.parametrizations)["weight"][0]
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        weights, generator = dict(trained.network.named_parameters()), trained.generator()
        return [
            trained.with_weights({name: weights[name] * mask.drawn(generator) for name, mask in masks.items()})
            for _ in range(n)
        ]


@final
class InputMask(nn.Module):
    """Mask of a layer's inputs: weight (output, input) -> weight, with columns of 0.

    In training a new one is drawn at every call, from the seed and the number of calls, which is saved with the
    weights, so that an interrupted training continues with the same masks. Otherwise all inputs are kept.
    """

    def __init__(self, inputs: int, rate: float, *, seed: int) -> None:
        super().__init__()
        self.inputs, self.rate, self.seed = inputs, rate, seed
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.calls: Tensor

    def forward(self, weight: Float[Tensor, "output input"]) -> Float[Tensor, "output input"]:
        """Weight with the columns of this call's mask."""
        if not self.training:
            return weight
        self.calls += 1
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * int(self.calls))
        return weight * self.drawn(generator)

    def drawn(self, generator: torch.Generator) -> Float[Tensor, " input"]:
        """A mask with a mean of 1."""
        kept = torch.rand(self.inputs, generator=generator) >= self.rate
        return (kept / (1 - self.rate)).to(self.calls.device)

"""Networks from an embedding's features to what a flow is conditioned on."""

from collections.abc import Callable
from itertools import pairwise
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
NEGLIGIBLE = 1e-6  # spread over mean of a feature, beyond which it is rounding noise


@final
class Standard(nn.Module):
    """Features less their mean, over their standard deviation.

    The leading `shared` features have one mean and one deviation: an image of sum 1 has pixels of 4e-4, and a deviation
    for each pixel would divide the empty ones by next to nothing. The others each have their own.
    """

    def __init__(self, features: Float[Tensor, "batch feature"], *, shared: int) -> None:
        super().__init__()
        image, others = features[:, :shared], features[:, shared:]
        parts = [tuple(part.expand(shared) for part in mean_and_std(image.flatten()))] if shared else []
        parts += [mean_and_std(others)] if others.numel() else []
        mean, std = (torch.cat(part) for part in zip(*parts, strict=True))
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch feature"]:
        """Of mean 0 and standard deviation 1 on the batch it was built from."""
        return (features - self.mean) / self.std


def trunk(
    features: Float[Tensor, "batch feature"], *, shared: int, widths: tuple[int, ...], activation: str
) -> nn.Sequential:
    """Standardise features and pass them through a perceptron whose last layer, of width `widths[-1]`, is linear.

    Args:
        features: Of a batch, to size and standardise by.
        shared: Number of leading features that are standardised together.
        widths: Of the layers.
        activation: Between the layers, a name of `ACTIVATIONS`.
    """
    hidden = perceptron((features.shape[1], *widths[:-1]), widths[-1], activation=activation)
    return nn.Sequential(Standard(features, shared=shared), hidden)


def perceptron(widths: tuple[int, ...], outputs: int, *, activation: str) -> nn.Sequential:
    """Layers of these widths with an activation behind each but the input, and a linear output layer."""
    layers: list[nn.Module] = []
    for wide, next_wide in pairwise(widths):
        layers += [nn.Linear(wide, next_wide), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))


def mean_and_std(values: Float[Tensor, "batch *feature"]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the batch; a deviation of 1 where all are equal up to rounding."""
    mean, std = values.mean(0), values.std(0, correction=0)
    return mean, torch.where(std > NEGLIGIBLE * mean.abs(), std, torch.ones_like(std))

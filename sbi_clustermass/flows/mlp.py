"""Networks from the features of an embedding to the condition of a flow."""

from collections.abc import Callable
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sbi_clustermass.embeddings.galaxies import perceptron

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
_NEGLIGIBLE = 1e-6  # standard deviation over mean of a feature, up to which it is rounding noise


@final
class StandardiseFeatures(nn.Module):
    """Subtract the mean of each feature and divide by its standard deviation.

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
        """Features of mean 0 and standard deviation 1 on the batch that the module was built from."""
        return (features - self.mean) / self.std


def trunk(
    features: Float[Tensor, "batch feature"], *, shared: int, widths: tuple[int, ...], activation: str
) -> nn.Sequential:
    """Standardise features and pass them through a perceptron whose last layer, of width `widths[-1]`, is linear.

    Args:
        features: Features of a batch, to size and standardise by.
        shared: Number of leading features that are standardised together.
        widths: Widths of the layers.
        activation: Activation between the layers, a name of `ACTIVATIONS`.
    """
    layers = perceptron(features.shape[1], *widths, activation=ACTIVATIONS[activation])
    return nn.Sequential(StandardiseFeatures(features, shared=shared), layers)


def mean_and_std(values: Float[Tensor, "batch *feature"]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the batch; a deviation of 1 where all are equal up to rounding."""
    mean, std = values.mean(0), values.std(0, correction=0)
    return mean, torch.where(std > _NEGLIGIBLE * mean.abs(), std, torch.ones_like(std))

"""Base of our density estimators, which sbi accepts as its own, without the seconds that `import sbi` takes."""

import sys
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sbi_clustermass.embeddings.conditions import Columns

if TYPE_CHECKING:  # for type checkers it is sbi's class, whose interface it has
    from sbi.neural_nets.estimators.base import ConditionalDensityEstimator as DensityEstimator
else:

    class DensityEstimator(nn.Module):
        """A conditional density: parameters are `input` and observations `condition`, as in sbi.

        Subclasses define `log_prob`, `loss` and `sample`. The class does not inherit from sbi's, which would have to be
        imported for every inference. Instead it is registered as a subclass once sbi is imported, see `__class__`.

        Attributes:
            net: Network that evaluates the density.
            input_shape: Shape of the parameters.
            condition_shape: Shape of one observation.
            embedding_net: Observation -> features, if there is such a network.
        """

        embedding_net: nn.Module | None = None

        def __init__(self, net: nn.Module, input_shape: tuple[int, ...], condition_shape: tuple[int, ...]) -> None:
            super().__init__()
            self.input_shape, self.condition_shape = torch.Size(input_shape), torch.Size(condition_shape)
            self.net = net

        @property
        def __class__(self) -> type:
            """Class of the estimator, registered with sbi if that is imported: sbi's `isinstance` reads it first."""
            if base := sys.modules.get("sbi.neural_nets.estimators.base"):
                base.ConditionalDensityEstimator.register(DensityEstimator)
            return type(self)

        def sample_and_log_prob(
            self, sample_shape: torch.Size | tuple[int, ...], condition: Tensor
        ) -> tuple[Tensor, Tensor]:
            """Draw parameters, (*sample_shape, batch, theta), with their log densities, (*sample_shape, batch)."""
            samples = self.sample(sample_shape, condition)
            flat = samples.reshape(torch.Size(sample_shape).numel(), *samples.shape[len(sample_shape) :])
            return samples, self.log_prob(flat, condition).reshape(samples.shape[: len(sample_shape) + 1])


def columns_of(network: DensityEstimator) -> Columns:
    """What an observation for this network holds besides R_proj, v_los and the flag."""
    return Columns.of(network, network.condition_shape[1] if len(network.condition_shape) == 2 else 0)

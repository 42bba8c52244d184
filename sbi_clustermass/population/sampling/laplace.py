"""The Laplace approximation: a Gaussian with the posterior's mode and its curvature there."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.population.sampling.draws import Draws, Potential, Tell, Whitened, check_at_least, weighed


@final
@dataclass(frozen=True)
class Laplace:
    """For quick looks.

    Attributes:
        num_samples: Draws from the Gaussian.
        seed: Of the draws.
    """

    num_samples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least("Laplace", num_samples=(self.num_samples, 4))

    @property
    def total(self) -> int:
        """Densities that are evaluated."""
        return self.num_samples

    def draw(self, potential: Potential, start: Float[Tensor, "coordinate"], tell: Tell | None = None) -> Draws:
        """Draw from the Gaussian, with importance weights."""
        whitened = Whitened.of(potential, start)
        generator = torch.Generator().manual_seed(self.seed)
        u = torch.randn(self.num_samples, len(start), generator=generator, dtype=torch.float64)
        positions, log_target = whitened.position(u), []
        for number, position in enumerate(positions, 1):
            with torch.no_grad():
                log_target.append(-potential(position))
            if tell is not None:
                tell(number)
        log_weight, k = weighed(torch.stack(log_target), -0.5 * u.square().sum(-1))
        return Draws(positions[None], {"log_weight": log_weight[None]}, {"pareto_k": k})

"""Laplace approximation with importance weights.

Draws are proposed by a Student density with the posterior's mode and curvature there, as its tails are longer than
normal ones. Each further round proposes by the moments found so far (Cappe et al. 2008, arXiv:0710.4242), and the draws
of all rounds are weighted by the posterior over the mean of the proposals (Veach & Guibas 1995).
"""

from dataclasses import dataclass
from math import log
from typing import final

import torch
from jaxtyping import Float
from pyro.distributions import MultivariateStudentT
from torch import Tensor

from clustermocks.io.progress import Advance
from sbi_clustermass.population.sampling.draws import (
    Draws,
    Potential,
    Whitened,
    check_at_least,
    log_density,
    own_random_state,
    pareto_smoothed,
)

_TAIL = torch.tensor(4.0, dtype=torch.float64)  # degrees of freedom of the Student densities
_LEAST_VARIANCE = 0.01  # variance added to a proposal, over that of the Laplace approximation


@final
@dataclass(frozen=True)
class Laplace:
    """The Laplace approximation: fast, and exact if importance weights make it so: one mode, some ten parameters.

    Attributes:
        num_samples: Number of draws that are kept, and that each round proposes.
        rounds: Number of rounds of proposals.
        seed: Seed of the draws.
    """

    num_samples: int = 1000
    rounds: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, num_samples=4, rounds=1)

    @property
    def total(self) -> int:
        """Number of densities that are evaluated."""
        return self.num_samples * self.rounds

    def draw(self, potential: Potential, start: Float[Tensor, "coordinate"], progress: Advance | None = None) -> Draws:
        """Propose, weight, and draw by the weights."""
        whitened, size = Whitened.from_potential(potential, start), len(start)
        proposals: list[MultivariateStudentT] = []
        u = torch.zeros(0, size, dtype=torch.float64)
        log_target = log_weight = torch.zeros(0, dtype=torch.float64)
        proposal = _student(torch.zeros(size, dtype=torch.float64), torch.eye(size, dtype=torch.float64))
        with own_random_state(self.seed):
            for number in range(self.rounds):
                proposals.append(proposal)
                new = proposal.sample(torch.Size([self.num_samples]))
                at_new = log_density(potential, whitened.position(new), progress, done=number * self.num_samples)
                u, log_target = torch.cat([u, new]), torch.cat([log_target, at_new])
                log_mixture = torch.stack([one.log_prob(u) for one in proposals]).logsumexp(0) - log(len(proposals))
                log_weight = log_target - log_mixture
                proposal = _with_moments(u, log_weight.softmax(0))
            log_weight, k = pareto_smoothed(log_weight)
            weight = log_weight.softmax(0)
            rows = weight.multinomial(self.num_samples, replacement=True)
        facts = {"pareto_k": k, "effective_draws": float(1 / weight.square().sum())}
        return Draws(whitened.position(u[rows])[None], facts=facts)


def _student(mean: Float[Tensor, "coordinate"], scale: Float[Tensor, "coordinate coordinate"]) -> MultivariateStudentT:
    return MultivariateStudentT(_TAIL, mean, torch.linalg.cholesky(scale))


def _with_moments(u: Float[Tensor, "draw coordinate"], weight: Float[Tensor, "draw"]) -> MultivariateStudentT:
    """Student density with the weighted mean, and the weighted covariance as its scale: slightly too wide."""
    mean = weight @ u
    residual = u - mean
    return _student(mean, (residual.T * weight) @ residual + _LEAST_VARIANCE * torch.eye(u.shape[1], dtype=u.dtype))

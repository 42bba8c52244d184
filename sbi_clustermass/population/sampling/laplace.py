"""The Laplace approximation, a normal density with the posterior's mode and its curvature there, made good by weights.

Draws are proposed by a Student density instead, whose tails are longer, in whitened coordinates; each round proposes by
one with the moments that were found so far (Cappe et al. 2008, arXiv:0710.4242), and all rounds' draws are weighted
together, by the posterior over the mean of the proposals (Veach & Guibas 1995).
"""

from dataclasses import dataclass
from math import log
from typing import final

import torch
from jaxtyping import Float
from pyro.distributions import MultivariateStudentT
from torch import Tensor

from sbi_clustermass.population.sampling.draws import (
    Draws,
    Potential,
    Tell,
    Whitened,
    check_at_least,
    log_density,
    own_random_state,
    pareto_smoothed,
)

TAIL = torch.tensor(4.0, dtype=torch.float64)  # degrees of freedom of the Student densities
LEAST_VARIANCE = 0.01  # of a proposal, over that of the Laplace approximation


@final
@dataclass(frozen=True)
class Laplace:
    """Fast, and exact where weights can make it so: with up to ten parameters or so and one mode.

    Attributes:
        num_samples: Draws that are kept, and those that each round proposes.
        rounds: Of proposals.
        seed: Of the draws.
    """

    num_samples: int = 1000
    rounds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least("Laplace", num_samples=(self.num_samples, 4), rounds=(self.rounds, 1))

    @property
    def total(self) -> int:
        """Densities that are evaluated."""
        return self.num_samples * self.rounds

    def draw(self, potential: Potential, start: Float[Tensor, "coordinate"], tell: Tell | None = None) -> Draws:
        """Propose, weigh, and draw by the weights."""
        whitened, size = Whitened.of(potential, start), len(start)
        proposals: list[MultivariateStudentT] = []
        u = torch.zeros(0, size, dtype=torch.float64)
        log_target = log_weight = torch.zeros(0, dtype=torch.float64)
        proposal = _student(torch.zeros(size, dtype=torch.float64), torch.eye(size, dtype=torch.float64))
        with own_random_state(self.seed):
            for number in range(self.rounds):
                proposals.append(proposal)
                new = proposal.sample(torch.Size([self.num_samples]))
                at_new = log_density(potential, whitened.position(new), tell, done=number * self.num_samples)
                u, log_target = torch.cat([u, new]), torch.cat([log_target, at_new])
                log_weight = log_target - _log_mean(proposals, u)
                proposal = _with_moments(u, log_weight.softmax(0))
            log_weight, k = pareto_smoothed(log_weight)
            weight = log_weight.softmax(0)
            rows = weight.multinomial(self.num_samples, replacement=True)
        facts = {"pareto_k": k, "effective_draws": float(1 / weight.square().sum())}
        return Draws(whitened.position(u[rows])[None], facts=facts)


def _student(mean: Float[Tensor, "coordinate"], scale: Float[Tensor, "coordinate coordinate"]) -> MultivariateStudentT:
    return MultivariateStudentT(TAIL, mean, torch.linalg.cholesky(scale))


def _log_mean(proposals: list[MultivariateStudentT], u: Float[Tensor, "draw coordinate"]) -> Float[Tensor, "draw"]:
    """Natural log of the proposals' mean density."""
    return torch.stack([one.log_prob(u) for one in proposals]).logsumexp(0) - log(len(proposals))


def _with_moments(u: Float[Tensor, "draw coordinate"], weight: Float[Tensor, "draw"]) -> MultivariateStudentT:
    """A Student density about the weighted mean, its scale the weighted covariance: a little wide."""
    mean = weight @ u
    off = u - mean
    return _student(mean, (off.T * weight) @ off + LEAST_VARIANCE * torch.eye(u.shape[1], dtype=u.dtype))

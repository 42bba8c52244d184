"""Variational inference with Pyro's guides: a correlated Gaussian, or a normalizing flow."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.transforms import iterated, spline, spline_autoregressive
from pyro.infer import SVI as Steps, Trace_ELBO
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormalizingFlow
from pyro.infer.autoguide.guides import AutoContinuous
from pyro.optim import ClippedAdam
from torch import Tensor

from clustermocks.io.progress import Advance
from clustermocks.io.registry import lookup
from sbi_clustermass.population.sampling.draws import (
    Draws,
    Potential,
    Whitened,
    check_at_least,
    log_density,
    own_random_state,
    pareto_smoothed,
)

_GUIDES: dict[str, Callable[[Callable], AutoContinuous]] = {
    "normal": lambda model: AutoMultivariateNormal(model, init_scale=0.5),
    "flow": lambda model: AutoNormalizingFlow(model, _splines),
}


def _splines(size: int):
    """Two autoregressive rational-linear splines, which are Gaussian beyond six standard deviations."""
    if size == 1:
        return iterated(2, spline, 1, count_bins=8, bound=6.0)
    return iterated(2, spline_autoregressive, size, hidden_dims=[32], count_bins=8, bound=6.0)


@final
@dataclass(frozen=True)
class SVI:
    """Stochastic variational inference (Hoffman et al. 2013; Dolatabadi et al. 2020 for the flow's splines).

    Attributes:
        guide: "normal" for a correlated Gaussian, "flow" for two autoregressive splines.
        steps: Number of gradient steps.
        learning_rate: Initial learning rate of Adam, which falls to a hundredth.
        particles: Number of draws by which the gradient of a step is estimated.
        num_samples: Number of draws from the fitted guide.
        seed: Seed of all draws.
    """

    guide: str = "normal"
    steps: int = 1000
    learning_rate: float = 0.05
    particles: int = 2
    num_samples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        lookup("guide", self.guide, _GUIDES)
        check_at_least(self, steps=1, particles=1, num_samples=4)
        if not self.learning_rate > 0:
            raise ValueError(f"SVI: learning_rate must be positive, got {self.learning_rate}.")

    @property
    def total(self) -> int:
        """Number of gradient steps."""
        return self.steps

    def draw(self, potential: Potential, start: Float[Tensor, "coordinate"], progress: Advance | None = None) -> Draws:
        """Fit the guide and draw from it, with importance weights."""
        whitened, size = Whitened.from_potential(potential, start), len(start)

        def model() -> None:
            zero = torch.zeros(size, dtype=torch.float64)
            u = pyro.sample("u", dist.Normal(zero, torch.ones_like(zero)).to_event(1))
            pyro.factor("rest", 0.5 * u.square().sum() - potential(whitened.position(u)))

        with own_random_state(self.seed), _float64_by_default():
            guide = _GUIDES[self.guide](model)
            self._fit(model, guide, progress)
            u, log_drawn = _drawn(guide, self.num_samples)
        positions = whitened.position(u)
        log_weight = log_density(potential, positions) - log_drawn
        return Draws(
            positions[None], {"log_weight": log_weight[None].numpy()}, {"pareto_k": pareto_smoothed(log_weight)[1]}
        )

    def _fit(self, model: Callable[[], None], guide: AutoContinuous, progress: Advance | None) -> None:
        decay = 0.01 ** (1 / self.steps)
        optimizer = ClippedAdam({"lr": self.learning_rate, "lrd": decay, "clip_norm": 10.0})
        steps = Steps(model, guide, optimizer, Trace_ELBO(num_particles=self.particles))
        for number in range(1, self.steps + 1):
            steps.step()
            if progress is not None:
                progress(number)


@torch.no_grad()
def _drawn(guide: AutoContinuous, n: int) -> tuple[Float[Tensor, "draw coordinate"], Float[Tensor, "draw"]]:
    """Draws from a fitted guide with their log densities."""
    posterior = guide.get_posterior()
    u = posterior.sample(torch.Size([n]))
    return u.detach(), posterior.log_prob(u).detach()


@contextmanager
def _float64_by_default() -> Iterator[None]:
    """Set torch's default type to float64, in which guides make their networks."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)

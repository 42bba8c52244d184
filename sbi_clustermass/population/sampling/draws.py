"""Common parts of the samplers: potential, draws, and whitened coordinates about the mode."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, final

import numpy as np
import pyro
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from clustermocks.io.progress import Advance
from sbi_clustermass.posterior.silent_imports import arviz

Potential = Callable[[Float[Tensor, "*draw coordinate"]], Float[Tensor, "*draw"]]
DRAWS_AT_ONCE = 20


@final
@dataclass(frozen=True)
class Draws:
    """Draws from a posterior, exact or approximate.

    Attributes:
        positions: Positions, (chain, draw, coordinate).
        stats: Statistics of each draw, (chain, draw): `diverging` of NUTS; of SVI `log_weight`, the log of target
            over approximation up to a constant.
        facts: Diagnostics of an approximation: `pareto_k` (Vehtari et al. 2024, arXiv:1507.02646), reliable below 0.7,
            where importance weights make it exact; `effective_draws` of draws by such weights.
    """

    positions: Float[Tensor, "chain draw coordinate"]
    stats: Mapping[str, np.ndarray] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)


class Sampler(Protocol):
    """Draws from exp(-potential), with given settings; the same seed gives the same draws."""

    @property
    def total(self) -> int:
        """Number of steps that `progress` counts."""
        ...

    def draw(self, potential: Potential, start: Float[Tensor, "coordinate"], progress: Advance | None = None) -> Draws:
        """Draw, without a change of the global state of torch and Pyro.

        Args:
            potential: Negative log density over all of space, differentiable twice.
            start: Position where the search for the minimum begins, float64.
            progress: Called with the number of steps done.
        """
        ...


class Whitened(NamedTuple):
    """Coordinates u about the mode, position = mode + spread u, in which a potential is nearly u^2 / 2."""

    mode: Float[Tensor, "coordinate"]
    spread: Float[Tensor, "coordinate coordinate"]

    @classmethod
    def from_potential(cls, potential: Potential, start: Float[Tensor, "coordinate"]) -> "Whitened":
        """Find the mode, and a matrix square root of the covariance there."""
        mode = torch.as_tensor(minimize(_with_gradient(potential), start.numpy(), jac=True, method="BFGS").x)
        curvature, axes = torch.linalg.eigh(torch.autograd.functional.hessian(potential, mode))
        return cls(mode, axes / curvature.clamp(min=0.1).sqrt())  # priors are narrower than 3

    def position(self, u: Float[Tensor, "*draw coordinate"]) -> Float[Tensor, "*draw coordinate"]:
        """Position of whitened coordinates."""
        return self.mode + u @ self.spread.T


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """Give Pyro its own seed and parameter store.

    Only the CPU's generator is seeded: pyro.set_rng_seed would reseed numpy and random, torch.manual_seed every GPU.
    """
    with torch.random.fork_rng(devices=[]), pyro.get_param_store().scope():
        torch.default_generator.manual_seed(seed)
        yield


def _with_gradient(potential: Potential):
    def value_and_gradient(at: Float[np.ndarray, "coordinate"]) -> tuple[float, Float[np.ndarray, "coordinate"]]:
        position = torch.tensor(at, requires_grad=True)
        value = potential(position)
        (gradient,) = torch.autograd.grad(value, position)
        return value.item(), gradient.numpy()

    return value_and_gradient


def check_at_least(sampler: Sampler, **least: int) -> None:
    """Refuse a sampler with a setting below its least value."""
    for name, number in least.items():
        if (value := getattr(sampler, name)) < number:
            raise ValueError(f"{type(sampler).__name__}: {name} must be at least {number}, got {value}.")


@torch.no_grad()
def log_density(
    potential: Potential, positions: Float[Tensor, "draw coordinate"], progress: Advance | None = None, done: int = 0
) -> Float[Tensor, "draw"]:
    """-potential at many positions, in batches; `progress` counts on from the number already done."""
    found = []
    for some in positions.split(DRAWS_AT_ONCE):
        found.append(-potential(some))
        if progress is not None:
            for number in range(done + 1, done + 1 + len(some)):
                progress(number)
        done += len(some)
    return torch.cat(found)


def pareto_smoothed(log_weight: Float[Tensor, "draw"]) -> tuple[Float[Tensor, "draw"], float]:
    """Pareto-smoothed log importance weights, whose exponentials sum to 1, and their Pareto shape k."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        smooth, k = arviz().psislw((log_weight - log_weight.max()).numpy())
    return torch.as_tensor(np.array(smooth)), float(k)

"""What samplers have in common: what they draw from, what they give back, and where they start."""

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

Potential = Callable[[Float[Tensor, "*draw coordinate"]], Float[Tensor, "*draw"]]
Tell = Callable[[int], None]
AT_ONCE = 20


@final
@dataclass(frozen=True)
class Draws:
    """Draws from a posterior, exact or approximate.

    Attributes:
        positions: (chain, draw, coordinate).
        stats: Facts about each draw, (chain, draw): `diverging` of NUTS; `log_weight`, the log of target over
            approximation up to a constant, of SVI.
        facts: Facts about the whole: `pareto_k` of an approximation (Vehtari et al. 2024, arXiv:1507.02646): below 0.7
            it can be trusted, because importance weights make it exact; `effective_draws` of draws by such weights.
    """

    positions: Float[Tensor, "chain draw coordinate"]
    stats: Mapping[str, np.ndarray] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)


class Sampler(Protocol):
    """A way to draw from exp(-potential), with its settings; the same seed gives the same draws."""

    @property
    def total(self) -> int:
        """Steps that `tell` counts."""
        ...

    def draw(self, potential: Potential, start: Float[Tensor, "coordinate"], tell: Tell | None = None) -> Draws:
        """Draw; torch's and Pyro's global state are left as they were.

        Args:
            potential: Negative log density over all of space, differentiable twice.
            start: Where the search for its lowest point begins, float64.
            tell: Called with the number of steps done.
        """
        ...


class Whitened(NamedTuple):
    """Coordinates u of a potential about its mode: position = mode + spread u, where it is nearly u^2 / 2."""

    mode: Float[Tensor, "coordinate"]
    spread: Float[Tensor, "coordinate coordinate"]

    @classmethod
    def of(cls, potential: Potential, start: Float[Tensor, "coordinate"]) -> "Whitened":
        """The mode, and a matrix square root of the covariance there."""
        mode = torch.as_tensor(minimize(_with_gradient(potential), start.numpy(), jac=True, method="BFGS").x)
        curvature, axes = torch.linalg.eigh(torch.autograd.functional.hessian(potential, mode))
        return cls(mode, axes / curvature.clamp(min=0.1).sqrt())  # priors are narrower than 3

    def position(self, u: Float[Tensor, "*draw coordinate"]) -> Float[Tensor, "*draw coordinate"]:
        """Of whitened coordinates."""
        return self.mode + u @ self.spread.T


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """Pyro with a seed and a parameter store of its own.

    The CPU's generator only: pyro.set_rng_seed would reseed numpy and random, torch.manual_seed every GPU.
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


def check_at_least(owner: str, **settings: tuple[int, int]) -> None:
    """Refuse settings below their least.

    Raises:
        ValueError: Naming the setting.
    """
    for name, (value, least) in settings.items():
        if value < least:
            raise ValueError(f"{owner}: {name} must be at least {least}, got {value}.")


@torch.no_grad()
def log_density(
    potential: Potential, positions: Float[Tensor, "draw coordinate"], tell: Tell | None = None, done: int = 0
) -> Float[Tensor, "draw"]:
    """-potential at many positions, some at once; `tell` goes on from the number that is done."""
    found = []
    for some in positions.split(AT_ONCE):
        found.append(-potential(some))
        if tell is not None:
            for number in range(done + 1, done + 1 + len(some)):
                tell(number)
        done += len(some)
    return torch.cat(found)


def pareto_smoothed(log_weight: Float[Tensor, "draw"]) -> tuple[Float[Tensor, "draw"], float]:
    """Log importance weights whose exponentials sum to 1, the largest smoothed, and their Pareto shape."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import arviz

        smooth, k = arviz.psislw((log_weight - log_weight.max()).numpy())
    return torch.as_tensor(np.array(smooth)), float(k)

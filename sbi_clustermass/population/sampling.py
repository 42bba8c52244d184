"""No-U-turn sampling of a few parameters, from the mode and in coordinates whitened by the curvature there.

Pyro samples the potential that it is given: tracing a Pyro model at every step takes thrice as long.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
import pyro
import torch
from jaxtyping import Bool, Float
from pyro.infer import MCMC, NUTS
from scipy.optimize import minimize
from torch import Tensor

Potential = Callable[[Float[Tensor, "parameter"]], Float[Tensor, ""]]


@final
@dataclass(frozen=True)
class Sampler:
    """Settings of the no-U-turn sampler. The same seed gives the same draws.

    Attributes:
        num_samples: Draws kept from each chain.
        num_warmup: Draws before them in which the step is tuned, not kept.
        num_chains: Chains, run one after another.
        seed: Seed of all chains.
        progress: True for Pyro's progress bars; False for silence; or a callable that gets the number of draws done,
            of all chains together, warm-up included.
    """

    num_samples: int = 500
    num_warmup: int = 200
    num_chains: int = 2
    seed: int = 0
    progress: bool | Callable[[int], None] = False

    def __post_init__(self) -> None:
        for name, least in {"num_samples": 4, "num_warmup": 1, "num_chains": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}.")


def draw(
    potential: Potential, start: Float[Tensor, "parameter"], sampler: Sampler
) -> tuple[Float[Tensor, "chain draw parameter"], Bool[np.ndarray, "chain draw"]]:
    """Draw from exp(-potential); torch's and Pyro's global state are left as they were.

    Args:
        potential: Negative log density over all of space, differentiable twice.
        start: Where the search for its lowest point begins, float64.
        sampler: Settings.

    Returns:
        Positions, and whether each draw's trajectory diverged.
    """
    mode, spread = _mode_and_spread(potential, start)
    with torch.random.fork_rng(devices=[]), pyro.get_param_store().scope():
        # the CPU's generator only: pyro.set_rng_seed would reseed numpy and random, torch.manual_seed every GPU
        torch.default_generator.manual_seed(sampler.seed)
        chains = [
            _chain(lambda u: potential(mode + spread @ u), len(start), sampler, k) for k in range(sampler.num_chains)
        ]
    whitened, diverging = zip(*chains, strict=True)
    return mode + torch.stack(whitened) @ spread.T, np.stack(diverging)


def _mode_and_spread(
    potential: Potential, start: Float[Tensor, "parameter"]
) -> tuple[Float[Tensor, "parameter"], Float[Tensor, "parameter parameter"]]:
    """The posterior's mode, and a matrix square root of its covariance there (Laplace)."""

    def value_and_gradient(at: Float[np.ndarray, "parameter"]) -> tuple[float, Float[np.ndarray, "parameter"]]:
        position = torch.tensor(at, requires_grad=True)
        value = potential(position)
        (gradient,) = torch.autograd.grad(value, position)
        return value.item(), gradient.numpy()

    mode = torch.as_tensor(minimize(value_and_gradient, start.numpy(), jac=True, method="BFGS").x)
    curvature, axes = torch.linalg.eigh(torch.autograd.functional.hessian(potential, mode))
    return mode, axes / curvature.clamp(min=0.1).sqrt()  # priors are narrower than 3


def _chain(
    potential: Potential, n_parameters: int, sampler: Sampler, number: int
) -> tuple[Float[Tensor, "draw parameter"], Bool[np.ndarray, "draw"]]:
    """One chain in whitened coordinates, started from the Laplace approximation."""
    kernel = NUTS(potential_fn=lambda sites: potential(sites["u"]), adapt_mass_matrix=False)
    chain = MCMC(
        kernel,
        num_samples=sampler.num_samples,
        warmup_steps=sampler.num_warmup,
        initial_params={"u": torch.randn(n_parameters, dtype=torch.float64)},
        disable_progbar=sampler.progress is not True,
        hook_fn=_hook(sampler, number),
    )
    chain.run()
    diverging = np.zeros(sampler.num_samples, dtype=bool)
    diverging[list(chain.diagnostics()["divergences"]["chain 0"])] = True
    return chain.get_samples()["u"].detach(), diverging


def _hook(sampler: Sampler, number: int) -> Callable[[object, object, str, int], None] | None:
    """Pyro's callback after each draw, told on to the caller's as a running number."""
    tell = sampler.progress
    if isinstance(tell, bool):
        return None
    before = number * (sampler.num_warmup + sampler.num_samples)

    def hook(_kernel: object, _samples: object, stage: str, i: int) -> None:
        tell(before + i + 1 + (0 if stage.lower().startswith("warmup") else sampler.num_warmup))

    return hook

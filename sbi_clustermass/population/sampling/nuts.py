"""No-U-turn sampling.

Pyro samples a potential: tracing a Pyro model at every step takes three times as long.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float
from pyro.infer import MCMC, NUTS as Kernel
from torch import Tensor

from clustermocks.io.progress import Advance
from sbi_clustermass.population.sampling.draws import Draws, Potential, Whitened, check_at_least, own_random_state


@final
@dataclass(frozen=True)
class NUTS:
    """The no-U-turn sampler (Hoffman & Gelman 2014): exact, up to the number of draws.

    Attributes:
        num_samples: Number of draws of each chain that are kept.
        num_warmup: Number of draws before, in which the step size is tuned.
        num_chains: Number of chains, run one after another.
        seed: Seed of all chains.
    """

    num_samples: int = 500
    num_warmup: int = 200
    num_chains: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, num_samples=4, num_warmup=1, num_chains=1)

    @property
    def total(self) -> int:
        """Number of draws of all chains, warm-up included."""
        return self.num_chains * (self.num_warmup + self.num_samples)

    def draw(self, potential: Potential, start: Float[Tensor, "coordinate"], progress: Advance | None = None) -> Draws:
        """Draw from exp(-potential)."""
        whitened = Whitened.from_potential(potential, start)
        with own_random_state(self.seed):
            chains = [
                self._chain(lambda u: potential(whitened.position(u)), len(start), number, progress)
                for number in range(self.num_chains)
            ]
        u, diverging = zip(*chains, strict=True)
        return Draws(whitened.position(torch.stack(u)), {"diverging": np.stack(diverging)})

    def _chain(
        self, potential: Potential, size: int, number: int, progress: Advance | None
    ) -> tuple[Float[Tensor, "draw coordinate"], Bool[np.ndarray, "draw"]]:
        """Run one chain in whitened coordinates, started from the Laplace approximation."""
        kernel = Kernel(potential_fn=lambda sites: potential(sites["u"]), adapt_mass_matrix=False)
        chain = MCMC(
            kernel,
            num_samples=self.num_samples,
            warmup_steps=self.num_warmup,
            initial_params={"u": torch.randn(size, dtype=torch.float64)},
            disable_progbar=True,
            hook_fn=self._hook(number, progress),
        )
        chain.run()
        diverging = np.zeros(self.num_samples, dtype=bool)
        diverging[list(chain.diagnostics()["divergences"]["chain 0"])] = True
        return chain.get_samples()["u"].detach(), diverging

    def _hook(self, number: int, progress: Advance | None) -> Callable[[object, object, str, int], None] | None:
        """Pyro's callback after each draw, which reports the number of draws of all chains so far."""
        if progress is None:
            return None
        before = number * (self.num_warmup + self.num_samples)

        def hook(_kernel: object, _samples: object, stage: str, i: int) -> None:
            progress(before + i + 1 + (0 if stage.lower().startswith("warmup") else self.num_warmup))

        return hook

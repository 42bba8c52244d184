"""Interpolation of a smooth vector function of one number, differentiable."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self, final

import numpy as np
import torch
from jaxtyping import Float
from numpy.polynomial import chebyshev
from torch import Tensor


@final
@dataclass(frozen=True)
class Chebyshev:
    """Chebyshev polynomials between two ends; beyond these it is not to be used.

    Attributes:
        low: Lower end.
        high: Upper end.
        coefficients: A row a degree, (degree, value).
    """

    low: float
    high: float
    coefficients: Float[Tensor, "degree value"]

    @classmethod
    def through(cls, function: Callable[[float], np.ndarray], ends: tuple[float, float], *, nodes: int) -> Self:
        """The interpolant through a function's values at the Chebyshev points."""
        low, high = ends
        x = chebyshev.chebpts1(nodes)
        values = np.stack([function(low + 0.5 * (high - low) * (t + 1)) for t in x])
        return cls(low, high, torch.as_tensor(chebyshev.chebfit(x, values, nodes - 1)))

    def __call__(self, at: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch value"]:
        """The function's values."""
        x = (2 * at - (self.low + self.high)) / (self.high - self.low)
        basis = [torch.ones_like(x), x]
        while len(basis) < len(self.coefficients):
            basis.append(2 * x * basis[-1] - basis[-2])
        return torch.stack(basis, -1) @ self.coefficients

    def split(self, sizes: Sequence[int]) -> tuple["Chebyshev", ...]:
        """One interpolant for each group of values."""
        return tuple(Chebyshev(self.low, self.high, part) for part in self.coefficients.split(list(sizes), dim=1))

    def to(self, device: torch.device) -> "Chebyshev":
        """The same on a device."""
        return Chebyshev(self.low, self.high, self.coefficients.to(device))

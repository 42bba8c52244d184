"""Differentiable interpolation of a smooth vector function of one variable."""

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
    """Chebyshev polynomials on an interval; not valid outside it.

    Attributes:
        low: Lower end of the interval.
        high: Upper end of the interval.
        coefficients: Coefficients, (degree, value).
    """

    low: float
    high: float
    coefficients: Float[Tensor, "degree value"]

    @classmethod
    def from_function(cls, function: Callable[[float], np.ndarray], ends: tuple[float, float], *, nodes: int) -> Self:
        """Interpolate a function through its values at the Chebyshev points."""
        low, high = ends
        x = chebyshev.chebpts1(nodes)
        values = np.stack([function(low + 0.5 * (high - low) * (t + 1)) for t in x])
        return cls(low, high, torch.as_tensor(chebyshev.chebfit(x, values, nodes - 1)))

    def __call__(self, at: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch value"]:
        """Evaluate the interpolant."""
        x = (2 * at - (self.low + self.high)) / (self.high - self.low)
        basis = [torch.ones_like(x), x]
        while len(basis) < len(self.coefficients):
            basis.append(2 * x * basis[-1] - basis[-2])
        return torch.stack(basis, -1) @ self.coefficients

    def split(self, sizes: Sequence[int]) -> tuple["Chebyshev", ...]:
        """Split the values into groups, with one interpolant for each."""
        return tuple(Chebyshev(self.low, self.high, part) for part in self.coefficients.split(list(sizes), dim=1))

    def to(self, device: torch.device) -> "Chebyshev":
        """Return a copy on a device."""
        return Chebyshev(self.low, self.high, self.coefficients.to(device))

"""Differentiable interpolation of a smooth vector function of one or more variables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Self, final

import numpy as np
import torch
from jaxtyping import Float
from numpy.polynomial import chebyshev
from torch import Tensor

Interval = tuple[float, float]

_INSIDE = 1 - 1e-12


@final
@dataclass(frozen=True)
class Chebyshev:
    """Products of Chebyshev polynomials on a box; not valid outside it.

    Attributes:
        box: Interval of each variable.
        coefficients: Coefficients, one axis for each variable and one for the values.
    """

    box: tuple[Interval, ...]
    coefficients: Float[Tensor, "*degree value"]

    @classmethod
    def from_function(cls, function: Callable[..., np.ndarray], box: Sequence[Interval], nodes: Sequence[int]) -> Self:
        """Interpolate a function of the variables through its values at the products of Chebyshev points."""
        points = [
            low + 0.5 * (high - low) * (chebyshev.chebpts1(n) + 1) for (low, high), n in zip(box, nodes, strict=True)
        ]
        values = np.array([function(*map(float, point)) for point in product(*points)])
        found = values.reshape(*nodes, -1)
        for axis, n in enumerate(nodes):
            moved = np.moveaxis(found, axis, 0)
            fitted = chebyshev.chebfit(chebyshev.chebpts1(n), moved.reshape(n, -1), n - 1)
            found = np.moveaxis(fitted.reshape(moved.shape), 0, axis)
        return cls(tuple(box), torch.as_tensor(np.ascontiguousarray(found)))

    def __call__(self, *at: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch value"]:
        """Evaluate the interpolant."""
        variables = torch.broadcast_tensors(*at)
        found = self.coefficients
        for number, (x, interval) in enumerate(zip(variables, self.box, strict=True)):
            basis = _basis(x, interval, self.coefficients.shape[number])
            if number == 0:
                found = torch.tensordot(basis, found, 1)
            else:
                others = found.flatten(x.ndim + 1)
                found = (basis[..., None, :] @ others)[..., 0, :].unflatten(-1, found.shape[x.ndim + 1 :])
        return found

    def split(self, sizes: Sequence[int]) -> tuple["Chebyshev", ...]:
        """Split the values into groups, with one interpolant for each."""
        return tuple(replace(self, coefficients=part) for part in self.coefficients.split(list(sizes), dim=-1))


def _basis(x: Float[Tensor, "*batch"], interval: Interval, degrees: int) -> Float[Tensor, "*batch degree"]:
    """Polynomials T_n = cos(n arccos x), which have slopes between the ends but not at them."""
    low, high = interval
    scaled = (2 * x - (low + high)) / (high - low)
    angle = torch.arccos(scaled.clamp(-_INSIDE, _INSIDE))
    return torch.cos(angle[..., None] * torch.arange(degrees, dtype=x.dtype, device=x.device))

"""Expansion of a flat universe whose dark energy has a constant equation of state."""

import torch
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.population.parameters import Parameters


def squared_rate(redshift: Tensor, Om0: Tensor, w: Tensor | float = -1.0) -> Tensor:
    """E(z)^2 = Om0 (1 + z)^3 + (1 - Om0) (1 + z)^(3 + 3 w) [1]; tensors broadcast."""
    growth = 1 + redshift
    return Om0 * growth**3 + (1 - Om0) * growth ** (3 * (1 + w))


def equation_of_state(parameters: Parameters, default: float = -1.0) -> Float[Tensor, "*draw"]:
    """`w` of the parameters; that of a cosmological constant if it is none of them."""
    return parameters.get("w", torch.tensor(default, dtype=torch.float64))

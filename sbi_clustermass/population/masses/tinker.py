"""The halo multiplicity function of Tinker et al. 2008, differentiable."""

import torch
from jaxtyping import Float
from torch import Tensor

from clustermocks.haloes.tinker import PARAMETERS

_KNOTS, _CUBICS = torch.as_tensor(PARAMETERS.x), torch.as_tensor(PARAMETERS.c)  # (power, interval, parameter)


def log_tinker08(
    sigma: Float[Tensor, "*batch"], redshift: Float[Tensor, "*#batch"], overdensity: Float[Tensor, "*#batch"]
) -> Float[Tensor, "*batch"]:
    r"""Natural log of the multiplicity f(sigma), $dn/d\ln M = f \bar\rho / M\,|d \ln\sigma / d \ln M|$, eqs 2 to 8.

    Between the nine overdensities of table 2 the parameters follow the splines of `clustermocks.haloes.tinker`, so that
    there are no kinks in the cosmology.

    Args:
        sigma: Linear rms density contrast at the redshift [1].
        redshift: Redshift [1].
        overdensity: Overdensity over the mean matter density [1], clipped to 200 and 3200.
    """
    A, a, b, c = _parameters(overdensity)
    alpha = 10 ** -((0.75 / torch.log10(overdensity.clamp(min=200.0) / 75)) ** 1.2)
    growth = 1 + redshift
    A, a, b = A * growth**-0.14, a * growth**-0.06, b * growth**-alpha
    return torch.log(A) + torch.log1p((sigma / b) ** -a) - c / sigma**2


def _parameters(overdensity: Float[Tensor, "*batch"]) -> tuple[Float[Tensor, "*batch"], ...]:
    """A, a, b and c at redshift 0."""
    knots, cubics = _KNOTS.to(overdensity.device), _CUBICS.to(overdensity.device)
    at = torch.log10(overdensity).clamp(knots[0], knots[-1])
    left = torch.searchsorted(knots, at.detach().contiguous(), right=True).clamp(1, len(knots) - 1) - 1
    distance = (at - knots[left])[..., None]
    third, second, first, value = cubics[:, left]
    return (((third * distance + second) * distance + first) * distance + value).unbind(-1)

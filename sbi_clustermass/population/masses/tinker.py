"""The halo multiplicity function of Tinker et al. 2008, differentiable."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from torch import Tensor

# table 2 of Tinker et al. 2008: overdensity over the mean density, then A, a, b and c at redshift 0
_OVERDENSITY = np.array([200, 300, 400, 600, 800, 1200, 1600, 2400, 3200])
_PARAMETERS = np.array(
    [
        [0.186, 0.200, 0.212, 0.218, 0.248, 0.255, 0.260, 0.260, 0.260],
        [1.47, 1.52, 1.56, 1.61, 1.87, 2.13, 2.30, 2.53, 2.66],
        [2.57, 2.25, 2.05, 1.87, 1.59, 1.51, 1.46, 1.44, 1.41],
        [1.19, 1.27, 1.34, 1.45, 1.58, 1.80, 1.97, 2.24, 2.44],
    ]
)
_KNOTS = torch.as_tensor(np.log10(_OVERDENSITY))
_CUBICS = torch.as_tensor(CubicSpline(_KNOTS, _PARAMETERS.T, bc_type="natural").c)  # (power, interval, parameter)


def log_tinker08(
    sigma: Float[Tensor, "*batch"], redshift: Float[Tensor, "*#batch"], overdensity: Float[Tensor, "*#batch"]
) -> Float[Tensor, "*batch"]:
    r"""Natural log of the multiplicity f(sigma), $dn/d\ln M = f \bar\rho / M\,|d \ln\sigma / d \ln M|$, eqs 2 to 8.

    Between the nine overdensities of table 2 the parameters follow natural cubic splines in log overdensity, as in
    appendix B. colossus interpolates linearly in the overdensity and CCL in its logarithm, so that both have kinks
    in the cosmology; `CosmologyMassFunction` says how far they differ.

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

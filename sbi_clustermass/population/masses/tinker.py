"""The halo multiplicity function of Tinker et al. 2008, differentiable."""

import torch
from jaxtyping import Float
from torch import Tensor

# table 2 of Tinker et al. 2008: overdensity over the mean density, then A, a, b and c at redshift 0
_TABLE = torch.tensor(
    [
        [200, 300, 400, 600, 800, 1200, 1600, 2400, 3200],
        [0.186, 0.200, 0.212, 0.218, 0.248, 0.255, 0.260, 0.260, 0.260],
        [1.47, 1.52, 1.56, 1.61, 1.87, 2.13, 2.30, 2.53, 2.66],
        [2.57, 2.25, 2.05, 1.87, 1.59, 1.51, 1.46, 1.44, 1.41],
        [1.19, 1.27, 1.34, 1.45, 1.58, 1.80, 1.97, 2.24, 2.44],
    ],
    dtype=torch.float64,
)


def log_tinker08(
    sigma: Float[Tensor, "*batch"], redshift: Float[Tensor, "*#batch"], overdensity: Float[Tensor, "*#batch"]
) -> Float[Tensor, "*batch"]:
    r"""Natural log of the multiplicity f(sigma), $dn/d\ln M = f \bar\rho / M\,|d \ln\sigma / d \ln M|$, eqs 2 to 8.

    Parameters are interpolated linearly in overdensity between the nine values of the table, as in colossus.

    Args:
        sigma: Linear rms density contrast at the redshift [1].
        redshift: Redshift [1].
        overdensity: Overdensity over the mean matter density [1], clipped to 200 and 3200.
    """
    table = _TABLE.to(sigma.device)
    delta = overdensity.clamp(float(table[0, 0]), float(table[0, -1]))
    right = torch.searchsorted(table[0], delta.detach().contiguous()).clamp(1, table.shape[1] - 1)
    share = (delta - table[0][right - 1]) / (table[0][right] - table[0][right - 1])
    A, a, b, c = (torch.lerp(row[right - 1], row[right], share) for row in table[1:])
    alpha = 10 ** -((0.75 / torch.log10(delta / 75)) ** 1.2)
    growth = 1 + redshift
    A, a, b = A * growth**-0.14, a * growth**-0.06, b * growth**-alpha
    return torch.log(A) + torch.log1p((sigma / b) ** -a) - c / sigma**2

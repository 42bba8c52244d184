"""The velocity of many padded clusters at once, on their device and without waiting for it.

Velocities in [km/s].
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_TUNING = 6.0  # median absolute deviations beyond which a galaxy has no weight, as astropy's


def biweight_centre(
    v_los: Float[Tensor, "batch galaxy"], real: Bool[Tensor, "batch galaxy"]
) -> Float[Tensor, "batch 1"]:
    """Biweight location of each cluster's galaxies; 0 where there is none.

    `clustermocks.observation.robust_centre_velocity` goes on until the galaxies within the velocity cut are those
    within the cut of the centre: for velocities that were centred before a thinning, this first step is nearly all.

    Args:
        v_los: Line-of-sight velocities [km/s].
        real: False for padding.

    References:
        Beers, Flynn & Gebhardt 1990, AJ 100, 32, eq. 5.
    """
    middle = _median(v_los, real)
    offset = v_los - middle
    spread = _median(offset.abs(), real)
    u = offset / torch.where(spread > 0, _TUNING * spread, 1.0)
    weight = torch.where(real & (u.abs() < 1) & (spread > 0), (1 - u**2) ** 2, 0.0)
    return middle + (offset * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1e-6)


def _median(values: Float[Tensor, "batch galaxy"], real: Bool[Tensor, "batch galaxy"]) -> Float[Tensor, "batch 1"]:
    rising = values.masked_fill(~real, torch.inf).sort(1).values
    n = real.sum(1, keepdim=True)
    pair = torch.cat([(n - 1).clamp(min=0) // 2, n // 2], 1).clamp(max=values.shape[1] - 1)
    return torch.where(n > 0, rising.gather(1, pair).mean(1, keepdim=True), 0.0)

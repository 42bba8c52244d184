r"""Statistics of a cluster's shape on the sky and of its clumps, the same however it is turned or reflected.

The clumps are pairs of galaxies that are near each other on the sky and in velocity. What counts is their excess over
galaxies at the same distances and velocities in random directions: for pairs weighted by $e^{-d^2 / 2 s^2}$ the mean
over directions is $e^{-(R_1 - R_2)^2 / 2 s^2}\,e^{-R_1 R_2 / s^2} I_0(R_1 R_2 / s^2)$.

Distances are comoving [h^-1 Mpc], velocities [km/s].
"""

import torch
from jaxtyping import Float
from torch import Tensor

SEPARATIONS = (0.05, 0.1, 0.2)  # [h^-1 Mpc] s on the sky
VELOCITIES = (100.0, 250.0, 600.0)  # [km/s] the same in velocity
SHAPES = (
    "axis ratio",
    "axis ratio of galaxies slower than the dispersion",
    "distance of the mean position from the centre",
    "correlation of velocity with the position along its gradient",
    "modulus of the mean of exp(2 i position angle)",
)
SKY_STATISTICS = (
    *SHAPES,
    *(f"excess of pairs within {s:g} h^-1 Mpc and {w:g} km/s" for s in SEPARATIONS for w in VELOCITIES),
)
_LOWEST = -80.0  # exponent at which a weight vanishes; smaller ones are slow


def sky_statistics(x: Float[Tensor, "batch galaxy 5"], *, richness: bool) -> Float[Tensor, "batch statistic"]:
    """Statistics in the order of `SKY_STATISTICS`, 0 for a set without galaxies.

    The excess is that of a galaxy's mean number of neighbours, itself included, if `richness` counts, else its share of
    the galaxies.
    """
    is_galaxy = x[..., 2] > 0
    R, v, position = (torch.where(is_galaxy[..., None], part, 0) for part in (x[..., :1], x[..., 1:2], x[..., 3:]))
    weight = is_galaxy.to(x.dtype) / is_galaxy.sum(1, keepdim=True).clamp(min=1)
    pairs = _excess(R[..., 0], v[..., 0], position, weight)
    if richness:
        pairs = pairs * is_galaxy.sum(1, keepdim=True)
    return torch.cat([_shape(v[..., 0], position, weight), pairs], 1)


def _shape(
    v: Float[Tensor, "batch galaxy"], position: Float[Tensor, "batch galaxy 2"], weight: Float[Tensor, "batch galaxy"]
) -> Float[Tensor, "batch statistic"]:
    mean = (weight[..., None] * position).sum(1)
    offset, peculiar = position - mean[:, None], v - (weight * v).sum(1, keepdim=True)
    sigma = (weight * peculiar.square()).sum(1).sqrt()
    slow = weight * (peculiar.abs() <= sigma[:, None])
    gradient = (weight * peculiar)[..., None] * offset
    extent = (weight * offset.square().sum(2)).sum(1).sqrt()
    angle = 2 * torch.atan2(position[..., 1], position[..., 0])
    turned = torch.stack([(weight * part).sum(1) for part in (angle.cos(), angle.sin())], 1)
    found = (
        _axis_ratio(offset, weight),
        _axis_ratio(offset, slow),
        mean.norm(dim=1),
        gradient.sum(1).norm(dim=1) / _or_one(sigma * extent),
        turned.norm(dim=1),
    )
    return torch.stack(found, 1)


def _axis_ratio(
    offset: Float[Tensor, "batch galaxy 2"], weight: Float[Tensor, "batch galaxy"]
) -> Float[Tensor, " batch"]:
    """Minor over major axis of the second moments."""
    x, y = offset.unbind(-1)
    xx, yy, xy = ((weight * product).sum(1) for product in (x * x, y * y, x * y))
    difference = torch.hypot(xx - yy, 2 * xy)
    return ((xx + yy - difference).clamp(min=0) / _or_one(xx + yy + difference)).sqrt()


def _excess(R: Tensor, v: Tensor, position: Tensor, weight: Tensor) -> Float[Tensor, "batch pair"]:
    """Weighted pairs less those expected, over the number of all pairs; each pair is summed once and counted twice."""
    first, second = torch.triu_indices(R.shape[1], R.shape[1], device=R.device)
    both = weight[:, first] * weight[:, second] * torch.where(first == second, 1, 2)
    square = (position[:, first] - position[:, second]).square().sum(2)
    across, product = (R[:, first] - R[:, second]).square(), R[:, first] * R[:, second]
    velocity = (v[:, first] - v[:, second]).square()
    alike = torch.stack([_gauss(velocity, w) for w in VELOCITIES], 1)
    near = [_gauss(square, s) - _gauss(across, s) * torch.special.i0e(product / s**2) for s in SEPARATIONS]
    return (torch.stack(near, 1) * both[:, None] @ alike.mT).flatten(1)


def _gauss(square: Tensor, width: float) -> Tensor:
    return (square / (-2 * width**2)).clamp(min=_LOWEST).exp()


def _or_one(scale: Tensor) -> Tensor:
    return torch.where(scale > 0, scale, 1)

"""Flat priors in a box, however they were written, as sbi's `BoxUniform`."""

import torch
from sbi.utils import BoxUniform
from sbi.utils.user_input_checks_utils import MultipleIndependent
from torch import Tensor
from torch.distributions import Distribution, Independent, Uniform

Box = tuple[tuple[float, ...], tuple[float, ...]]


def as_box(prior: Distribution | None, device: str) -> Distribution | None:
    """Copy of a prior in a box on this device; any other prior is returned as it is.

    A box is a `BoxUniform`, torch's `Independent(Uniform(...), 1)`, a `Uniform` of one parameter, or sbi's
    `MultipleIndependent` of these. sbi 0.27's `BoxUniform.to` would move the caller's prior, and returns None.
    """
    ends = _ends(prior)
    return prior if ends is None else BoxUniform(ends[0].to(device), ends[1].to(device), device=device)


def box_of(prior: object) -> Box | None:
    """Lower and upper ends of a prior in a box, in float32; None for any other prior."""
    ends = _ends(prior)
    if ends is None:
        return None
    low, high = (tuple(side.float().tolist()) for side in ends)
    return low, high


def is_same(prior: object, other: object) -> bool:
    """Whether two priors are one and the same, or equal."""
    if prior is other or box_of(prior) is not None:
        return prior is other or box_of(prior) == box_of(other)
    if not isinstance(prior, Distribution) or type(prior) is not type(other):
        return False
    if isinstance(prior, Independent) and isinstance(other, Independent):
        return prior.event_shape == other.event_shape and is_same(prior.base_dist, other.base_dist)
    pairs = [(getattr(prior, name), getattr(other, name)) for name in prior.arg_constraints]
    return bool(pairs) and all(torch.equal(one.cpu(), two.cpu()) for one, two in pairs)


def _ends(prior: object) -> tuple[Tensor, Tensor] | None:
    if isinstance(prior, MultipleIndependent):
        each = [_ends(part) for part in prior.dists]
        known = [ends for ends in each if ends is not None]
        return None if len(known) < len(each) else (torch.cat([a for a, _ in known]), torch.cat([b for _, b in known]))
    uniform = prior.base_dist if isinstance(prior, Independent) else prior
    if not isinstance(prior, Distribution) or not isinstance(uniform, Uniform):
        return None
    is_vector = len(prior.event_shape) == 1 and not prior.batch_shape
    return (uniform.low.reshape(-1), uniform.high.reshape(-1)) if is_vector or uniform.low.numel() == 1 else None

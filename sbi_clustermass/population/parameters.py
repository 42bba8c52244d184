"""Parameters of a population: their priors, and the unconstrained coordinates in which they are sampled.

A position is any point of real space; `Coordinates` map it to parameters and evaluate the prior there. Shapes are
batched: a position (*draw, coordinate) gives parameters (*draw, *event).
"""

from collections.abc import Mapping
from math import isfinite
from numbers import Real
from typing import Any, Protocol, final

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import biject_to
from torch.distributions.transforms import AffineTransform, ComposeTransform, CumulativeDistributionTransform, Transform

Priors = Mapping[str, TorchDistribution]
Parameters = Mapping[str, Tensor]


class Coordinates(Protocol):
    """Unconstrained coordinates of the parameters of one component."""

    @property
    def centre(self) -> Float[Tensor, "coordinate"]:
        """Position at which every parameter is at the centre of its prior."""
        ...

    def parameters(self, position: Float[Tensor, "*draw coordinate"]) -> dict[str, Tensor]:
        """Parameters at a position."""
        ...

    def log_prior(self, position: Float[Tensor, "*draw coordinate"], parameters: Parameters) -> Float[Tensor, "*draw"]:
        """Natural log of the prior density of a position, in the coordinates, given its parameters."""
        ...


@final
class Unconstrained:
    """Coordinates that map each parameter separately, from real numbers to the support of its prior.

    A flat prior becomes a standard normal one, so that a posterior that reaches a bound falls off there like a normal
    density.
    """

    def __init__(self, priors: Priors) -> None:
        self._priors = dict(priors)
        self._maps: dict[str, Any] = {name: _from_real_line(prior) for name, prior in priors.items()}
        shapes = {name: self._maps[name].inverse_shape(prior.event_shape) for name, prior in priors.items()}
        self._scalar = {name: len(shape) == 0 for name, shape in shapes.items()}
        self._sizes = [max(torch.Size(shape).numel(), 1) for shape in shapes.values()]

    @property
    def centre(self) -> Float[Tensor, "coordinate"]:
        """Position of the priors' medians; the origin for a prior of more than one dimension."""
        parts = [self._centre_of(name, size) for name, size in zip(self._priors, self._sizes, strict=True)]
        return torch.cat([torch.zeros(0, dtype=torch.float64), *parts])

    def parameters(self, position: Float[Tensor, "*draw coordinate"]) -> dict[str, Tensor]:
        """Parameters at a position."""
        return {name: self._maps[name](part) for name, part in self._parts(position).items()}

    def log_prior(self, position: Float[Tensor, "*draw coordinate"], parameters: Parameters) -> Float[Tensor, "*draw"]:
        """Natural log of the prior density of a position, in the coordinates, given its parameters."""
        total = position.new_zeros(position.shape[:-1])
        for name, part in self._parts(position).items():
            value = parameters[name]
            total = total + self._priors[name].log_prob(value) + self._maps[name].log_abs_det_jacobian(part, value)
        return total

    def _parts(self, position: Tensor) -> dict[str, Tensor]:
        parts = zip(self._priors, position.split(self._sizes, dim=-1) if self._sizes else (), strict=True)
        return {name: part[..., 0] if self._scalar[name] else part for name, part in parts}

    def _centre_of(self, name: str, size: int) -> Float[Tensor, "part"]:
        if not self._scalar[name]:
            return torch.zeros(size, dtype=torch.float64)
        median = self._priors[name].icdf(torch.tensor(0.5, dtype=torch.float64))
        return self._maps[name].inv(median).reshape(1)


@final
class Concatenated:
    """Concatenated coordinates of several components."""

    def __init__(self, *parts: Coordinates) -> None:
        self._parts = parts
        self._sizes = [len(part.centre) for part in parts]

    @property
    def centre(self) -> Float[Tensor, "coordinate"]:
        """Centres of all components."""
        return torch.cat([part.centre for part in self._parts])

    def parameters(self, position: Float[Tensor, "*draw coordinate"]) -> dict[str, Tensor]:
        """Parameters of all components."""
        pairs = zip(self._parts, position.split(self._sizes, dim=-1), strict=True)
        return {name: value for part, own in pairs for name, value in part.parameters(own).items()}

    def log_prior(self, position: Float[Tensor, "*draw coordinate"], parameters: Parameters) -> Float[Tensor, "*draw"]:
        """Sum of the log priors of all components."""
        pairs = zip(self._parts, position.split(self._sizes, dim=-1), strict=True)
        logs = [part.log_prior(own, parameters) for part, own in pairs]
        return torch.stack(logs).sum(0)


def sample(priors: Priors) -> dict[str, Tensor]:
    """Draw parameters from their priors at Pyro sites."""
    return {name: pyro.sample(name, prior) for name, prior in priors.items()}


def normal(owner: str, name: str, prior: tuple[float, float]) -> dist.Normal:
    """Make a normal prior from (centre, width), both finite, the width positive."""
    centre, width = _finite(owner, name, prior)
    _check_width(owner, name, width)
    return dist.Normal(_number(centre), _number(width), validate_args=False)


def log_normal(owner: str, name: str, prior: tuple[float, float]) -> dist.LogNormal:
    """Make a log-normal prior from (median, scatter of the natural log), both positive and finite."""
    median, width = _finite(owner, name, prior)
    _check_width(owner, name, width)
    if not median > 0:
        raise ValueError(f"{owner}: the prior median of {name} must be positive, got {median}.")
    return dist.LogNormal(_number(median).log(), _number(width), validate_args=False)


def half_normal(owner: str, name: str, scale: float) -> dist.HalfNormal:
    """Make a half-normal prior from its scale, which is positive."""
    _check_width(owner, name, scale)
    return dist.HalfNormal(_number(scale), validate_args=False)


def uniform(owner: str, name: str, prior: tuple[float, float]) -> dist.Uniform:
    """Make a flat prior from (low, high), finite and rising."""
    low, high = _finite(owner, name, prior)
    if not low < high:
        raise ValueError(f"{owner}: the prior of {name} must rise from low to high, got {low} and {high}.")
    return dist.Uniform(_number(low), _number(high), validate_args=False)


def _from_real_line(prior: TorchDistribution) -> Transform:
    if not isinstance(prior, dist.Uniform):
        return biject_to(prior.support)
    normal = torch.distributions.Normal(_number(0.0), _number(1.0), validate_args=False)
    return ComposeTransform(
        [CumulativeDistributionTransform(normal), AffineTransform(prior.low, prior.high - prior.low)]
    )


def _finite(owner: str, name: str, prior: tuple[float, float]) -> tuple[float, float]:
    try:
        one, other = (float(value) for value in prior)
    except (TypeError, ValueError):
        one = other = float("nan")
    if not (isfinite(one) and isfinite(other)):
        raise ValueError(f"{owner}: the prior of {name} needs two finite numbers, got {prior!r}.")
    return one, other


def _check_width(owner: str, name: str, width: float) -> None:
    if not (isinstance(width, Real) and 0 < width < float("inf")):
        raise ValueError(f"{owner}: the prior width of {name} must be positive, got {width}.")


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)

"""Parameters of a population: their priors, and the coordinates in which they are sampled.

A position is a point in all of space; `Coordinates` take it to parameters and know the prior's density there. Shapes
are batched: a position (*draw, coordinate) gives parameters (*draw, *event).
"""

from collections.abc import Mapping
from typing import Any, Protocol, final

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import biject_to
from torch.distributions.transforms import (
    AffineTransform,
    ComposeTransform,
    CumulativeDistributionTransform,
    Transform,
)

Priors = Mapping[str, TorchDistribution]
Parameters = Mapping[str, Tensor]


class Coordinates(Protocol):
    """Where the parameters of one component are sampled."""

    @property
    def centre(self) -> Float[Tensor, "coordinate"]:
        """The position at which every parameter is at the middle of its prior."""
        ...

    def parameters(self, position: Float[Tensor, "*draw coordinate"]) -> dict[str, Tensor]:
        """The parameters at a position."""
        ...

    def log_prior(self, position: Float[Tensor, "*draw coordinate"], parameters: Parameters) -> Float[Tensor, "*draw"]:
        """Natural log of the prior density of a position, in the coordinates, from it and its parameters."""
        ...


@final
class Separate:
    """Each parameter by itself, taken from the whole line (or space) to its prior's support.

    A flat prior becomes a standard normal one, so that a posterior that reaches a bound falls off there as a normal
    density does.
    """

    def __init__(self, priors: Priors) -> None:
        self._priors = dict(priors)
        self._maps: dict[str, Any] = {name: _from_the_line(prior) for name, prior in priors.items()}
        shapes = {name: self._maps[name].inverse_shape(prior.event_shape) for name, prior in priors.items()}
        self._scalar = {name: len(shape) == 0 for name, shape in shapes.items()}
        self._sizes = [max(torch.Size(shape).numel(), 1) for shape in shapes.values()]

    @property
    def centre(self) -> Float[Tensor, "coordinate"]:
        """Medians, and the middle of space for a prior that has none."""
        parts = [self._middle(name, size) for name, size in zip(self._priors, self._sizes, strict=True)]
        return torch.cat([torch.zeros(0, dtype=torch.float64), *parts])

    def parameters(self, position: Float[Tensor, "*draw coordinate"]) -> dict[str, Tensor]:
        """The parameters at a position."""
        return {name: self._maps[name](part) for name, part in self._parts(position).items()}

    def log_prior(self, position: Float[Tensor, "*draw coordinate"], parameters: Parameters) -> Float[Tensor, "*draw"]:
        """Natural log of the prior density of a position, in the coordinates, from it and its parameters."""
        total = position.new_zeros(position.shape[:-1])
        for name, part in self._parts(position).items():
            value = parameters[name]
            total = total + self._priors[name].log_prob(value) + self._maps[name].log_abs_det_jacobian(part, value)
        return total

    def _parts(self, position: Tensor) -> dict[str, Tensor]:
        parts = zip(self._priors, position.split(self._sizes, dim=-1) if self._sizes else (), strict=True)
        return {name: part[..., 0] if self._scalar[name] else part for name, part in parts}

    def _middle(self, name: str, size: int) -> Float[Tensor, "part"]:
        if not self._scalar[name]:
            return torch.zeros(size, dtype=torch.float64)
        median = self._priors[name].icdf(torch.tensor(0.5, dtype=torch.float64))
        return self._maps[name].inv(median).reshape(1)


@final
class Joined:
    """Coordinates of several components, one after another."""

    def __init__(self, *parts: Coordinates) -> None:
        self._parts = parts
        self._sizes = [len(part.centre) for part in parts]

    @property
    def centre(self) -> Float[Tensor, "coordinate"]:
        """Of all components."""
        return torch.cat([part.centre for part in self._parts])

    def parameters(self, position: Float[Tensor, "*draw coordinate"]) -> dict[str, Tensor]:
        """The parameters of all components."""
        pairs = zip(self._parts, position.split(self._sizes, dim=-1), strict=True)
        return {name: value for part, own in pairs for name, value in part.parameters(own).items()}

    def log_prior(self, position: Float[Tensor, "*draw coordinate"], parameters: Parameters) -> Float[Tensor, "*draw"]:
        """Sum over the components."""
        pairs = zip(self._parts, position.split(self._sizes, dim=-1), strict=True)
        logs = [part.log_prior(own, parameters) for part, own in pairs]
        return torch.stack(logs).sum(0)


def sample(priors: Priors) -> dict[str, Tensor]:
    """Draw parameters at their Pyro sites."""
    return {name: pyro.sample(name, prior) for name, prior in priors.items()}


def normal(owner: str, name: str, prior: tuple[float, float]) -> dist.Normal:
    """Normal prior from (centre, width).

    Raises:
        ValueError: The width is not positive, or a number is not finite.
    """
    centre, width = _finite(owner, name, prior)
    _check_width(owner, name, width)
    return dist.Normal(_number(centre), _number(width), validate_args=False)


def log_normal(owner: str, name: str, prior: tuple[float, float]) -> dist.LogNormal:
    """Log-normal prior from (median, scatter of the natural log).

    Raises:
        ValueError: Median or scatter is not positive, or a number is not finite.
    """
    median, width = _finite(owner, name, prior)
    _check_width(owner, name, width)
    if not median > 0:
        raise ValueError(f"{owner}: the prior median of {name} must be positive, got {median}.")
    return dist.LogNormal(_number(median).log(), _number(width), validate_args=False)


def half_normal(owner: str, name: str, scale: float) -> dist.HalfNormal:
    """Half-normal prior of a scale.

    Raises:
        ValueError: The scale is not positive.
    """
    _check_width(owner, name, scale)
    return dist.HalfNormal(_number(scale), validate_args=False)


def uniform(owner: str, name: str, prior: tuple[float, float]) -> dist.Uniform:
    """Flat prior from (low, high).

    Raises:
        ValueError: The bounds do not rise, or are not finite.
    """
    low, high = _finite(owner, name, prior)
    if not low < high:
        raise ValueError(f"{owner}: the prior of {name} must rise from low to high, got {low} and {high}.")
    return dist.Uniform(_number(low), _number(high), validate_args=False)


def _from_the_line(prior: TorchDistribution) -> Transform:
    if not isinstance(prior, dist.Uniform):
        return biject_to(prior.support)
    normal = torch.distributions.Normal(_number(0.0), _number(1.0), validate_args=False)
    return ComposeTransform(
        [CumulativeDistributionTransform(normal), AffineTransform(prior.low, prior.high - prior.low)]
    )


def _finite(owner: str, name: str, prior: tuple[float, float]) -> tuple[float, float]:
    one, other = (float(value) for value in prior)
    if not (abs(one) < float("inf") and abs(other) < float("inf")):
        raise ValueError(f"{owner}: the prior of {name} needs two finite numbers, got {prior}.")
    return one, other


def _check_width(owner: str, name: str, width: float) -> None:
    if not 0 < width < float("inf"):
        raise ValueError(f"{owner}: the prior width of {name} must be positive, got {width}.")


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)

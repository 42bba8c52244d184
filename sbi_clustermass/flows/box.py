r"""Densities of several parameters inside a box, by any flow on the box's normal coordinates.

The coordinates are $z = \Phi^{-1}(t)$ with $t = (\theta - low) / (high - low)$, for each parameter. A density of z is
one of theta that is normalised inside the box and zero outside, so that nothing leaks; a flat prior is N(0, 1).
"""

from dataclasses import dataclass
from math import log, pi
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sbi_clustermass.flows.base import Flow
from sbi_clustermass.flows.density_estimator import DensityEstimator
from sbi_clustermass.flows.embed_once import EmbedOnce
from sbi_clustermass.flows.pairs import check_batch

_EDGE = 1e-6  # share of the box's width that counts as its edge, where z would be infinite


@final
class Boxed(DensityEstimator):
    """The density of parameters in a box, from an estimator of their normal coordinates.

    Attributes:
        net: Estimator of z given features.
        low: Lower ends of the box, (theta,).
        high: Upper ends, (theta,).
    """

    def __init__(self, inner: DensityEstimator, low: Float[Tensor, " theta"], high: Float[Tensor, " theta"]) -> None:
        super().__init__(inner, inner.input_shape, inner.condition_shape)
        self.net: DensityEstimator
        for name, ends in (("low", low), ("high", high)):
            self.register_buffer(name, ends.detach().clone().float())
        self.low: Tensor
        self.high: Tensor

    def log_prob(self, input: Tensor, condition: Tensor) -> Float[Tensor, "sample batch"]:
        """Natural log density, (sample, batch); -inf outside the box."""
        z = normal_coordinates(input, self.low, self.high)
        slope = (0.5 * (z.square() + log(2 * pi)) - (self.high - self.low).log()).sum(-1)
        inside = in_box(input, self.low, self.high)
        return torch.where(inside, self.net.log_prob(z, condition) + slope, -torch.inf)

    def loss(self, input: Float[Tensor, "batch theta"], condition: Tensor) -> Float[Tensor, " batch"]:
        """Negative natural log density of one set of parameters per condition."""
        return -self.log_prob(input.unsqueeze(0), condition)[0]

    def sample(self, sample_shape: torch.Size | tuple[int, ...], condition: Tensor) -> Tensor:
        """Draw parameters, (*sample_shape, batch, theta), all inside the box; sbi's does not contain its upper end."""
        return self._inside(self.net.sample(torch.Size(sample_shape), condition))

    def at_levels(self, level: Float[Tensor, "*sample batch theta"], condition: Tensor) -> Tensor | None:
        """Parameters at levels of the cumulative distribution of each; None of an estimator that is no `InverseCdf`."""
        return self._inside(self.net.at_levels(level, condition)) if isinstance(self.net, InverseCdf) else None

    def _inside(self, z: Float[Tensor, "*batch theta"]) -> Float[Tensor, "*batch theta"]:
        theta = self.low + (self.high - self.low) * torch.special.ndtr(z.double())
        return theta.to(self.low.dtype).clamp(self.low, self.high.nextafter(self.low))


@runtime_checkable
class InverseCdf(Protocol):
    """An estimator whose samples are a function of numbers between 0 and 1."""

    def at_levels(self, level: Float[Tensor, "*sample batch theta"], condition: Tensor) -> Tensor:
        """Parameters at levels of the cumulative distribution of each, given those before it."""
        ...


def normal_coordinates(
    theta: Float[Tensor, "*batch theta"], low: Float[Tensor, " theta"], high: Float[Tensor, " theta"]
) -> Float[Tensor, "*batch theta"]:
    """Normal coordinates of parameters, 4.75 at most; those outside the box count as at its edge."""
    share = (theta.double() - low) / (high - low)
    return torch.special.ndtri(share.clamp(_EDGE, 1 - _EDGE)).to(theta.dtype)


def in_box(
    theta: Float[Tensor, "*batch theta"], low: Float[Tensor, " theta"], high: Float[Tensor, " theta"]
) -> Bool[Tensor, "*batch"]:
    """Whether parameters lie in the box, its ends included."""
    return ((theta >= low) & (theta <= high)).all(-1)


@final
@dataclass(frozen=True)
class OnBox:
    """Builder for sbi of a flow inside a box.

    Attributes:
        flow: Builder of the flow, which sees normal coordinates.
        low: Lower end of each parameter.
        high: Upper end of each parameter.
    """

    flow: Flow
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high) or not all(a < b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(f"a box needs ends that rise, found {self.low} and {self.high}.")

    def __call__(self, theta: Float[Tensor, "batch theta"], x: Float[Tensor, "batch *event"]) -> EmbedOnce:
        """Build an untrained network, sized and standardised from one batch of pairs.

        Raises:
            TypeError: One of the two is not a dense tensor of floating-point numbers.
            ValueError: They are no batch of two pairs or more, or have another number of parameters than the box.
        """
        check_batch("OnBox", theta, x)
        if theta.shape[1] != len(self.low):
            raise ValueError(f"OnBox: theta has {theta.shape[1]} parameters, the box {len(self.low)}.")
        return self._boxed(self.flow(normal_coordinates(theta, *self._ends), x))

    def template(self, condition_shape: tuple[int, ...]) -> EmbedOnce:
        """Build an untrained network without data, for `load_state_dict`."""
        return self._boxed(self.flow.template(len(self.low), condition_shape))

    def config(self) -> dict[str, object]:
        """Name and fields of the flow in JSON's types, and the box."""
        return {**self.flow.config(), "low": list(self.low), "high": list(self.high)}

    @property
    def _ends(self) -> tuple[Tensor, Tensor]:
        return torch.tensor(self.low, dtype=torch.float32), torch.tensor(self.high, dtype=torch.float32)

    def _boxed(self, network: DensityEstimator) -> EmbedOnce:
        if not isinstance(network, EmbedOnce):
            raise TypeError(
                f"a flow in a box needs an EmbedOnce network, got {type(network).__name__}; use truncated=False."
            )
        inner = Boxed(network.net, *self._ends)
        return EmbedOnce(network.summary, network.embedding, inner, network.condition_shape)

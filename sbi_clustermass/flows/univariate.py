"""The density of one parameter at many conditions: on a grid, and the probability between two bounds.

The mass within bounds has a closed form for a mixture of Gaussians. For a flow from Gaussian noise u = T(theta), T
monotone, it is Phi(T(high)) - Phi(T(low)): two evaluations, exact. Any other density is integrated.

sbi, nflows and zuko take seconds to import, and a closed form needs none of them: functions import them.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import log, pi, sqrt
from typing import TYPE_CHECKING, Protocol, cast, final, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.flows.density_estimator import DensityEstimator

if TYPE_CHECKING:
    from sbi.neural_nets.estimators.nflows_flow import NFlowsFlow
    from zuko.distributions import NormalizingFlow

_QUADRATURE_NODES = 256
_LEAST_MASS = log(0.01)  # floor of the log mass in the truncated loss of a flow
_FARTHEST = 1e12  # bounds, in the parameter's units and in sigma: beyond, a gradient would be 0 x inf


class Density(Protocol):
    """The density of one parameter at each of a batch of conditions."""

    def log_prob(self, values: Float[Tensor, "#batch value"]) -> Float[Tensor, "batch value"]:
        """Natural log density of several values for each condition."""
        ...

    def log_mass(self, low: float, high: float) -> Float[Tensor, " batch"]:
        """Natural log of the probability of [low, high]."""
        ...


@final
@dataclass(frozen=True)
class GaussianMixture:
    """A mixture of Gaussians at each condition; a Gaussian is one with a single component.

    Attributes:
        log_weight: Natural logs of the weights, which sum to 1, (batch, component).
        mean: Means, (batch, component).
        std: Standard deviations, (batch, component).
    """

    log_weight: Float[Tensor, "batch component"]
    mean: Float[Tensor, "batch component"]
    std: Float[Tensor, "batch component"]

    def log_prob(self, values: Float[Tensor, "#batch value"]) -> Float[Tensor, "batch value"]:
        """Natural log density, in float64: far out, the log mass cancels most of it."""
        log_weight, mean, std = (part[:, None].double() for part in (self.log_weight, self.mean, self.std))
        each = log_weight - 0.5 * ((values[..., None] - mean) / std).square() - std.log() - 0.5 * log(2 * pi)
        return each[..., 0] if each.shape[-1] == 1 else each.logsumexp(-1)

    def log_mass(self, low: float, high: float) -> Float[Tensor, " batch"]:
        """Natural log of the probability of [low, high], in float64, finite however far away the components are."""
        return (self.log_weight.double() + log_normal_mass(self.mean, self.std, low, high)).logsumexp(-1)


@runtime_checkable
class MixtureEstimator(Protocol):
    """An estimator of one parameter that is a mixture of Gaussians at each condition."""

    def mixture(self, condition: Float[Tensor, "batch feature"]) -> GaussianMixture:
        """Weights, means and widths, in the parameter's units.

        Raises:
            ValueError: There is more than one parameter.
        """
        ...


@runtime_checkable
class ClosedFormEstimator(Protocol):
    """An estimator of one parameter with its own closed form of the density at each condition."""

    def density(self, condition: Float[Tensor, "batch feature"]) -> Density:
        """The density at each condition."""
        ...


@final
@dataclass(frozen=True)
class NFlowsDensity:
    """An nflows flow of one parameter from Gaussian noise."""

    inner: "NFlowsFlow"
    features: Float[Tensor, "batch feature"]

    def log_prob(self, values: Float[Tensor, "#batch value"]) -> Float[Tensor, "batch value"]:
        """Natural log density."""
        return self.inner.log_prob(values.T[..., None].to(self.features.dtype), self.features).T

    def log_mass(self, low: float, high: float) -> Float[Tensor, " batch"]:
        """Natural log of the probability of [low, high]: two evaluations of the transform for each condition."""
        bounds = _bounds(low, high, self.features).flatten()[:, None]
        noise = self.inner.net.transform_to_noise(bounds, self.features.repeat(2, 1))
        return _log_mass_between(noise.reshape(2, -1))


@final
@dataclass(frozen=True)
class ZukoDensity:
    """A zuko flow of one parameter from Gaussian noise; its networks have run once for each condition."""

    distribution: "NormalizingFlow"
    features: Float[Tensor, "batch feature"]

    def log_prob(self, values: Float[Tensor, "#batch value"]) -> Float[Tensor, "batch value"]:
        """Natural log density."""
        # one value for each condition: zuko's own gradients would be summed over conditions that share a value
        expanded = values.T.to(self.features.dtype).expand(-1, len(self.features))[..., None]
        return self.distribution.log_prob(expanded).T

    def log_mass(self, low: float, high: float) -> Float[Tensor, " batch"]:
        """Natural log of the probability of [low, high]: two evaluations of the transform for each condition."""
        noise = cast(Tensor, self.distribution.transform(_bounds(low, high, self.features)[..., None]))
        return _log_mass_between(noise[..., 0])


@final
@dataclass(frozen=True)
class QuadratureDensity:
    """Any estimator of one parameter: the mass by Gauss-Legendre quadrature with 256 nodes.

    It is accurate for features wider than a hundredth of the interval.
    """

    inner: DensityEstimator
    features: Float[Tensor, "batch feature"]

    def log_prob(self, values: Float[Tensor, "#batch value"]) -> Float[Tensor, "batch value"]:
        """Natural log density."""
        return self.inner.log_prob(values.T[..., None].to(self.features.dtype), self.features).T

    def log_mass(self, low: float, high: float) -> Float[Tensor, " batch"]:
        """Natural log of the probability of [low, high]."""
        nodes, log_weights = (torch.as_tensor(part).to(self.features) for part in _gauss_legendre())
        return (self.log_prob(low + (high - low) * nodes[None]) + log_weights).logsumexp(-1) + log(high - low)


def density_at(inner: DensityEstimator, features: Float[Tensor, "batch feature"]) -> Density:
    """Density of one parameter at each row of features, in the form with the most accurate mass within bounds."""
    if isinstance(inner, MixtureEstimator):
        return inner.mixture(features)
    if isinstance(inner, ClosedFormEstimator):
        return inner.density(features)
    from sbi.neural_nets.estimators.nflows_flow import NFlowsFlow
    from sbi.neural_nets.estimators.zuko_flow import ZukoFlow
    from zuko.distributions import DiagNormal

    if isinstance(inner, ZukoFlow):
        distribution = inner.net(inner.embedding_net(features))
        if isinstance(distribution.base, DiagNormal):
            return ZukoDensity(distribution, features)
    if isinstance(inner, NFlowsFlow) and has_normal_base(inner):
        return NFlowsDensity(inner, features)
    return QuadratureDensity(inner, features)


def floored_log_mass(density: Density, low: float, high: float) -> Float[Tensor, " batch"]:
    """`log_mass`, with a floor of log .01 for a flow, and for a mixture too wide to have more mass within the bounds.

    The truncated loss does not depend on how much of a density is within the bounds. A flow that drifts out has both
    bounds at the same noise in float32, hence no mass and an unlimited reward; a Gaussian much wider than the bounds is
    flat within them whatever its width, and no gradient leads back. Below the floor the loss is the plain one.
    """
    log_mass = density.log_mass(low, high)
    if isinstance(density, NFlowsDensity | ZukoDensity):
        return log_mass.clamp(min=_LEAST_MASS)
    if isinstance(density, GaussianMixture):
        most = (density.log_weight - density.std.log()).logsumexp(-1) + log((high - low) / sqrt(2 * pi))
        return torch.where(most < _LEAST_MASS, log_mass.clamp(min=_LEAST_MASS), log_mass)
    return log_mass


def check_one_parameter(estimator: DensityEstimator) -> None:
    """Refuse an estimator of several parameters.

    Raises:
        ValueError: There is more than one parameter.
    """
    if estimator.input_shape != (1,):
        raise ValueError(
            f"a mixture of one parameter was asked for; this estimator has {tuple(estimator.input_shape)}."
        )


def has_normal_base(inner: "NFlowsFlow") -> bool:
    """Whether the flow's base distribution is N(0, 1)."""
    from nflows.distributions.normal import StandardNormal

    return any(isinstance(module, StandardNormal) for module in inner.net.children())


def _bounds(low: float, high: float, features: Tensor) -> Float[Tensor, "2 batch"]:
    """Both bounds for each condition, filled on the device: a copy from the host would wait for it."""
    return torch.stack([features.new_full((len(features),), bound) for bound in (low, high)])


def log_normal_mass(
    loc: Float[Tensor, "*batch"], scale: Float[Tensor, "*batch"], low: float, high: float
) -> Float[Tensor, "*batch"]:
    """Natural log of the probability that N(loc, scale^2) gives to [low, high], in the units of loc, as float64.

    Finite with a finite gradient however far the bounds are from the density.
    """
    low, high = max(low, -_FARTHEST), min(high, _FARTHEST)
    return _log_standard_mass(*((bound - loc.double()) / scale.double() for bound in (low, high)))


def _log_mass_between(noise: Float[Tensor, "2 batch"]) -> Float[Tensor, " batch"]:
    """Natural log of the probability that N(0, 1) gives to the interval between two values, in either order."""
    return _log_standard_mass(noise.amin(0).double(), noise.amax(0).double())


def _log_standard_mass(below: Float[Tensor, "*batch"], above: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Natural log of Phi(above) - Phi(below), in float64.

    Evaluated in the tail where both bounds lie and with the squares' difference factorised, so that neither value nor
    gradient cancels; torch's log_ndtr has a wrong gradient beyond 1e6 sigma.
    """
    below, above = (bound.clamp(-_FARTHEST, _FARTHEST) for bound in (below, above))
    flip = below + above > 0
    near, far = torch.where(flip, -below, above), torch.where(flip, -above, below)
    tail, log_far = near.clamp(max=0), _log_mills(far)
    bulk = torch.where(near < 0, 0, near)  # clamp has no gradient at its bound since torch 2.14
    log_bulk = torch.log1p(-0.5 * torch.erfc(bulk * sqrt(0.5)))
    log_near = torch.where(near < 0, _log_mills(tail) - tail.square() / 2, log_bulk)
    in_tail = log_far - _log_mills(tail) - (far - tail) * (far + tail) / 2
    gap = torch.where(near < 0, in_tail, log_far - far.square() / 2 - log_bulk)
    # equal bounds, or a sigma that dwarfs the interval: no log of 0
    return log_near + torch.log(-torch.expm1(gap.clamp(max=-torch.finfo(torch.float64).tiny)))


def _log_mills(z: Tensor) -> Tensor:
    """log Phi(z) + z^2 / 2 for z <= 0, which varies slowly at any distance."""
    return torch.special.erfcx(-z * sqrt(0.5)).log() - log(2)


@lru_cache(maxsize=1)
def _gauss_legendre() -> tuple[np.ndarray, np.ndarray]:
    """Nodes on [0, 1] and log weights that sum to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(_QUADRATURE_NODES)
    return (nodes + 1) / 2, np.log(weights / 2)

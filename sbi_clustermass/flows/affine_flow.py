"""The paper's neural flow: a stack of affine blocks whose shifts and scales are networks of the observation.

Kodi Ramanah, Wojtak, Ansari, Gall & Hjorth 2020, MNRAS 499, 1985 (arXiv:2003.05951), sections 3.3 and 4.1.
"""

from math import log, pi
from typing import Any, final

import torch
from jaxtyping import Float
from nflows.distributions.base import Distribution
from nflows.distributions.normal import StandardNormal
from nflows.flows import Flow
from nflows.transforms.base import CompositeTransform, Transform
from sbi.neural_nets.estimators.nflows_flow import NFlowsFlow
from torch import Tensor, nn

from sbi_clustermass.flows.mlp import ACTIVATIONS, StandardiseFeatures, perceptron
from sbi_clustermass.flows.univariate import GaussianMixture, check_one_parameter


@final
class StandardiseParameters(Transform):
    """z = (theta - mean) / std, with fixed mean and std per parameter."""

    def __init__(self, mean: Float[Tensor, " theta"], std: Float[Tensor, " theta"]) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())
        self.mean: Tensor
        self.std: Tensor

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """theta -> z, with the log of the Jacobian determinant, (batch,)."""
        return (inputs - self.mean) / self.std, -self.std.log().sum().expand(len(inputs))

    def inverse(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z -> theta, with the log of the Jacobian determinant, (batch,)."""
        return inputs * self.std + self.mean, self.std.log().sum().expand(len(inputs))


@final
class AffineBlock(Transform):
    """u -> (u - mu) / sigma (the paper's eq. 3), with mu and log sigma read from the context; it has no weights."""

    def __init__(self, block: int, theta: int) -> None:
        super().__init__()
        self.block, self.theta = block, theta

    def _numbers(self, context: Tensor) -> tuple[Tensor, Tensor]:
        start = 2 * self.theta * self.block
        mu, log_sigma = context[..., start : start + 2 * self.theta].unflatten(-1, (2, self.theta)).unbind(-2)
        return mu, log_sigma

    def forward(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Towards the noise, with the log of the Jacobian determinant, (batch,)."""
        mu, log_sigma = self._numbers(context)
        return (inputs - mu) * torch.exp(-log_sigma), -log_sigma.sum(-1)

    def inverse(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Towards the parameters, with the log of the Jacobian determinant, (batch,)."""
        mu, log_sigma = self._numbers(context)
        return inputs * torch.exp(log_sigma) + mu, log_sigma.sum(-1)


@final
class MixtureBase(Distribution):
    """A mixture of Gaussians with independent components of u, read from the end of the context.

    The last numbers of the context are, for each component, the log weight up to a constant, and means and log standard
    deviations of u. The means are read relative to an even spread over [-1, 1]: components must differ to begin with.
    """

    def __init__(self, components: int, theta: int) -> None:
        super().__init__()
        self.components, self.theta = components, theta
        self.register_buffer("spread", torch.linspace(-1, 1, components)[:, None], persistent=False)
        self.spread: Tensor

    def parameters_at(self, context: Float[Tensor, "*batch number"]) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights (*batch, component), means and log standard deviations, each (*batch, component, theta)."""
        numbers = context[..., -self.components * (1 + 2 * self.theta) :].unflatten(-1, (self.components, -1))
        mean, log_std = numbers[..., 1:].unflatten(-1, (2, self.theta)).unbind(-2)
        return numbers[..., 0].log_softmax(-1), mean + self.spread, log_std

    def _log_prob(self, inputs: Tensor, context: Tensor) -> Float[Tensor, " batch"]:
        log_weight, mean, log_std = self.parameters_at(context)
        square = ((inputs[:, None] - mean) * torch.exp(-log_std)).square()
        return (log_weight - (0.5 * square + log_std + 0.5 * log(2 * pi)).sum(-1)).logsumexp(-1)

    def _sample(self, num_samples: int, context: Tensor) -> Float[Tensor, "batch sample theta"]:
        log_weight, mean, log_std = self.parameters_at(context)
        rows = log_weight.exp().multinomial(num_samples, replacement=True)[..., None].expand(-1, -1, self.theta)
        mean, log_std = mean.gather(1, rows), log_std.gather(1, rows)
        return mean + torch.exp(log_std) * torch.randn_like(mean)


@final
class AffineFlow(NFlowsFlow):
    """sbi's nflows estimator on the numbers of a `Conditioner`: standardise, then block 1 to K, then the base."""

    def __init__(
        self, mean: Float[Tensor, " theta"], std: Float[Tensor, " theta"], *, blocks: int, components: int = 1
    ) -> None:
        theta = len(mean)
        stack = [AffineBlock(block, theta) for block in range(blocks)]
        base = StandardNormal((theta,)) if components == 1 else MixtureBase(components, theta)
        flow = Flow(CompositeTransform([StandardiseParameters(mean, std), *stack]), base)
        super().__init__(flow, torch.Size((theta,)), torch.Size((sum(coefficients(theta, blocks, components)),)))
        self.blocks = blocks

    def normal(self, condition: Float[Tensor, "*batch number"]) -> tuple[Tensor, Tensor]:
        r"""Shift and scale of the composed map, each (*batch, theta), in the parameters' units.

        $z = \mu_1 + s_1 \mu_2 + s_1 s_2 \mu_3 + s_1 s_2 s_3 u$: mean and standard deviation where $u \sim N(0, 1)$.
        """
        standardise = self._only(StandardiseParameters)
        theta = len(standardise.mean)
        mu, log_sigma = _per_block(condition[..., : 2 * self.blocks * theta], theta).unbind(-2)
        log_scale = log_sigma.cumsum(-2)
        loc = (mu * torch.exp(log_scale - log_sigma)).sum(-2)
        return standardise.mean + standardise.std * loc, standardise.std * torch.exp(log_scale[..., -1, :])

    def mixture(self, condition: Float[Tensor, "batch number"]) -> GaussianMixture:
        """Weights, means and widths of one parameter, in its units."""
        check_one_parameter(self)
        loc, scale = self.normal(condition)
        base = self._only(MixtureBase)
        if base is None:
            return GaussianMixture(torch.zeros_like(loc), loc, scale)
        log_weight, mean, log_std = base.parameters_at(condition)
        return GaussianMixture(log_weight, loc + scale * mean[..., 0], scale * log_std[..., 0].exp())

    def _only(self, kind: type) -> Any:
        """Find a part by its type: a second reference would double its buffers in the state dict."""
        return next((module for module in self.net.modules() if isinstance(module, kind)), None)


@final
class Conditioner(nn.Module):
    """Networks on the standardised features: (mu, log sigma) of each block, and the numbers of a mixture base."""

    def __init__(
        self, standard: StandardiseFeatures, outputs: list[int], *, hidden: tuple[int, ...], activation: str
    ) -> None:
        super().__init__()
        self.standard = standard
        widths, between = (len(standard.mean), *hidden), ACTIVATIONS[activation]
        self.blocks = nn.ModuleList(perceptron(*widths, wide, activation=between) for wide in outputs)

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch number"]:
        """Numbers of block 1 (mu, then log sigma), of block 2, ..., of the base."""
        standard = self.standard(features)
        return torch.cat([block(standard) for block in self.blocks], dim=-1)


def coefficients(theta: int, blocks: int, components: int) -> list[int]:
    """Number of coefficients of each block, and of a mixture base."""
    return [2 * theta] * blocks + ([components * (1 + 2 * theta)] if components > 1 else [])


def _per_block(context: Tensor, theta: int) -> Float[Tensor, "*batch block 2 theta"]:
    return context.unflatten(-1, (-1, 2, theta))

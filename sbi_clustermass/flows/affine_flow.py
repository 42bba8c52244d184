"""The paper's neural flow: a stack of affine blocks whose shifts and scales are networks of the observation.

Kodi Ramanah, Wojtak, Ansari, Gall & Hjorth 2020, MNRAS 499, 1985 (arXiv:2003.05951), sections 3.3 and 4.1.
"""

from dataclasses import dataclass
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
        """theta -> z, with the log of the Jacobian determinant, (*batch,)."""
        return (inputs - self.mean) / self.std, -self.std.log().sum().expand(inputs.shape[:-1])

    def inverse(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z -> theta, with the log of the Jacobian determinant, (*batch,)."""
        return inputs * self.std + self.mean, self.std.log().sum().expand(inputs.shape[:-1])


@final
class AffineBlock(Transform):
    """u_i -> (u_i - mu_i) / sigma_i for each parameter (the paper's eq. 3), which may depend on the parameters before.

    mu and log sigma of the first parameter are numbers of the context. Those of a further one are a network of its own
    on the features and u_<i: the context holds its first layer's product with the features.
    """

    def __init__(self, layout: "Layout", block: int) -> None:
        super().__init__()
        self.layout, self.block = layout, block
        self.networks = nn.ModuleList(_Behind(i, layout) for i in range(1, layout.theta))

    def forward(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Towards the noise, with the log of the Jacobian determinant, (*batch,)."""
        numbers = [self._numbers(inputs[..., :i], context) for i in range(self.layout.theta)]
        mu, log_sigma = torch.stack(numbers, -1).unbind(-2)
        return (inputs - mu) * torch.exp(-log_sigma), -log_sigma.sum(-1)

    def inverse(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Towards the parameters, one after the other, with the log of the Jacobian determinant, (*batch,)."""
        found, log_det = inputs[..., :0], torch.zeros(())
        for value in inputs.split(1, -1):
            mu, log_sigma = self._numbers(found, context).split(1, -1)
            found = torch.cat([found, value * torch.exp(log_sigma) + mu], -1)
            log_det = log_det + log_sigma[..., 0]
        return found, log_det

    def _numbers(self, before: Float[Tensor, "*batch before"], context: Tensor) -> Float[Tensor, "*batch 2"]:
        """mu and log sigma of the parameter behind these."""
        i = before.shape[-1]
        if i == 0:
            return context[..., self.layout.numbers(self.block)]
        return self.networks[i - 1](before, context[..., self.layout.product(self.block, i)])


@final
class _Behind(nn.Module):
    """Network of mu and log sigma of a further parameter, from its first layer's product with the features on."""

    def __init__(self, before: int, layout: "Layout") -> None:
        super().__init__()
        between = ACTIVATIONS[layout.activation]
        self.before = nn.Linear(before, layout.widths[0], bias=False)
        self.rest = nn.Sequential(between(), perceptron(*layout.widths, activation=between)) if layout.hidden else None

    def forward(self, before: Float[Tensor, "*batch before"], product: Tensor) -> Float[Tensor, "*batch 2"]:
        """Numbers given the parameters before and the product, which may have fewer dimensions."""
        first = product + self.before(before)
        return first if self.rest is None else self.rest(first)


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

    def __init__(self, mean: Float[Tensor, " theta"], std: Float[Tensor, " theta"], layout: "Layout") -> None:
        theta = layout.theta
        stack = [AffineBlock(layout, block) for block in range(layout.blocks)]
        base = StandardNormal((theta,)) if layout.components == 1 else MixtureBase(layout.components, theta)
        flow = Flow(CompositeTransform([StandardiseParameters(mean, std), *stack]), base)
        super().__init__(flow, torch.Size((theta,)), torch.Size((layout.size,)))
        self.layout = layout

    def log_prob(self, input: Tensor, condition: Tensor) -> Float[Tensor, "sample batch"]:
        """Natural log density; the context, thousands of numbers for several parameters, is not repeated."""
        noise, context, batch = self._broadcast_and_align(input, condition)
        log_det = torch.zeros(())
        for transform in self._transforms:
            noise, part = transform(noise, context)
            log_det = log_det + part
        tail = context[..., self.layout.size - self.layout.base :].flatten(0, 1)
        return self._base.log_prob(noise.flatten(0, 1), tail).reshape(-1, batch) + log_det

    def sample(self, sample_shape: torch.Size | tuple[int, ...], condition: Tensor) -> Tensor:
        """Draw parameters, (*sample_shape, batch, theta)."""
        shape = torch.Size(sample_shape)
        theta = self._base.sample(shape.numel(), context=condition)
        for transform in reversed(self._transforms):
            theta, _ = transform.inverse(theta, condition[:, None])
        return theta.transpose(0, 1).reshape(*shape, *theta.shape[:1], *self.input_shape)

    def normal(self, condition: Float[Tensor, "*batch number"]) -> tuple[Tensor, Tensor]:
        r"""Shift and scale of the composed map of one parameter, each (*batch, 1), in its units.

        $z = \mu_1 + s_1 \mu_2 + s_1 s_2 \mu_3 + s_1 s_2 s_3 u$: mean and standard deviation where $u \sim N(0, 1)$.
        """
        check_one_parameter(self)
        standardise = self._only(StandardiseParameters)
        mu, log_sigma = condition[..., : 2 * self.layout.blocks].unflatten(-1, (-1, 2, 1)).unbind(-2)
        log_scale = log_sigma.cumsum(-2)
        loc = (mu * torch.exp(log_scale - log_sigma)).sum(-2)
        return standardise.mean + standardise.std * loc, standardise.std * torch.exp(log_scale[..., -1, :])

    def mixture(self, condition: Float[Tensor, "batch number"]) -> GaussianMixture:
        """Weights, means and widths of one parameter, in its units."""
        loc, scale = self.normal(condition)
        base = self._only(MixtureBase)
        if base is None:
            return GaussianMixture(torch.zeros_like(loc), loc, scale)
        log_weight, mean, log_std = base.parameters_at(condition)
        return GaussianMixture(log_weight, loc + scale * mean[..., 0], scale * log_std[..., 0].exp())

    @property
    def _transforms(self) -> list[Any]:
        kinds = (StandardiseParameters, AffineBlock)
        return [module for module in self.net.modules() if isinstance(module, kinds)]

    @property
    def _base(self) -> Distribution:
        return self._only(StandardNormal) or self._only(MixtureBase)

    def _only(self, kind: type) -> Any:
        """Find a part by its type: a second reference would double its buffers in the state dict."""
        return next((module for module in self.net.modules() if isinstance(module, kind)), None)


@final
@dataclass(frozen=True)
class Layout:
    """Sizes of the blocks, and where the numbers of each are in the context.

    The context is the products of further parameters, block after block, then two numbers for each block, mu and log
    sigma of the first parameter, then the numbers of a mixture base.

    Attributes:
        theta: Number of parameters.
        blocks: Number of affine blocks.
        hidden: Widths of each parameter's network.
        components: Number of Gaussians in the base.
        activation: Activation between the layers.
    """

    theta: int
    blocks: int
    hidden: tuple[int, ...]
    components: int
    activation: str

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of a network behind its features."""
        return (*self.hidden, 2)

    @property
    def products(self) -> int:
        """Numbers in the products of one block."""
        return (self.theta - 1) * self.widths[0]

    @property
    def base(self) -> int:
        """Numbers of the base."""
        return self.components * (1 + 2 * self.theta) if self.components > 1 else 0

    @property
    def size(self) -> int:
        """Numbers in the context."""
        return self.blocks * (self.products + 2) + self.base

    def product(self, block: int, i: int) -> slice:
        """Where the product of a further parameter is."""
        start = block * self.products + (i - 1) * self.widths[0]
        return slice(start, start + self.widths[0])

    def numbers(self, block: int) -> slice:
        """Where mu and log sigma of the first parameter are."""
        start = self.blocks * self.products + 2 * block
        return slice(start, start + 2)


@final
class Conditioner(nn.Module):
    """The context at standardised features: all that does not depend on the parameters."""

    def __init__(self, standard: StandardiseFeatures, layout: Layout) -> None:
        super().__init__()
        self.standard = standard
        widths, between = (len(standard.mean), *layout.hidden), ACTIVATIONS[layout.activation]
        outputs = [2] * layout.blocks + ([layout.base] if layout.base else [])
        self.blocks = nn.ModuleList(perceptron(*widths, wide, activation=between) for wide in outputs)
        behind = range(layout.blocks if layout.theta > 1 else 0)
        self.products = nn.ModuleList(nn.Linear(len(standard.mean), layout.products) for _ in behind)

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch number"]:
        """Numbers in the order of the `Layout`."""
        standard = self.standard(features)
        return torch.cat([part(standard) for part in (*self.products, *self.blocks)], dim=-1)

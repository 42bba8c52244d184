"""The paper's neural flow: a stack of affine blocks whose shifts and scales are networks of the observation.

Kodi Ramanah, Wojtak, Ansari, Gall & Hjorth 2020, MNRAS 499, 1985 (arXiv:2003.05951), sections 3.3 and 4.1.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from nflows.distributions.normal import StandardNormal
from nflows.flows import Flow
from nflows.transforms.base import CompositeTransform, Transform
from sbi.neural_nets.estimators.nflows_flow import NFlowsFlow
from torch import Tensor, nn

from sbi_clustermass.embeddings import KDEImage, embedding_config, embedding_from_config
from sbi_clustermass.flows.embed_once import EmbedOnce
from sbi_clustermass.registry import check_fields

STANDARDISED_ON = 1024  # clusters: their images' scalar mean and std are known to a percent, at no cost


@final
class Standardise(Transform):
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
    """u -> (u - mu) / sigma (the paper's eq. 3), with mu and log sigma read from the context: no weights of its own."""

    def __init__(self, block: int, theta: int) -> None:
        super().__init__()
        self.block, self.theta = block, theta

    def forward(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Towards the noise, with the log of the Jacobian determinant, (batch,)."""
        mu, log_sigma = _per_block(context, self.theta)[..., self.block, :, :].unbind(-2)
        return (inputs - mu) * torch.exp(-log_sigma), -log_sigma.sum(-1)

    def inverse(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Towards the parameters, with the log of the Jacobian determinant, (batch,)."""
        mu, log_sigma = _per_block(context, self.theta)[..., self.block, :, :].unbind(-2)
        return inputs * torch.exp(log_sigma) + mu, log_sigma.sum(-1)


@final
class AffineFlow(NFlowsFlow):
    """sbi's nflows estimator on the blocks' numbers, (batch, blocks * 2 * theta): standardise, then block 1 to K."""

    def __init__(self, mean: Float[Tensor, " theta"], std: Float[Tensor, " theta"], *, blocks: int) -> None:
        theta = len(mean)
        stack = [AffineBlock(block, theta) for block in range(blocks)]
        flow = Flow(CompositeTransform([Standardise(mean, std), *stack]), StandardNormal((theta,)))
        super().__init__(flow, torch.Size((theta,)), torch.Size((blocks * 2 * theta,)))

    @property
    def standardise(self) -> Standardise:
        """The first transform, found by type: a second reference would double its buffers in the state dict."""
        return next(module for module in self.net.modules() if isinstance(module, Standardise))

    def normal(self, condition: Float[Tensor, "*batch number"]) -> tuple[Tensor, Tensor]:
        r"""Mean and standard deviation of the composed map, each (*batch, theta), in the parameters' units.

        $z = \mu_1 + s_1 \mu_2 + s_1 s_2 \mu_3 + s_1 s_2 s_3 u$ with $u \sim N(0, 1)$.
        """
        mean, std = self.standardise.mean, self.standardise.std
        mu, log_sigma = _per_block(condition, len(mean)).unbind(-2)
        log_scale = log_sigma.cumsum(-2)
        loc = (mu * torch.exp(log_scale - log_sigma)).sum(-2)
        return mean + std * loc, std * torch.exp(log_scale[..., -1, :])


@final
class Conditioner(nn.Module):
    """One network a block on the standardised summary: tanh hidden layers, linear (mu, log sigma).

    The summary has one scalar mean and one scalar std: an image of sum 1 has pixels of 4e-4, and a std for each pixel
    would divide the empty ones by next to nothing.
    """

    def __init__(self, summary: Float[Tensor, "batch *summary"], theta: int, *, blocks: int, hidden: tuple[int, ...]):
        super().__init__()
        mean, std = _mean_and_std(summary.flatten())
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.mean: Tensor
        self.std: Tensor
        widths = (summary[0].numel(), *hidden)
        self.blocks = nn.ModuleList(_perceptron(widths, 2 * theta) for _ in range(blocks))

    def forward(self, summary: Float[Tensor, "batch *summary"]) -> Float[Tensor, "batch number"]:
        """Numbers of all blocks, (batch, blocks * 2 * theta): mu and log sigma of block 1, then of block 2, ..."""
        standard = (summary.flatten(1) - self.mean) / self.std
        return torch.cat([block(standard) for block in self.blocks], dim=-1)


@final
@dataclass(frozen=True)
class StackedAffine:
    """Stack of conditional affine blocks (Kodi Ramanah et al. 2020, arXiv:2003.05951): in one dimension, a Gaussian.

    Block k maps u to (u - mu_k(x)) / sigma_k(x). Affine maps compose to an affine map, so the density of one parameter
    is N(mu_1 + s_1 mu_2 + s_1 s_2 mu_3, (s_1 s_2 s_3)^2) for three blocks, whatever their number: more blocks only
    parametrise the same mean and width differently. Of several parameters it is a product of independent Gaussians.

    The object is a builder for sbi: `NPE(prior, density_estimator=StackedAffine())`.

    Attributes:
        blocks: Number of affine blocks [1].
        hidden: Widths of each block's conditioner.
        embedding: Maps an observation to the conditioner's input; deep-copied when built, two flows share no weights.
    """

    name: ClassVar[str] = "stacked_affine"

    blocks: int = 3
    hidden: tuple[int, ...] = (512, 64, 512)
    embedding: nn.Module = field(default_factory=KDEImage)

    def __post_init__(self) -> None:
        if not _is_count(self.blocks):
            raise ValueError(f"StackedAffine: blocks is {self.blocks!r}. It needs a whole number of at least 1.")
        if not isinstance(self.hidden, tuple) or not all(map(_is_count, self.hidden)):
            raise ValueError(f"StackedAffine: hidden is {self.hidden!r}. It needs a tuple of widths of at least 1.")

    def __call__(self, theta: Float[Tensor, "batch theta"], x: Float[Tensor, "batch *event"]) -> EmbedOnce:
        """Build an untrained flow, sized and standardised from one batch of pairs.

        The parameters are standardised on the whole batch, the summary on some 1000 to 2000 evenly spaced ones.
        """
        summary = deepcopy(self.embedding)
        with torch.no_grad():
            reduced = summary(x[:: max(1, len(x) // STANDARDISED_ON)])
        conditioner = Conditioner(reduced, theta.shape[1], blocks=self.blocks, hidden=self.hidden)
        inner = AffineFlow(*_mean_and_std(theta), blocks=self.blocks)
        return EmbedOnce(summary, conditioner, inner, x.shape[1:])

    def template(self, theta: int = 1, condition_shape: tuple[int, ...] = (1, 3)) -> EmbedOnce:
        """An untrained flow without data, for `load_state_dict`: its buffers wait for the saved ones.

        Args:
            theta: Number of parameters.
            condition_shape: Shape of one observation, (galaxy, 3).
        """
        return self(torch.zeros(1, theta), torch.zeros(1, *condition_shape))

    def config(self) -> dict[str, object]:
        """Name and fields in JSON's types; `flow_from_config` is the way back.

        Raises:
            TypeError: If the embedding is not one of `EMBEDDINGS`.
        """
        embedding = embedding_config(self.embedding)
        return {"name": self.name, "blocks": self.blocks, "hidden": list(self.hidden), "embedding": embedding}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "StackedAffine":
        """Rebuild from the fields of `config()`, without the name.

        Raises:
            ValueError: If a field is unknown or out of range.
        """
        check_fields(f"flow {cls.name!r}", config, tuple(each.name for each in fields(cls)))
        values = dict(config)
        if "hidden" in values:
            values["hidden"] = tuple(values["hidden"]) if isinstance(values["hidden"], list) else values["hidden"]
        if "embedding" in values:
            values["embedding"] = embedding_from_config(values["embedding"])
        return cls(**values)


def _per_block(context: Tensor, theta: int) -> Float[Tensor, "*batch block 2 theta"]:
    return context.unflatten(-1, (-1, 2, theta))


def _perceptron(widths: tuple[int, ...], outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for wide, next_wide in pairwise(widths):
        layers += [nn.Linear(wide, next_wide), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))


def _mean_and_std(values: Float[Tensor, "batch *feature"]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the batch; 1 where all are equal."""
    std = values.std(0, correction=0)
    return values.mean(0), torch.where(std > 0, std, torch.ones_like(std))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1

"""Several networks trained on the same clusters, as one density estimator: their mixture.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; `log_` is natural.
"""

from collections.abc import Iterable, Sequence
from math import log
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sbi_clustermass.flows.density_estimator import DensityEstimator
from sbi_clustermass.flows.embed_once import EmbedOnce


@final
class Ensemble(DensityEstimator):
    r"""Mean of the members' densities of one parameter, each normalised on the prior's support before mixing.

    Member k has the density $q_k$ and puts $Z_k(x) = \int_\mathrm{support} q_k$ on the support. As an estimator for sbi
    this is $\sum_k w_k q_k$ with $w_k(x) \propto 1 / Z_k(x)$, which is a density everywhere, and which truncated to the
    support is $\frac{1}{K} \sum_k q_k / Z_k$.

    Attributes:
        members: The networks, `EmbedOnce`.
        support: Lowest and highest value of the parameter.
    """

    def __init__(self, members: Iterable[EmbedOnce], support: tuple[float, float]) -> None:
        networks = list(members)
        if not networks:
            raise ValueError("an ensemble needs at least one member.")
        first = networks[0]
        super().__init__(nn.ModuleList(networks), first.input_shape, first.condition_shape)
        self.net: nn.ModuleList
        self.support = support

    @property
    def members(self) -> Sequence[EmbedOnce]:
        """The networks."""
        return [member for member in self.net if isinstance(member, EmbedOnce)]

    @property
    def embedding_net(self) -> nn.Module:
        """Embedding of the first member, for sbi's diagnostics."""
        return self.members[0].embedding_net

    def log_prob_grid(
        self, condition: Tensor, grid: Float[Tensor, " grid"], *, within: tuple[float, float] | None = None
    ) -> Float[Tensor, "batch grid"]:
        """Natural log density of every condition on one grid; a fixed summary is computed once for all members.

        Args:
            condition: Observations, (batch, *event).
            grid: Values of the parameter, in its units.
            within: Bounds on which each member is normalised; the support by default.

        Raises:
            ValueError: The bounds are not ordered.
        """
        return mean_density(self.members_on_grid(condition, grid, within=within))

    def members_on_grid(
        self, condition: Tensor, grid: Float[Tensor, " grid"], *, within: tuple[float, float] | None = None
    ) -> list[Float[Tensor, "batch grid"]]:
        """Natural log densities of the members, of which `log_prob_grid` is the mean."""
        bounds = self.support if within is None else within
        live, condition = self._on_summaries(condition)
        return [member.log_prob_grid(condition, grid, within=bounds) for member in live]

    def log_prob(self, input: Tensor, condition: Tensor) -> Float[Tensor, "sample batch"]:
        """Natural log density of the parameters, (sample, batch)."""
        live, condition = self._on_summaries(condition)
        weights = self._log_weights(live, condition)
        terms = [member.log_prob(input, condition) + w for member, w in zip(live, weights, strict=True)]
        return torch.logsumexp(torch.stack(terms), 0)

    def loss(self, input: Float[Tensor, "batch 1"], condition: Tensor) -> Float[Tensor, " batch"]:
        """Negative natural log density of one parameter per condition."""
        return -self.log_prob(input.unsqueeze(0), condition)[0]

    def sample(self, sample_shape: torch.Size | tuple[int, ...], condition: Tensor) -> Tensor:
        """Draw parameters, (*sample_shape, batch, 1), each from a member drawn with its weight."""
        live, condition = self._on_summaries(condition)
        shape = torch.Size(sample_shape)
        draws = torch.stack([member.sample(shape, condition) for member in live])
        if not draws.numel():
            return draws[0]
        share = torch.stack(self._log_weights(live, condition)).exp().T  # (batch, member)
        chosen = torch.multinomial(share.float(), shape.numel(), replacement=True).T
        chosen = chosen.reshape(1, *shape, len(share), 1)
        return draws.gather(0, chosen)[0]

    def log_mass_within(self, condition: Tensor, low: float, high: float) -> Float[Tensor, " batch"]:
        """Natural log of the probability that the mixture gives to [low, high].

        Raises:
            ValueError: The bounds are not ordered.
        """
        live, condition = self._on_summaries(condition)
        weights = self._log_weights(live, condition)
        terms = [w + member.log_mass_within(condition, low, high) for member, w in zip(live, weights, strict=True)]
        return torch.logsumexp(torch.stack(terms), 0)

    def _log_weights(self, live: Sequence[EmbedOnce], condition: Tensor) -> list[Float[Tensor, " batch"]]:
        rows = condition.reshape(-1, *condition.shape[-len(live[0].condition_shape) :])
        log_mass = torch.stack([member.log_mass_within(rows, *self.support) for member in live])
        return list(torch.log_softmax(-log_mass, 0).reshape(len(live), *_batch(live[0], condition)))

    def _on_summaries(self, condition: Tensor) -> tuple[Sequence[EmbedOnce], Tensor]:
        """Members and condition; where the summary is fixed, it is computed once and the members take its result."""
        first, event = self.members[0], len(self.members[0].condition_shape)
        if not first.summary_is_fixed or isinstance(first.summary, nn.Identity):
            return self.members, condition
        with torch.no_grad():
            summary = first.summary(condition.reshape(-1, *condition.shape[-event:]))
        shape = _batch(first, condition)
        return [member.on_summaries() for member in self.members], summary.reshape(*shape, *summary.shape[1:])


def _batch(member: EmbedOnce, condition: Tensor) -> torch.Size:
    return condition.shape[: condition.dim() - len(member.condition_shape)]


def mean_density(log_densities: Sequence[Tensor]) -> Tensor:
    """Natural log of the mean of some densities."""
    return torch.logsumexp(torch.stack(list(log_densities)), 0) - log(len(log_densities))

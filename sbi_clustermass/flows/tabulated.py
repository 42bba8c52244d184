"""Densities as tables: natural logs at equidistant knots, straight lines between them.

Several parameters are a chain: the table of each is a network of the features and the parameters before it.
"""

from dataclasses import dataclass
from typing import ClassVar, cast, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sbi_clustermass.embeddings.conditions import CONDITIONED, COSMOLOGICAL, PLAIN
from sbi_clustermass.flows.base import SbiFlow, assemble
from sbi_clustermass.flows.density_estimator import DensityEstimator
from sbi_clustermass.flows.embed_once import EmbedOnce
from sbi_clustermass.flows.mlp import ACTIVATIONS, mean_and_std, perceptron

_TAIL = 30.0  # e-folds of the exponential tails that are counted, one per knot's distance: the rest is 1e-13
_STEEP = 5.0  # of a polynomial for a coefficient of 1: a Gaussian half as wide as all values has some -5 P_2
_FLAT = 1e-3  # change of the log density over a piece, below which it is integrated as a straight line


@final
@dataclass(frozen=True, kw_only=True)
class Tabulated(SbiFlow):
    """Log density at knots, linear between them, with exponential tails.

    In one dimension, any density that the knots resolve. They span the parameters of the training set. Integrals are
    in closed form. For several parameters, each has such a density given those before it, whose log is a polynomial at
    the knots: a Gaussian is one of degree 2, and 64 free numbers would follow the noise of weak data.

    With an embedding that gives a log-likelihood on a grid of masses (`TrialMasses`, by its `range`), that grid is the
    table of a single parameter and there is no trunk; for several parameters, or observations with further columns, the
    grid's values are features like any others.

    Attributes:
        knots: Number of knots, unless the embedding brings its grid.
        degree: Degree of the polynomials of several parameters.
        hidden_features: Width of the hidden layer from which the tables of several parameters are made.
    """

    name: ClassVar[str] = "tabulated"

    knots: int = 64
    degree: int = 12
    hidden_features: int = 64

    def _build(self, theta: Float[Tensor, "batch theta"], x: Float[Tensor, "batch *event"]) -> EmbedOnce:
        """Build from a batch that has been checked."""
        span = getattr(self.embedding, "range", None)
        if span is None or theta.shape[1] > 1 or x.shape[-1] not in (PLAIN, CONDITIONED, COSMOLOGICAL):
            return super()._build(theta, x)

        def inner(_: Tensor, features: Tensor) -> TabulatedEstimator:
            return TabulatedEstimator(torch.tensor(span), nn.Identity(), features.shape[1], features=features.shape[1])

        return assemble(self.embedding, theta, x, head=lambda *_: nn.Identity(), inner=inner)

    def inner(self, theta: Tensor, features: Tensor) -> DensityEstimator:
        """A table for each parameter between its least and greatest value; of one, the logs are linear in features."""
        count, several = features.shape[1], theta.shape[1] > 1
        tables = [
            TabulatedEstimator(
                torch.stack([values.min(), values.max()]),
                self._network(count + i, values) if several else nn.Linear(count, self.knots),
                self.knots,
                features=count + i,
            )
            for i, values in enumerate(theta.T)
        ]
        return TableChain(tables, *mean_and_std(theta)) if several else tables[0]

    def _network(self, inputs: int, values: Float[Tensor, " batch"]) -> nn.Module:
        layers = perceptron(inputs, self.hidden_features, self.degree, activation=ACTIVATIONS[self.activation])
        nn.init.zeros_(cast(nn.Linear, layers[-1]).weight)  # starts from the Gaussian: weak data would not reach it
        nn.init.zeros_(cast(nn.Linear, layers[-1]).bias)
        return nn.Sequential(layers, PolynomialAtKnots(values, self.degree, self.knots))


@final
class PolynomialAtKnots(nn.Module):
    """Logs at equidistant knots, (batch, degree) -> (batch, knot): a Gaussian of all values, plus a polynomial.

    The coefficients are those of Legendre polynomials, without a constant. Training starts from what is known before
    any galaxy is seen.
    """

    def __init__(self, values: Float[Tensor, " batch"], degree: int, knots: int) -> None:
        super().__init__()
        at = torch.linspace(0, 1, knots) * (values.max() - values.min()) + values.min()
        mean, std = mean_and_std(values)
        self.register_buffer("start", -0.5 * ((at - mean) / std).square())
        self.start: Tensor
        basis = np.polynomial.legendre.legvander(np.linspace(-1, 1, knots), degree)[:, 1:].T
        self.register_buffer("basis", torch.as_tensor(basis * _STEEP, dtype=torch.float32), persistent=False)
        self.basis: Tensor

    def forward(self, coefficients: Float[Tensor, "batch degree"]) -> Float[Tensor, "batch knot"]:
        """Sum of the Gaussian's log and Legendre polynomials."""
        return self.start + coefficients @ self.basis


@final
class TableChain(DensityEstimator):
    """sbi's estimator of several parameters, each on a table given the features and the parameters before it."""

    def __init__(
        self, tables: list["TabulatedEstimator"], mean: Float[Tensor, " theta"], std: Float[Tensor, " theta"]
    ) -> None:
        super().__init__(nn.ModuleList(tables), torch.Size([len(tables)]), tables[0].condition_shape)
        self.net: nn.ModuleList
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())
        self.mean: Tensor
        self.std: Tensor

    def log_prob(self, input: Tensor, condition: Tensor) -> Float[Tensor, "sample batch"]:
        """Natural log density, (sample, batch)."""
        first, *further = self._tables
        total = first.log_prob(input[..., :1], condition)
        for i, table in enumerate(further, 1):
            total = total + table.log_prob(input[..., i : i + 1], self._given(input[..., :i], condition))
        return total

    def loss(self, input: Float[Tensor, "batch theta"], condition: Tensor) -> Float[Tensor, " batch"]:
        """Negative natural log density of one set of parameters per condition."""
        return -self.log_prob(input.unsqueeze(0), condition)[0]

    def sample(self, sample_shape: torch.Size | tuple[int, ...], condition: Tensor) -> Tensor:
        """Draw parameters, (*sample_shape, batch, theta), one after the other."""
        shape = *sample_shape, len(condition), len(self.net)
        return self.at_levels(condition.new_empty(shape).uniform_(), condition)

    def at_levels(self, level: Float[Tensor, "*sample batch theta"], condition: Tensor) -> Tensor:
        """Parameters at levels of the cumulative distribution of each, given those before it."""
        first, *further = self._tables
        drawn = first.at_levels(level[..., :1], condition)
        for i, table in enumerate(further, 1):
            rows = self._given(drawn, condition).flatten(0, -2)
            next_one = table.at_levels(level[..., i : i + 1].reshape(1, -1, 1), rows)
            drawn = torch.cat([drawn, next_one.reshape(*drawn.shape[:-1], 1)], -1)
        return drawn

    @property
    def _tables(self) -> list["TabulatedEstimator"]:
        return [table for table in self.net if isinstance(table, TabulatedEstimator)]

    def _given(self, before: Float[Tensor, "*batch before"], condition: Tensor) -> Float[Tensor, "*batch feature"]:
        """Features, then the parameters before, in standard deviations from their mean."""
        i = before.shape[-1]
        batch = torch.broadcast_shapes(before.shape[:-1], condition.shape[:-1])
        parts = condition, (before - self.mean[:i]) / self.std[:i]
        return torch.cat([part.expand(*batch, -1) for part in parts], -1)


@final
class TabulatedEstimator(DensityEstimator):
    """sbi's estimator of one parameter on a table; a condition is features, (batch, feature)."""

    def __init__(self, ends: Float[Tensor, "2"], net: nn.Module, knots: int, *, features: int) -> None:
        super().__init__(net, input_shape=torch.Size([1]), condition_shape=torch.Size([features]))
        self.net: nn.Module
        self.knots = knots
        self.register_buffer("ends", ends.clone().float())
        self.ends: Tensor

    def density(self, condition: Float[Tensor, "batch feature"]) -> "TabulatedDensity":
        """The density at each condition."""
        logs = self.net(condition)
        step = (self.ends[1] - self.ends[0]) / (self.knots - 1)
        share = torch.linspace(0, 1, self.knots, dtype=self.ends.dtype, device=logs.device)
        inside = share * (self.ends[1] - self.ends[0]) + self.ends[0]
        knots = torch.cat([inside[:1] - _TAIL * step, inside, inside[-1:] + _TAIL * step])
        return TabulatedDensity(knots, torch.cat([logs[:, :1] - _TAIL, logs, logs[:, -1:] - _TAIL], 1))

    def log_prob(self, input: Tensor, condition: Tensor) -> Float[Tensor, "sample batch"]:
        """Natural log density, (sample, batch)."""
        batch = condition.shape[:-1]
        table = self.density(condition.reshape(-1, condition.shape[-1]))
        values = input[..., 0].expand(*input.shape[: input.dim() - 1 - len(batch)], *batch)
        return table.log_prob(values.reshape(-1, table.logs.shape[0]).T).T.reshape(values.shape)

    def loss(self, input: Float[Tensor, "batch 1"], condition: Tensor) -> Float[Tensor, " batch"]:
        """Negative natural log density of one parameter per condition."""
        return -self.log_prob(input.unsqueeze(0), condition)[0]

    def sample(self, sample_shape: torch.Size | tuple[int, ...], condition: Tensor) -> Tensor:
        """Draw parameters, (*sample_shape, batch, 1), by the inverse of the cumulative distribution."""
        level = condition.new_empty(len(condition), torch.Size(sample_shape).numel()).uniform_()
        return self.at_levels(level.T.reshape(*sample_shape, -1, 1), condition)

    def at_levels(self, level: Float[Tensor, "*sample batch 1"], condition: Tensor) -> Tensor:
        """Parameters at levels of the cumulative distribution."""
        rows = level.reshape(-1, len(condition)).T
        return self.density(condition).quantile(rows.contiguous()).T.reshape(level.shape)


@final
@dataclass(frozen=True)
class TabulatedDensity:
    """Densities whose logs are linear between knots, not normalised.

    Attributes:
        knots: Values of the parameter, rising, (knot,).
        logs: Natural logs of the densities there, (batch, knot).
    """

    knots: Float[Tensor, " knot"]
    logs: Float[Tensor, "batch knot"]

    def log_prob(self, values: Float[Tensor, "#batch value"]) -> Float[Tensor, "batch value"]:
        """Natural log density, normalised over all values."""
        values = values.to(self.logs).expand(len(self.logs), -1)
        return self._at(values) - self._pieces(self.knots, self.logs).logsumexp(-1, keepdim=True)

    def log_mass(self, low: float, high: float) -> Float[Tensor, " batch"]:
        """Natural log of the probability of [low, high]."""
        below, above = (torch.full_like(self.knots[:1], bound) for bound in (low, high))
        knots = torch.cat([below, self.knots.clamp(low, high), above])  # pieces outside have no length
        part = self._pieces(knots, self._at(knots.expand(len(self.logs), -1)))
        return part.logsumexp(-1) - self._pieces(self.knots, self.logs).logsumexp(-1)

    def quantile(self, level: Float[Tensor, "batch value"]) -> Float[Tensor, "batch value"]:
        """The value below which a share `level` of the probability lies."""
        share = self._pieces(self.knots, self.logs).softmax(-1)
        above = share.cumsum(-1)
        piece = torch.searchsorted(above, level).clamp(max=share.shape[1] - 1)
        left = (level - (above - share).gather(1, piece)) / share.gather(1, piece)
        change = self.logs.diff(dim=-1).gather(1, piece)
        safe = torch.where(change.abs() > _FLAT, change, _FLAT)
        inside = torch.where(change.abs() > _FLAT, torch.log1p(left * torch.expm1(safe)) / safe, left)
        return self.knots[piece] + inside.clamp(0, 1) * self.knots.diff()[piece]

    def _at(self, values: Float[Tensor, "batch value"]) -> Float[Tensor, "batch value"]:
        piece = torch.searchsorted(self.knots, values.contiguous()).clamp(1, len(self.knots) - 1)
        share = (values - self.knots[piece - 1]) / (self.knots[piece] - self.knots[piece - 1])
        return torch.lerp(self.logs.gather(1, piece - 1), self.logs.gather(1, piece), share)

    @staticmethod
    def _pieces(knots: Float[Tensor, " knot"], logs: Float[Tensor, "batch knot"]) -> Float[Tensor, "batch piece"]:
        """Natural log of the integral over each piece, log((e^b - e^a) / (b - a)) and its length."""
        change = logs.diff(dim=-1).abs()
        safe = torch.where(change > _FLAT, change, _FLAT)
        shape = torch.where(change > _FLAT, torch.log(-torch.expm1(-safe) / safe), -change / 2)
        return torch.maximum(logs[:, 1:], logs[:, :-1]) + shape + knots.diff().log()

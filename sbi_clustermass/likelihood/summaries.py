"""Learned summaries of a cluster: a few numbers that keep what its galaxies tell about its mass.

Masses are M200c [h^-1 Msun] as log10_mass [dex], distances comoving [h^-1 Mpc], velocities [km/s].
"""

from dataclasses import dataclass, field, replace
from typing import Protocol, cast, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clustermocks import Catalogue
from sbi_clustermass.embeddings import SummaryStatistics
from sbi_clustermass.flows import MDN, EmbedOnce
from sbi_clustermass.flows.base import assemble
from sbi_clustermass.flows.density_estimator import DensityEstimator
from sbi_clustermass.flows.evaluation import batches_of, observations
from sbi_clustermass.flows.mlp import trunk
from sbi_clustermass.flows.univariate import MixtureEstimator
from sbi_clustermass.likelihood.information import Information
from sbi_clustermass.training import Training, build_network, fit
from sbi_clustermass.training.defaults import default_training
from sbi_clustermass.training.training_set import TrainingSet

_TRUNK = (256, 64)


class Summaries(Protocol):
    """A choice of learned summaries, as a frozen dataclass, and a builder of the network that learns them."""

    @property
    def embedding(self) -> nn.Module:
        """Map from an observation to features; deep-copied when built."""
        ...

    def training(self) -> Training:
        """Settings of the training that suit the choice."""
        ...

    def __call__(self, theta: Float[Tensor, "batch 1"], x: Float[Tensor, "batch galaxy column"]) -> EmbedOnce:
        """Build the untrained network, sized and standardised from one batch of pairs."""
        ...


@final
@dataclass(frozen=True)
class Moments:
    """Mean and log variance of a Gaussian posterior, trained by its log density at the true mass.

    Attributes:
        embedding: Maps an observation to features; deep-copied when built.
    """

    embedding: nn.Module = field(default_factory=SummaryStatistics)

    def training(self) -> Training:
        """Settings for the embedding, with the plain loss: a Gaussian cut at the prior's ends may have any mean."""
        return replace(default_training(self.embedding), truncated=False)

    def __call__(self, theta: Float[Tensor, "batch 1"], x: Float[Tensor, "batch galaxy column"]) -> EmbedOnce:
        """Build the untrained network, sized and standardised from one batch of pairs."""
        return MDN(embedding=self.embedding, trunk=_TRUNK, num_components=1)(theta, x)


@final
@dataclass(frozen=True)
class IMNN:
    """The summary of largest Fisher information: information maximising networks (Charnock et al. 2018).

    One summary for the one parameter, as published: with the information at each mass it keeps the best estimate of a
    mass, and not the precision of that estimate where it differs between clusters of one mass. How the information is
    estimated from mocks of all masses is described in `sbi_clustermass.likelihood.information`.

    Attributes:
        embedding: Maps an observation to features; deep-copied when built.
        fiducials: Number of fiducial masses, spread evenly over the training masses.
    """

    embedding: nn.Module = field(default_factory=SummaryStatistics)
    fiducials: int = 8

    def training(self) -> Training:
        """Settings for the embedding, with fewer and larger batches: each window needs many clusters."""
        rule = default_training(self.embedding)
        return replace(rule, batch_size=500, max_updates=min(rule.max_updates, 2000), patience=500, truncated=False)

    def __call__(self, theta: Float[Tensor, "batch 1"], x: Float[Tensor, "batch galaxy column"]) -> EmbedOnce:
        """Build the untrained network, sized and standardised from one batch of pairs."""

        def head(features: Tensor, shared: int) -> nn.Module:
            return trunk(features, shared=shared, widths=(*_TRUNK, 1), activation="relu")

        def inner(theta: Tensor, _: Tensor) -> DensityEstimator:
            return cast(DensityEstimator, Information(theta, self.fiducials))  # only its log_prob is asked for

        return assemble(self.embedding, theta, x, head=head, inner=inner)


SUMMARIES: dict[str, type[Summaries]] = {"imnn": IMNN, "moments": Moments}


@final
class FrozenSummaries(nn.Module):
    """Trained summaries, the same for a cluster seen from behind: (batch, galaxy, column) -> (batch, summary).

    Attributes:
        network: The trained network.
        even: Whether its embedding is even in velocity; if not, the summaries of both signs are averaged.
    """

    def __init__(self, network: EmbedOnce, *, even: bool) -> None:
        super().__init__()
        self.network, self.even = network.eval().requires_grad_(False), even

    def forward(self, x: Float[Tensor, "batch galaxy column"]) -> Float[Tensor, "batch summary"]:
        """Summaries of each cluster, in no unit.

        Args:
            x: R_proj [h^-1 Mpc], v_los [km/s], 1 for a galaxy or 0 for padding, and conditions if it was trained so.
        """
        if self.even:
            return self._one_side(x)
        mirrored = x * x.new_tensor([1.0, -1.0, *[1.0] * (x.shape[-1] - 2)])
        return 0.5 * (self._one_side(x) + self._one_side(mirrored))

    def _one_side(self, x: Tensor) -> Tensor:
        features = self.network.embed(x)
        if not isinstance(self.network.net, MixtureEstimator):
            return features
        gaussian = self.network.net.mixture(features)
        return torch.cat([gaussian.mean, 2 * gaussian.std.log()], 1)

    @torch.no_grad()
    def of(self, clusters: Catalogue) -> Float[Tensor, "cluster summary"]:
        """Summaries of all clusters of a catalogue, of any number of galaxies."""
        order = [*batches_of(clusters.n_galaxies)]
        parts = [self(observations(self.network, clusters.select(rows))) for rows in order]
        found = torch.cat(parts)
        rows = torch.cat([torch.from_numpy(each) for each in order])
        return found[rows.argsort()]


def train_summaries(choice: Summaries, mocks: TrainingSet, training: Training) -> FrozenSummaries:
    """Train the network of a choice on mocks; it is frozen afterwards."""
    data = mocks.data(training)
    network = build_network(choice, *mocks.example_pairs(data.split.fitting), seed=training.seed)
    network = cast(EmbedOnce, network).to(mocks.storage.device)
    fit(network, data, support=None, training=training)
    return FrozenSummaries(network, even=getattr(choice.embedding, "even", False))

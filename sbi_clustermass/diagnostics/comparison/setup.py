"""Setup of a comparison: training and test clusters, and the training rule.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import hashlib
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Self, final

import numpy as np
from torch import nn

from clustermocks import Catalogue, FlatMasses, SphericalJeans
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.training import Training
from sbi_clustermass.training.defaults import default_training
from sbi_clustermass.training.training_set import attempted_range

_SUPPORT, _TEST_SHARE = (13.5, 15.3), 0.25
_POINTS = 513  # exact posteriors: their mean log density at the truth is 2e-4 nats from that of a grid twice as fine

JEANS_SETTINGS = {
    "mass": SphericalJeans(),
    "independent": SphericalJeans(richness="independent"),
    "mass+background": SphericalJeans(background=10.0),
    "independent+background": SphericalJeans(richness="independent", background=10.0),
}


@final
@dataclass(frozen=True)
class ComparisonSetup:
    """One split of clusters and one training rule.

    A score is an expectation over the test set. Its clusters should come from the same draw as the training set, as in
    `Catalogue.split` and `from_jeans`, because that draw determines the best possible score.

    Attributes:
        train_set: Clusters of known mass.
        test_set: Clusters of known mass and other hosts.
        support: Lowest and highest log10 mass of the prior [dex].
        training: Training rule; its seed sets every combination's weights, validation split and batches.
        by_embedding: Whether each embedding is trained by its `default_training`, with the seed of `training`.
        exact: The test clusters' exact posteriors under the same prior, if known.
        members: Networks of each combination, as an ensemble.
        device: "auto" takes CUDA where there is one.
    """

    train_set: Catalogue
    test_set: Catalogue
    support: tuple[float, float]
    training: Training = field(default_factory=Training)
    by_embedding: bool = False
    exact: MassPosteriors | None = None
    members: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        low, high = self.support
        masses = self.test_set.log10_mass
        outside = np.flatnonzero(~((masses >= low) & (masses <= high)))
        if not len(masses) or outside.size:
            raise ValueError(
                f"{outside.size} of {len(masses)} test clusters have no mass between {low} and {high}, the prior's "
                "support. It needs test clusters of known mass inside it."
            )
        shared = np.intersect1d(self.train_set.host_id, self.test_set.host_id)
        if shared.size:
            raise ValueError(
                f"{shared.size} hosts are in the training and in the test set, the first {shared[0]}.\n"
                "  try:    train_set, test_set = mocks.split(0.8, seed=1)"
            )
        if self.exact is not None and len(self.exact) != len(masses):
            raise ValueError(f"{len(self.exact)} exact posteriors for {len(masses)} test clusters.")

    @classmethod
    def from_mocks(
        cls, mocks: Catalogue, n: int | None = None, *, training: Training | None = None, device: str = "auto"
    ) -> Self:
        """Hold out a quarter of a catalogue's hosts for the test; the support is the range of attempted masses.

        Args:
            mocks: Clusters of known mass.
            n: Number of clusters to use; None for all.
            training: Training rule; its seed also sets the split.
            device: "auto" takes CUDA where there is one.

        Raises:
            ValueError: There are fewer clusters.
        """
        if n is not None and n > len(mocks):
            raise ValueError(f"{n} clusters asked for, {len(mocks)} in the catalogue.")
        training = training or Training()
        some = np.random.default_rng(training.seed).permutation(len(mocks))[:n]
        train_set, test_set = mocks.select(np.sort(some)).split(1 - _TEST_SHARE, seed=training.seed)
        return cls(train_set, test_set, attempted_range(mocks), training=training, device=device)

    @classmethod
    def from_jeans(
        cls, model: SphericalJeans, n: int = 16_000, *, training: Training | None = None, device: str = "auto"
    ) -> Self:
        """Draw clusters of known likelihood, flat in mass from 13.5 to 15.3, with exact posteriors for the test.

        Args:
            model: Simulator; the mass is its only parameter.
            n: Number of selected clusters, a quarter of them for the test.
            training: Training rule; its seed also sets the clusters.
            device: "auto" takes CUDA where there is one.
        """
        training = training or Training()
        mocks = _selected(model, n, training.seed)
        train_set, test_set = (mocks.select(part) for part in np.split(np.arange(n), [round(n * (1 - _TEST_SHARE))]))
        grid = np.linspace(*_SUPPORT, _POINTS)
        # masses are flat before the cut, so that P(selected | M) of the likelihood and of the draw cancel
        exact = MassPosteriors.from_log_prob(grid, model.log_likelihood(test_set, grid))
        return cls(train_set, test_set, _SUPPORT, training=training, exact=exact, device=device)

    def with_training(self, training: Training) -> Self:
        """Return the same clusters with another training."""
        return replace(self, training=training)

    def for_embedding(self, embedding: nn.Module) -> Self:
        """Return the same clusters with the training that suits an embedding."""
        if not self.by_embedding:
            return self
        return self.with_training(replace(default_training(embedding), seed=self.training.seed))

    @property
    def digest(self) -> str:
        """Fingerprint of clusters, support and training, by which a finished entry is recognised."""
        parts = hashlib.sha256(f"{self.support} {self.training} {self.members}".encode())
        for clusters in (self.train_set, self.test_set):
            columns = (clusters.log10_mass, *(clusters.galaxy_column(name) for name in ("R_proj", "v_los")))
            for values in columns:
                parts.update(np.ascontiguousarray(values).tobytes())
        return parts.hexdigest()


def _selected(model: SphericalJeans, n: int, seed: int) -> Catalogue:
    """Draw exactly n selected clusters of flat attempted masses; all attempts are stored."""
    selected = np.exp(model.log_selected(np.linspace(*_SUPPORT, 200))).mean()
    attempts = ceil(n / selected + 5 * np.sqrt(n / selected) + 10)  # too few in one of a million seeds
    mocks = model.simulate(FlatMasses(*_SUPPORT).draw(attempts, seed=seed), seed=seed)
    return mocks.select(np.arange(n))

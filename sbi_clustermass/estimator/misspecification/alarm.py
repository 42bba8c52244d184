"""Alarm for clusters that resemble no mock: distances in feature space and checks of summary statistics, combined.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self, final

import numpy as np
from jaxtyping import Float

from clustermocks import Catalogue
from sbi_clustermass.estimator.misspecification.feature_distance import (
    SPACES,
    FeatureDistance,
    Network,
    Space,
    is_image_embedding,
)
from sbi_clustermass.estimator.misspecification.summary_checks import Infer, SummaryChecks
from sbi_clustermass.posterior import MassPosteriors

_CHECKS = "checks"  # a part of `alarm.safetensors`
_SPACE_NAMES = {
    "embedding": "the network's features of the galaxies",
    "image": "the density of galaxies in phase space",
}


@final
@dataclass(frozen=True, eq=False)
class Alarm:
    """Several tests whether a cluster resembles any mock, with one rate of false alarms. `fit` makes one.

    Attributes:
        feature_distances: Distances among the network's features, in the image of the galaxies, or both.
        summary_checks: Checks of statistics that a person understands.
    """

    feature_distances: tuple[FeatureDistance, ...]
    summary_checks: SummaryChecks

    @classmethod
    def fit(
        cls, network: Network, infer: Infer, mocks: Catalogue, *, seed: int, spaces: Sequence[Space] | None = None
    ) -> Self:
        """Learn from mocks that the network was not trained on, drawn as its training set was.

        Args:
            network: A trained network.
            infer: Function from clusters to their posteriors, by this network: `MassEstimator.posterior`.
            mocks: Mock clusters, at least 1000; rare ones in bins of richness need several thousand.
            seed: Seed of the split into reference and held-out mocks, which calibrate the rate of false alarms.
            spaces: Spaces in which distances are measured; by default the network's embedding and the image, or one of
                them if the embedding is the image.

        Raises:
            ValueError: Too few mocks.
        """
        if spaces is None:
            spaces = ("embedding",) if is_image_embedding(network) else SPACES
        distances = tuple(FeatureDistance.fit(network, mocks, seed=seed, space=space) for space in spaces)
        return cls(distances, SummaryChecks.fit(infer, mocks, seed=seed))

    @property
    def tests(self) -> tuple[str, ...]:
        """Names of the tests, in the order of `p_values`."""
        return (*(each.space for each in self.feature_distances), _CHECKS)

    def p_values(
        self, network: Network, catalogue: Catalogue, posteriors: MassPosteriors
    ) -> Float[np.ndarray, "test cluster"]:
        """P-value of each test: the share of mocks that are at least as unusual.

        Args:
            network: The network with which the alarm was fitted.
            catalogue: Mock or observed clusters.
            posteriors: Posteriors of these clusters.
        """
        found = [each.p_value(network, catalogue) for each in self.feature_distances]
        return np.stack([*found, self.summary_checks.p_value(catalogue, posteriors)])

    def p_value(
        self, network: Network, catalogue: Catalogue, posteriors: MassPosteriors
    ) -> Float[np.ndarray, "cluster"]:
        """P-value of all tests together: at most that share of mocks has a smaller one. See `bonferroni`."""
        return bonferroni(self.p_values(network, catalogue, posteriors))

    def warnings(
        self, network: Network, catalogue: Catalogue, posteriors: MassPosteriors, *, rate: float = 0.01
    ) -> list[tuple[str, ...]]:
        """Sentences with numbers on what is unlike the mocks, for each cluster; empty if nothing is.

        Args:
            network: The network with which the alarm was fitted.
            catalogue: Mock or observed clusters.
            posteriors: Posteriors of these clusters.
            rate: Largest share of mocks that get a warning [1].
        """
        each = rate / len(self.tests)
        found = self.summary_checks.warnings(catalogue, posteriors, rate=each)
        for test in self.feature_distances:
            p_values = test.p_value(network, catalogue)
            found = [(*before, *_unusual(test.space, p, each)) for before, p in zip(found, p_values, strict=True)]
        return found

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The alarm as arrays by name, for safetensors."""
        parts = {each.space: each.to_arrays() for each in self.feature_distances}
        parts[_CHECKS] = self.summary_checks.to_arrays()
        return {f"{part}.{name}": values for part, arrays in parts.items() for name, values in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild the alarm from `to_arrays`; checks of preparation, which earlier alarms had, are left out.

        Raises:
            ValueError: Arrays are missing, or their shapes are inconsistent.
        """
        parts: dict[str, dict[str, np.ndarray]] = {}
        for key, values in arrays.items():
            part, _, name = key.partition(".")
            parts.setdefault(part, {})[name] = values
        checks = SummaryChecks.from_arrays(parts.pop(_CHECKS, {}))
        parts.pop("preparation", None)
        return cls(tuple(FeatureDistance.from_arrays(part) for part in parts.values()), checks)


def bonferroni(p_values: Float[np.ndarray, "test cluster"]) -> Float[np.ndarray, "cluster"]:
    """Least p-value of each cluster times the number of tests, at most 1."""
    return np.minimum(len(p_values) * p_values.min(0), 1)


def _unusual(space: Space, p_value: float, rate: float) -> tuple[str, ...]:
    if p_value > rate:
        return ()
    share = 100 * (1 - p_value)
    return (f"in {_SPACE_NAMES[space]} it is more unusual than {share:.1f} % of mocks with similar richness",)

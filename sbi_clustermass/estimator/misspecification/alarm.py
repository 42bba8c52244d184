"""When not to trust an answer: one alarm out of likeness and plain checks, and tests of whole sets of clusters.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, final

import numpy as np
from jaxtyping import Float

from clustermocks import Catalogue
from sbi_clustermass.estimator.misspecification.feature_distance import SPACES, Likeness, Space, looks_at_the_image
from sbi_clustermass.estimator.misspecification.preprocessing_checks import Preparation
from sbi_clustermass.estimator.misspecification.summary_checks import PlainChecks
from sbi_clustermass.posterior import MassPosteriors

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

_CHECKS, _PREPARATION = "checks", "preparation"
_WHERE = {"embedding": "the network's features of the galaxies", "image": "the density of galaxies in phase space"}


@final
@dataclass(frozen=True, eq=False)
class Alarm:
    """Whether a cluster looks like any mock, by several tests with one rate of false alarms. `fit` makes one.

    Attributes:
        likeness: Distances among the network's features, or in the image of the galaxies, or both.
        checks: Statistics that a person understands.
        preparation: What was done to a table before it came here, with a rate of false alarms of its own; None where
            that was not learned. Unlike a cluster that is like no mock, one that was thinned may be what the estimator
            was trained for: this is no part of `p_value`.
    """

    likeness: tuple[Likeness, ...]
    checks: PlainChecks
    preparation: Preparation | None = None

    @classmethod
    def fit(
        cls, estimator: "MassEstimator", mocks: Catalogue, *, seed: int, spaces: Sequence[Space] | None = None
    ) -> Self:
        """Learn from mocks that the network was not trained on, drawn as its training set was.

        Args:
            estimator: A trained estimator.
            mocks: Mock clusters, at least 1000; some thousand to know rare ones in bins of richness.
            seed: Of the halves: reference, and mocks kept aside for the rate of false alarms.
            spaces: Where to measure likeness; by default in the estimator's embedding and in the image, once where
                the embedding is the image.

        Raises:
            ValueError: Too few mocks.
        """
        if spaces is None:
            spaces = ("embedding",) if looks_at_the_image(estimator.network) else SPACES
        likeness = tuple(Likeness.fit(estimator, mocks, seed=seed, space=space) for space in spaces)
        return cls(likeness, PlainChecks.fit(estimator, mocks, seed=seed))

    @property
    def tests(self) -> tuple[str, ...]:
        """Their names, in the order of `p_values`."""
        return (*(each.space for each in self.likeness), _CHECKS)

    def p_values(
        self, estimator: "MassEstimator", catalogue: Catalogue, posteriors: MassPosteriors
    ) -> Float[np.ndarray, "test cluster"]:
        """Of each test: the share of mocks that are as unlike the others.

        Args:
            estimator: The one that this was fitted with.
            catalogue: Mock or observed clusters.
            posteriors: Theirs.
        """
        found = [each.p_value(estimator, catalogue) for each in self.likeness]
        return np.stack([*found, self.checks.p_value(catalogue, posteriors)])

    def p_value(
        self, estimator: "MassEstimator", catalogue: Catalogue, posteriors: MassPosteriors
    ) -> Float[np.ndarray, "cluster"]:
        """The least of the tests' p-values times their number (Bonferroni): small for at most that share of mocks."""
        return together(self.p_values(estimator, catalogue, posteriors))

    def doubts(
        self, estimator: "MassEstimator", catalogue: Catalogue, posteriors: MassPosteriors, *, rate: float = 0.01
    ) -> list[tuple[str, ...]]:
        """What is unlike the mocks, in sentences with numbers, for each cluster; empty where nothing is.

        Args:
            estimator: The one that this was fitted with.
            catalogue: Mock or observed clusters.
            posteriors: Theirs.
            rate: Share of mocks, at most, of which anything would be said [1]. The checks of the
                preparation have rates of their own.
        """
        each = rate / len(self.tests)
        plain = self.checks.doubts(catalogue, posteriors, rate=each)
        for test in self.likeness:
            p_values = test.p_value(estimator, catalogue)
            plain = [(*found, *_unlike(test.space, p, each)) for found, p in zip(plain, p_values, strict=True)]
        if self.preparation is not None:
            prepared = self.preparation.doubts(catalogue, posteriors)
            plain = [(*found, *more) for found, more in zip(plain, prepared, strict=True)]
        return plain

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All of it as arrays by name, for safetensors."""
        parts = {each.space: each.to_arrays() for each in self.likeness} | {_CHECKS: self.checks.to_arrays()}
        if self.preparation is not None:
            parts[_PREPARATION] = self.preparation.to_arrays()
        return {f"{part}.{name}": values for part, arrays in parts.items() for name, values in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """The way back from `to_arrays`.

        Raises:
            ValueError: Arrays are missing or do not belong together.
        """
        parts: dict[str, dict[str, np.ndarray]] = {}
        for key, values in arrays.items():
            part, _, name = key.partition(".")
            parts.setdefault(part, {})[name] = values
        checks = PlainChecks.from_arrays(parts.pop(_CHECKS, {}))
        prepared = parts.pop(_PREPARATION, None)
        preparation = None if prepared is None else Preparation.from_arrays(prepared)
        return cls(tuple(Likeness.from_arrays(part) for part in parts.values()), checks, preparation)


def together(p_values: Float[np.ndarray, "test cluster"]) -> Float[np.ndarray, "cluster"]:
    """The least p-value times the number of tests, at most 1 (Bonferroni)."""
    return np.minimum(len(p_values) * p_values.min(0), 1)


def _unlike(space: Space, p_value: float, rate: float) -> tuple[str, ...]:
    if p_value > rate:
        return ()
    return (f"in {_WHERE[space]} it is farther out than {100 * (1 - p_value):.1f} % of the mocks of like richness",)


def set_mmd(
    clusters: Float[np.ndarray, "cluster feature"],
    mocks: Float[np.ndarray, "mock feature"],
    *,
    seed: int,
    shuffles: int = 300,
) -> float:
    """P-value of the maximum mean discrepancy between a set of clusters and mocks, by sbi: small where the set differs.

    What no single cluster shows may be plain in fifty. Features are `Likeness.positions`, or
    `PlainChecks.standardised`, which do not depend on how the set's masses and richnesses are spread.

    Args:
        clusters: Features of the set, at least two clusters.
        mocks: Features of more mocks than clusters; 1000 at most are used.
        seed: Of the choice of mocks.
        shuffles: Sets of mocks to compare with [1].

    Raises:
        ValueError: Fewer than two clusters, or no more mocks than clusters.

    References:
        Schmitt et al. 2023, arXiv:2112.08866; `sbi.diagnostics.misspecification`.
    """
    import torch
    from sbi.diagnostics.misspecification import calc_misspecification_mmd

    if len(clusters) < 2 or len(mocks) < 2 * len(clusters):
        raise ValueError(
            f"set_mmd: {len(clusters)} clusters and {len(mocks)} mocks; needs two, and twice as many mocks."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shuffled = torch.as_tensor(mocks, dtype=torch.float32)[torch.randperm(len(mocks))]
        x_obs = torch.as_tensor(clusters, dtype=torch.float32)
        size = min(1000, len(mocks))
        return float(calc_misspecification_mmd(x_obs, shuffled, n_shuffle=shuffles, max_samples=size)[0])


def marginal_p_value(
    clusters: Float[np.ndarray, "cluster feature"],
    mocks: Float[np.ndarray, "mock feature"],
    *,
    seed: int,
    epochs: int = 200,
) -> Float[np.ndarray, "cluster"]:
    """P-value of each cluster's density among mocks, under sbi's flow of the features: small where it is unlike them.

    The flow is trained on half of the mocks; the p-value is the share of the other half that has a lower density.

    Args:
        clusters: Features, as for `set_mmd`.
        mocks: Features of some thousand mocks.
        seed: Of the halves and the flow.
        epochs: Of the training, at most.

    References:
        `sbi.diagnostics.misspecification.calc_misspecification_logprob`, whose p-value this is.
    """
    import torch
    from sbi.inference import MarginalTrainer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x = torch.as_tensor(mocks, dtype=torch.float32)[torch.randperm(len(mocks))]
        trainer = MarginalTrainer("nsf", show_progress_bars=False).append_samples(x[: len(x) // 2])
        density = trainer.train(max_num_epochs=epochs)
    with torch.no_grad():
        aside = np.sort(density.log_prob(x[len(x) // 2 :]).numpy())
        found = density.log_prob(torch.as_tensor(clusters, dtype=torch.float32)).numpy()
    return np.searchsorted(aside, found, side="right") / len(aside)

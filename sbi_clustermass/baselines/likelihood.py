"""Likelihood of learned summaries: sbi's neural likelihood and ratio estimation, for any prior afterwards.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; densities are per dex; `log_` is natural.
"""

from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from io import StringIO
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.selection import Selection, fit_selection
from sbi_clustermass.baselines.baseline import Prediction
from sbi_clustermass.likelihood import (
    FrozenSummaries,
    Moments,
    NeuralLikelihood,
    Summaries,
    SummaryLikelihood,
    train_summaries,
)
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.posterior.prior import fit_effective_prior
from sbi_clustermass.training import Storage, Training
from sbi_clustermass.training.training_set import TrainingSet

_MASSES = 256
_TRAINING = {"training_batch_size": 500, "learning_rate": 1e-3}  # fewer updates than sbi's 200 and 5e-4


@final
@dataclass(frozen=True)
class LearnedLikelihood:
    """Neural likelihood of learned summaries, as Kodi Ramanah et al. 2020 propose in their section 8.

    A network of the galaxies learns a few summaries; then sbi learns their density, or its ratio to their mean density,
    given the mass. A likelihood does not depend on how the training masses are distributed.

    Attributes:
        summaries: Choice of the summaries: `Moments` or `IMNN`.
        method: Method of sbi on the summaries: `NeuralLikelihood` or `NeuralRatio`.
        support: Lowest and highest log10 mass [dex]; None for the attempted range of the mocks.
        training: Settings of the training of the summaries; None for those that suit them.
        epochs: Largest number of epochs of sbi's training.

    Example:
        >>> fitted = LearnedLikelihood().fit(mocks)  # doctest: +SKIP
        >>> fitted.predict(clusters).posteriors.with_prior(log_prior)  # doctest: +SKIP
    """

    summaries: Summaries = field(default_factory=Moments)
    method: SummaryLikelihood = field(default_factory=NeuralLikelihood)
    support: tuple[float, float] | None = None
    training: Training | None = None
    epochs: int = 300

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> "FittedLikelihood":
        """Train the summaries, and then their likelihood; the seed sets weights, batches and held-out clusters.

        Raises:
            ValueError: Fewer than 100 clusters of known mass, or masses of attempts that are not known.
        """
        some = TrainingSet.from_catalogue(mocks, Storage(torch.device("cpu")), self.support, conditions=False)
        training = replace(self.training or self.summaries.training(), seed=seed, truncated=False)
        summaries = train_summaries(self.summaries, some, training)
        trainer = self.method.trainer(some.support)
        low, high = some.support
        inside = mocks.select((mocks.log10_mass >= low) & (mocks.log10_mass <= high))
        trainer.append_simulations(some.dataset.theta, summaries.of(inside))
        with torch.random.fork_rng(), redirect_stdout(StringIO()):  # sbi prints the number of its epochs
            torch.manual_seed(seed)
            estimator = trainer.train(max_num_epochs=self.epochs, **_TRAINING).eval()
        grid = np.linspace(*some.support, _MASSES)
        log_prior = fit_effective_prior(mocks, some.support).log_density(grid)
        selection = fit_selection(*mocks.attempted())
        return FittedLikelihood(summaries, self.method, trainer, estimator, selection, grid, log_prior)


@final
@dataclass(frozen=True, eq=False)
class FittedLikelihood:
    """A trained likelihood of learned summaries.

    Attributes:
        summaries: Network of the summaries.
        method: Method by which sbi learned their likelihood.
        trainer: sbi's trained `NLE` or `NRE`, whose `build_posterior` samples by MCMC. Its prior is flat in log10 M
            among selected clusters.
        estimator: What the trainer returned.
        selection: P(selected | mass) of the mocks.
        grid: Log10 mass [dex], (mass,).
        log_prior: Natural log of the effective prior of the mocks [1/dex], (mass,).
    """

    summaries: FrozenSummaries
    method: SummaryLikelihood
    trainer: Any
    estimator: Any
    selection: Selection
    grid: Float[np.ndarray, "mass"]
    log_prior: Float[np.ndarray, "mass"]

    def predict(self, clusters: Catalogue) -> Prediction:
        """Posteriors under the effective prior of the mocks; `with_prior` gives them under any other."""
        log_prob = self.log_likelihood(clusters, self.grid) + self.log_prior
        return Prediction.from_posteriors(
            MassPosteriors.from_log_prob(self.grid, log_prob, log_prior=self.log_prior, names=clusters.names)
        )

    def log_likelihood(
        self, clusters: Catalogue, log10_mass: Float[np.ndarray, "mass"]
    ) -> Float[np.ndarray, "cluster mass"]:
        """Natural log of p(summaries | mass) of any cluster's data, up to a constant for each cluster.

        The likelihood among selected clusters, which sbi learned, times P(selected | mass), as in
        `MassPosteriors.log_likelihood`. Those of independent observations of one cluster add up.

        Args:
            clusters: Clusters with any number of galaxies.
            log10_mass: Log10 masses inside the support [dex], (mass,).
        """
        grid = torch.as_tensor(log10_mass, dtype=torch.float32)
        with torch.no_grad():
            found = self.method.log_likelihood(self.estimator, self.summaries.of(clusters), grid)
        return found.double().numpy() + self.selection.log(log10_mass)

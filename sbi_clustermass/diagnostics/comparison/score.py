"""Scores of one combination of flow and embedding on the test clusters, stored with its estimator.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; densities are per dex; `log_` is natural.
"""

import json
from dataclasses import asdict, dataclass, fields
from math import log
from pathlib import Path
from time import perf_counter
from typing import Self, final

import numpy as np
import torch
from jaxtyping import Float

from clustermocks import Catalogue
from clustermocks.io.atomic import replacing
from clustermocks.io.paths import as_path
from sbi_clustermass.diagnostics.calibration import coverage
from sbi_clustermass.diagnostics.comparison.setup import ComparisonSetup
from sbi_clustermass.diagnostics.residuals import Measured, residuals
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.flows.density_estimator import columns_of
from sbi_clustermass.flows.ensemble import Ensemble
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.training.dataset import as_tensors

LEVEL = 0.68
_FILE = "entry.json"
_CHUNK = 500


@final
@dataclass(frozen=True)
class PosteriorScore:
    """Scores of posteriors of the test clusters.

    Attributes:
        log_prob: Natural log of each posterior density at the true mass [1/dex], (cluster,).
        residual_mean: Mean of posterior mean - truth [dex].
        residual_scatter: Standard deviation of that residual [dex].
        coverage_error: Share of true masses in the central 68 % interval, minus .68.
    """

    log_prob: Float[np.ndarray, "cluster"]
    residual_mean: Measured
    residual_scatter: Measured
    coverage_error: Measured

    @classmethod
    def from_posteriors(
        cls, posteriors: MassPosteriors, log10_true: Float[np.ndarray, "cluster"], log_prob: np.ndarray | None = None
    ) -> Self:
        """Score posteriors; log densities at the truth are interpolated on the grid if they are not given."""
        if log_prob is None:
            rows = zip(log10_true, posteriors.prob, strict=True)
            log_prob = np.log([np.interp(mass, posteriors.grid, row) for mass, row in rows])
        share = coverage(posteriors, log10_true, LEVEL)
        mean, scatter = residuals(posteriors.mean, log10_true)
        return cls(np.asarray(log_prob, float), mean, scatter, Measured(share.value - LEVEL, share.error))


@final
@dataclass(frozen=True)
class Entry:
    """A trained combination.

    Attributes:
        flow: Name of the flow.
        embedding: Name of the embedding.
        score: Scores on the test clusters.
        weights: Number of trained parameters.
        updates: Number of weight updates, of all members.
        training_seconds: Time of the training, with summaries and validations.
        inference_seconds: Time per test cluster, from galaxies to a normalised posterior on 256 masses.
        rule: Learning rate, clusters per update, and patience.
    """

    flow: str
    embedding: str
    score: PosteriorScore
    weights: int
    updates: int
    training_seconds: float
    inference_seconds: float
    rule: str = ""

    @property
    def name(self) -> str:
        """flow+embedding."""
        return f"{self.flow}+{self.embedding}"

    @classmethod
    def measure(
        cls, names: tuple[str, str], estimator: MassEstimator, setup: ComparisonSetup, *, training_seconds: float
    ) -> Self:
        """PosteriorScore a trained estimator."""
        test_set, rule = setup.test_set, setup.training
        start = perf_counter()
        posteriors = estimator.posterior(test_set)
        elapsed = perf_counter() - start
        return cls(
            *names,
            PosteriorScore.from_posteriors(posteriors, test_set.log10_mass, log_prob_of_truth(estimator, test_set)),
            weights=sum(part.numel() for part in estimator.network.parameters() if part.requires_grad),
            updates=sum(record.updates[-1] for record in estimator.histories),
            training_seconds=training_seconds,
            inference_seconds=elapsed / len(test_set),
            rule=f"{rule.learning_rate:g} x {rule.batch_size}, {rule.patience}",
        )

    def save(self, folder: Path, digest: str) -> None:
        """Write the entry with the digest of its setup, flow and embedding."""
        content = asdict(self)
        content["score"]["log_prob"] = self.score.log_prob.tolist()
        with replacing(folder / _FILE) as temporary:
            temporary.write_text(json.dumps({"digest": digest, **content}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, digest: str) -> Self | None:
        """Read an entry; None if there is none, or its digest differs."""
        path = as_path(folder) / _FILE
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if content.pop("digest", None) != digest:
            return None
        score = content.pop("score")
        measured = {f.name: Measured(**score[f.name]) for f in fields(PosteriorScore) if f.name != "log_prob"}
        return cls(**content, score=PosteriorScore(np.array(score["log_prob"]), **measured))


@final
@dataclass(frozen=True)
class Failure:
    """A combination that could not be trained or scored, with the reason."""

    flow: str
    embedding: str
    reason: str

    @property
    def name(self) -> str:
        """flow+embedding."""
        return f"{self.flow}+{self.embedding}"


@torch.no_grad()
def log_prob_of_truth(estimator: MassEstimator, clusters: Catalogue) -> Float[np.ndarray, "cluster"]:
    """Natural log of each normalised posterior density at the cluster's own true mass [1/dex], without a grid."""
    network, (low, high) = estimator.network, estimator.support
    members = network.members if isinstance(network, Ensemble) else [network]
    device, rows, parts = next(network.parameters()).device, np.arange(len(clusters)), []
    for i in range(0, len(rows), _CHUNK):
        some = clusters.select(rows[i : i + _CHUNK])
        pairs = as_tensors(some, **columns_of(network)._asdict())
        theta, x = (each.to(device) for each in pairs)
        losses = [each.truncated_loss(theta, x, low=low, high=high).double() for each in members]
        parts.append(-torch.stack(losses))
    return (torch.cat(parts, 1).logsumexp(0) - log(len(members))).cpu().numpy()

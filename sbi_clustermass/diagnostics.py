"""How good a set of posteriors is on clusters of known mass: residuals and coverage, each with its Monte Carlo error.

And how much of a cluster's richness an embedding lets through. Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Float

from clustermocks import Catalogue
from sbi_clustermass.posterior import MassPosteriors

if TYPE_CHECKING:
    from torch import nn

_CHUNK = 500
_PENALTIES = np.logspace(-8, 3, 34)  # of the ridge, over the number of clusters and the features' mean variance


@final
@dataclass(frozen=True)
class Measured:
    """A number and its Monte Carlo error over the test clusters."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.error:.3f}"


def residuals(
    log10_predicted: Float[np.ndarray, "cluster"], log10_true: Float[np.ndarray, "cluster"]
) -> tuple[Measured, Measured]:
    """Mean and scatter (standard deviation) of log10(M_predicted / M_true) [dex].

    The paper's epsilon (Kodi Ramanah et al. 2020, section 5) has the opposite sign.
    """
    residual = np.asarray(log10_predicted) - np.asarray(log10_true)
    n, scatter = len(residual), float(np.std(residual, ddof=1))
    kurtosis = float(np.mean((residual - residual.mean()) ** 4)) / scatter**4
    error = scatter * np.sqrt(max(kurtosis - 1, 0) / (4 * n))
    return Measured(float(residual.mean()), scatter / np.sqrt(n)), Measured(scatter, float(error))


def coverage(posteriors: MassPosteriors, log10_true: Float[np.ndarray, "cluster"], level: float) -> Measured:
    """Share of clusters whose true mass lies in the central interval of probability `level`.

    Promised to be `level` only for test clusters drawn from the prior that the posteriors carry.
    """
    inside = np.abs(posteriors.pit(log10_true) - 0.5) <= level / 2
    share = float(inside.mean())
    return Measured(share, float(np.sqrt(level * (1 - level) / len(inside))))


def richness_r2(embedding: "nn.Module", catalogue: Catalogue) -> Measured:
    """R^2 with which a linear regression on an embedding's features predicts log10 N: 0 where they know nothing of it.

    Ridge regression on features divided by their standard deviation (pixels of an image by a common one), each cluster
    predicted by a fit to the others; the penalty is the best of 34. What a network could find is at least as much. The
    paper's image, normalised and scaled with the sample covariance, tells most of log N.

    Args:
        embedding: One of `EMBEDDINGS`, or any module, (batch, galaxy, 3) -> (batch, feature): a trained network's
            `embedding_net`, too.
        catalogue: Clusters; some thousand, because time goes with the cube of their number.

    Raises:
        ValueError: Fewer than three clusters, or all have as many galaxies.
    """
    if len(catalogue) < 3 or np.ptp(catalogue.n_galaxies) == 0:
        raise ValueError("richness_r2: needs three clusters or more, of different numbers of galaxies.")
    features = _features(embedding, catalogue)
    scale = features.std(axis=0)
    shared = int(getattr(embedding, "shared_scale", 0))
    scale[:shared] = np.sqrt(np.mean(scale[:shared] ** 2)) if shared else 1
    features = (features - features.mean(axis=0)) / np.where(scale > 0, scale, 1)
    return _left_out_r2(features, np.log10(np.maximum(catalogue.n_galaxies, 1)))


def _features(embedding: "nn.Module", catalogue: Catalogue) -> Float[np.ndarray, "cluster feature"]:
    import torch

    parts = [np.arange(i, min(i + _CHUNK, len(catalogue))) for i in range(0, len(catalogue), _CHUNK)]
    device = next((weight.device for weight in embedding.parameters()), torch.device("cpu"))
    with torch.no_grad():
        found = [embedding(torch.from_numpy(catalogue.select(part).padded()).to(device)).flatten(1) for part in parts]
    return torch.cat(found).double().cpu().numpy()


def _left_out_r2(features: Float[np.ndarray, "cluster feature"], y: Float[np.ndarray, "cluster"]) -> Measured:
    """Best R^2 over the penalties, of residuals (y - Hy) / (1 - diag H), and its error by the delta method."""
    n, offset = len(y), y - y.mean()
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    spread = np.mean(np.var(features, axis=0)) * features.shape[1]
    shrink = singular**2 / (singular**2 + _PENALTIES[:, None] * n * spread)
    fitted = (shrink * (left.T @ offset)) @ left.T
    hat = shrink @ (left**2).T + 1 / n
    squares = ((offset - fitted) / (1 - hat)) ** 2
    best = squares[squares.sum(axis=1).argmin()]
    total = (offset * n / (n - 1)) ** 2  # the mean of the others
    ratio = best.sum() / total.sum()
    return Measured(float(1 - ratio), float(np.std(best - ratio * total) / (total.mean() * np.sqrt(n))))

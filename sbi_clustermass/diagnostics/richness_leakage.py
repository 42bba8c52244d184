"""Information about richness in the features of an embedding."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from clustermocks import Catalogue
from sbi_clustermass.diagnostics.residuals import Measured

if TYPE_CHECKING:
    from torch import nn

_CHUNK = 500
_PENALTIES = np.logspace(-8, 3, 34)  # ridge penalties over the number of clusters and the features' mean variance


def richness_r2(embedding: "nn.Module", catalogue: Catalogue) -> Measured:
    """R^2 of a linear regression of log10 N on an embedding's features: 0 if they are independent of N.

    Ridge regression on features divided by their standard deviation (pixels of an image by a common one), each cluster
    is predicted by a fit to the others, with the best of 34 penalties. A network can extract at least as much. The
    paper's image, normalised and scaled with the sample covariance, determines most of log N.

    Args:
        embedding: One of `EMBEDDINGS`, or any module, (batch, galaxy, 3) -> (batch, feature): also
            the `embedding_net` of a trained network.
        catalogue: Clusters; a few thousand, because time grows as the cube of their number.

    Raises:
        ValueError: Fewer than three clusters, or all have the same number of galaxies.
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
    """Best leave-one-out R^2 over the penalties, from residuals (y - Hy) / (1 - diag H), and its error."""
    n, offset = len(y), y - y.mean()
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    spread = np.mean(np.var(features, axis=0)) * features.shape[1]
    shrink = singular**2 / (singular**2 + _PENALTIES[:, None] * n * spread)
    fitted = (shrink * (left.T @ offset)) @ left.T
    hat = shrink @ (left**2).T + 1 / n
    squares = ((offset - fitted) / (1 - hat)) ** 2
    best = squares[squares.sum(axis=1).argmin()]
    total = (offset * n / (n - 1)) ** 2  # against the mean of the other clusters
    ratio = best.sum() / total.sum()
    return Measured(float(1 - ratio), float(np.std(best - ratio * total) / (total.mean() * np.sqrt(n))))

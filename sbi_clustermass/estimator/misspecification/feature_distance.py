"""Distance of a cluster from the mocks in a network's feature space, and how rare such a distance is among mocks.

A cluster is compared with mocks of similar richness, because features of few galaxies are noisier. Its position is the
features' principal components and the residual outside of them. A p-value is the rank of the distance among held-out
mocks, so that the false-alarm rate is exact for clusters drawn as those mocks were.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, Self, TypeAlias, final, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from clustermocks import Catalogue
from clustermocks.io.registry import lookup
from sbi_clustermass.embeddings import KDEImage
from sbi_clustermass.embeddings.conditions import PLAIN
from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.flows.ensemble import Ensemble
from sbi_clustermass.flows.evaluation import batches_of, observations

Network: TypeAlias = EmbedOnce | Ensemble
Space = Literal["embedding", "image"]
SPACES = get_args(Space)
MIN_MOCKS = 1000  # both halves
_MAX_COMPONENTS = 40
_EXPLAINED = 0.999  # share of the features' variance that the components should explain
_MIN_BIN = 500  # reference mocks in a bin of richness, and as many held out: p-values go down to .002
_MAX_BINS = 8


@torch.no_grad()
def features_of(network: Network, catalogue: Catalogue, space: Space) -> Float[np.ndarray, "cluster feature"]:
    """Features of each cluster, as an embedding computes them.

    Args:
        network: A trained network; of an ensemble, the first member is used.
        catalogue: Clusters with any number of galaxies.
        space: "embedding" for the network's own embedding, before the layers that turn features into a density; "image"
            for the paper's kernel density. A network that depends on |v| only does not notice that all signs of the
            velocities are wrong; the image does.
    """
    lookup("space", space, dict.fromkeys(SPACES))
    device = next(network.parameters()).device
    embed = KDEImage().to(device) if space == "image" else _own_embedding(network)
    found: Float[np.ndarray, "cluster feature"] = np.zeros((len(catalogue), 0), np.float32)
    for rows in batches_of(catalogue.n_galaxies):
        x = observations(network, catalogue.select(rows))
        features = embed(x[..., :PLAIN] if space == "image" else x).flatten(1).float().cpu().numpy()
        found = found if found.shape[1] else np.zeros((len(catalogue), features.shape[1]), np.float32)
        found[rows] = features
    return found


def _own_embedding(network: Network) -> nn.Module:
    """Embedding of a network without the layers that the flow adds to it: (batch, galaxy, 3) -> features."""
    first = network.members[0] if isinstance(network, Ensemble) else network
    learned = first.embedding
    return nn.Sequential(first.summary, learned[:-1] if isinstance(learned, nn.Sequential) else learned)


def is_image_embedding(network: Network) -> bool:
    """Return whether a network's own embedding is the image of the galaxies, without trained layers."""
    embedding = _own_embedding(network)
    images = [module for module in embedding.modules() if isinstance(module, KDEImage)]
    return bool(images) and not any(weight.requires_grad for weight in embedding.parameters())


@final
@dataclass(frozen=True, eq=False)
class FeatureDistance:
    """Distance of a cluster's features from those of mocks with similar richness. `fit` makes one.

    All fields but the first are plain arrays, to be stored without pickles: `to_arrays`, `from_arrays`.

    Attributes:
        space: Space of the features, as in `features_of`.
        middle: Mean of the reference mocks' features, (feature,).
        axes: Principal directions, (component, feature).
        scale: Standard deviation along each direction, (component,).
        edges: Natural log of the number of galaxies at the edges between bins, (bin - 1,).
        centre: Mean position in each bin, (bin, position): components, and the log of the residual.
        precision: Inverse covariance in each bin, (bin, position, position).
        distances: Squared Mahalanobis distances of the held-out mocks, ascending within each bin, (held_out,).
        first: Index at which the distances of each bin begin, and their number, (bin + 1,).
    """

    space: Space
    middle: Float[np.ndarray, "feature"]
    axes: Float[np.ndarray, "component feature"]
    scale: Float[np.ndarray, "component"]
    edges: Float[np.ndarray, "edge"]
    centre: Float[np.ndarray, "bin position"]
    precision: Float[np.ndarray, "bin position position"]
    distances: Float[np.ndarray, "held_out"]
    first: Int[np.ndarray, "bin_and_one"]

    @classmethod
    def fit(cls, network: Network, mocks: Catalogue, *, seed: int, space: Space = "embedding") -> Self:
        """Learn from mocks that the network was not trained on, drawn as its training set was.

        Half of the hosts are the reference, the other half is held out.

        Args:
            network: A trained network.
            mocks: Mock clusters, at least 1000 and better several thousand.
            seed: Seed of the split into halves.
            space: Space of the features.

        Raises:
            ValueError: Too few mocks, or another space.
        """
        if len(mocks) < MIN_MOCKS:
            raise ValueError(f"FeatureDistance.fit: {len(mocks)} mocks; needs at least {MIN_MOCKS}.")
        reference, held_out = mocks.split(0.5, seed)
        features = features_of(network, reference, space)
        middle, axes, scale = _principal(features, seed)
        edges, bins = _bins(np.log(reference.n_galaxies), min(len(reference), len(held_out)))
        centre, precision = _shapes(_positions(features, middle, axes, scale), bins, len(edges) + 1)
        blank = cls(space, middle, axes, scale, edges, centre, precision, np.zeros(0), np.zeros(len(centre) + 1, int))
        squared, bins = blank._distance(network, held_out)
        order = np.lexsort((squared, bins))
        first = np.searchsorted(bins[order], np.arange(len(centre) + 1))
        fitted = replace(blank, distances=squared[order], first=first)
        return cls.from_arrays(fitted.to_arrays())  # rounded as in a file, so that a loaded one gives the same ranks

    def distance(self, network: Network, catalogue: Catalogue) -> Float[np.ndarray, "cluster"]:
        """Mahalanobis distance of each cluster from the mean of the mocks with similar richness [1]."""
        return np.sqrt(self._distance(network, catalogue)[0])

    def p_value(self, network: Network, catalogue: Catalogue) -> Float[np.ndarray, "cluster"]:
        """Share of held-out mocks with similar richness that are at least as far out; at least 1 / (their number + 1).

        Args:
            network: The network with which this was fitted.
            catalogue: Mock or observed clusters.

        Raises:
            ValueError: The network has another number of features.
        """
        squared, bins = self._distance(network, catalogue)
        p = np.ones(len(squared))
        for each in np.unique(bins):
            held_out = self.distances[self.first[each] : self.first[each + 1]]
            here = bins == each
            beyond = len(held_out) - np.searchsorted(held_out, squared[here], side="left")
            p[here] = (1 + beyond) / (1 + len(held_out))
        return p

    def _distance(
        self, network: Network, catalogue: Catalogue
    ) -> tuple[Float[np.ndarray, "cluster"], Int[np.ndarray, "cluster"]]:
        offset, bins = self._offset(network, catalogue)
        return np.einsum("ni,nij,nj->n", offset, self.precision[bins], offset), bins

    def _offset(
        self, network: Network, catalogue: Catalogue
    ) -> tuple[Float[np.ndarray, "cluster position"], Int[np.ndarray, "cluster"]]:
        features = features_of(network, catalogue, self.space)
        if len(catalogue) and features.shape[1] != len(self.middle):
            raise ValueError(
                f"FeatureDistance: {features.shape[1]} features, but fitted on {len(self.middle)}, with another "
                "network."
            )
        bins = np.searchsorted(self.edges, np.log(np.maximum(catalogue.n_galaxies, 1)))
        features = features.reshape(len(catalogue), len(self.middle))
        return _positions(features, self.middle, self.axes, self.scale) - self.centre[bins], bins

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Fields as arrays, for safetensors; floats in float32, the space as its index in `SPACES`."""
        arrays = {each.name: np.asarray(getattr(self, each.name)) for each in fields(self) if each.name != "space"}
        small = {name: a.astype(np.float32 if a.dtype.kind == "f" else np.int64) for name, a in arrays.items()}
        return {"space": np.array([SPACES.index(self.space)]), **small}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild from `to_arrays`.

        Raises:
            ValueError: An array is missing, or their shapes are inconsistent.
        """
        names = [each.name for each in fields(cls)]
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ValueError(
                f"FeatureDistance: no {', '.join(missing)} in the file; it is damaged or of another version."
            )
        found = {name: np.asarray(arrays[name]) for name in names}
        if not _consistent(found):
            raise ValueError("FeatureDistance: arrays of inconsistent shapes; the file is damaged.")
        return cls(SPACES[int(found.pop("space")[0])], **found)


def _consistent(found: Mapping[str, np.ndarray]) -> bool:
    if found["axes"].ndim != 2 or found["first"].ndim != 1 or found["space"].shape != (1,):
        return False
    (components, features), bins = found["axes"].shape, len(found["first"]) - 1
    shapes = {
        "middle": (features,),
        "scale": (components,),
        "edges": (bins - 1,),
        "centre": (bins, components + 1),
        "precision": (bins, components + 1, components + 1),
        "distances": (int(found["first"][-1]),),
    }
    known = 0 <= int(found["space"][0]) < len(SPACES)
    return known and all(found[name].shape == shape for name, shape in shapes.items())


def _bins(
    log_n: Float[np.ndarray, "cluster"], fewest: int
) -> tuple[Float[np.ndarray, "edge"], Int[np.ndarray, "cluster"]]:
    """Edges between bins of equal numbers of mocks, and the bin of each mock."""
    n = max(1, min(_MAX_BINS, fewest // _MIN_BIN))
    edges = np.quantile(log_n, np.arange(1, n) / n)
    return edges, np.searchsorted(edges, log_n)


def _principal(
    features: Float[np.ndarray, "cluster feature"], seed: int
) -> tuple[Float[np.ndarray, "feature"], Float[np.ndarray, "component feature"], Float[np.ndarray, "component"]]:
    """Mean, directions and standard deviations of the components that explain nearly all of the variance."""
    from sklearn.decomposition import PCA

    most = min(_MAX_COMPONENTS, *features.shape)
    found = PCA(most, random_state=seed).fit(features)
    enough = np.searchsorted(np.cumsum(found.explained_variance_ratio_), _EXPLAINED) + 1
    kept = min(int(enough), most)
    middle, axes, variance = (np.asarray(each) for each in (found.mean_, found.components_, found.explained_variance_))
    return middle, axes[:kept], np.sqrt(variance[:kept])


def _positions(
    features: Float[np.ndarray, "cluster feature"],
    middle: Float[np.ndarray, "feature"],
    axes: Float[np.ndarray, "component feature"],
    scale: Float[np.ndarray, "component"],
) -> Float[np.ndarray, "cluster position"]:
    """Components in units of their standard deviation, and the natural log of the residual outside of them."""
    offset = features - middle
    along = offset @ axes.T
    left = np.linalg.norm(offset - along @ axes, axis=1) / np.linalg.norm(scale)
    return np.column_stack([along / scale, np.log(left + 1e-6)])


def _shapes(
    positions: Float[np.ndarray, "cluster position"], bins: Int[np.ndarray, "cluster"], n: int
) -> tuple[Float[np.ndarray, "bin position"], Float[np.ndarray, "bin position position"]]:
    """Mean and inverse covariance in each bin, shrunk towards a sphere (Ledoit & Wolf 2004, J. Multivar. Anal. 88)."""
    from sklearn.covariance import LedoitWolf

    found = [LedoitWolf().fit(positions[bins == each]) for each in range(n)]
    centre, precision = ([np.asarray(getattr(each, name)) for each in found] for name in ("location_", "precision_"))
    return np.stack(centre), np.stack(precision)

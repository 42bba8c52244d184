"""Does any mock look like this cluster? A distance among a network's features, and how rare it is among mocks.

The features' principal components and what these leave over are held against mocks of like richness: features of few
galaxies are noisier. A p-value is the rank of the distance among mocks that were kept aside, so that its false-alarm
rate is what it says on clusters drawn as those mocks were.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal, Self, final, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from clustermocks import Catalogue
from clustermocks.io.registry import lookup
from sbi_clustermass.embeddings import KDEImage
from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.flows.ensemble import Ensemble
from sbi_clustermass.flows.evaluation import batches_of

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

Space = Literal["embedding", "image"]
SPACES = get_args(Space)
MOST_COMPONENTS = 40
EXPLAINED = 0.999  # share of the features' variance that components should reach
A_BIN = 500  # reference mocks at least in a bin of richness, and as many kept aside: p-values go down to .002
FEWEST = 1000  # mocks, both halves
MOST_BINS = 8


@torch.no_grad()
def features_of(estimator: "MassEstimator", catalogue: Catalogue, space: Space) -> Float[np.ndarray, "cluster feature"]:
    """What an embedding makes of each cluster.

    Args:
        estimator: A trained estimator; of an ensemble, its first member.
        catalogue: Clusters with any number of galaxies.
        space: "embedding" for the estimator's own, in front of the layers that turn features into a density; "image"
            for the paper's kernel density, whatever the estimator looks at. A network that cares for |v| only does not
            see that all signs are wrong; the image does.

    Raises:
        ValueError: Another space.
    """
    lookup("space", space, dict.fromkeys(SPACES))
    network = estimator.network
    device = next(network.parameters()).device
    embed = KDEImage().to(device) if space == "image" else own_embedding(network)
    found: Float[np.ndarray, "cluster feature"] = np.zeros((len(catalogue), 0), np.float32)
    for rows in batches_of(catalogue.n_galaxies):
        x = torch.from_numpy(catalogue.select(rows).padded()).to(device)
        features = embed(x).flatten(1).float().cpu().numpy()
        found = found if found.shape[1] else np.zeros((len(catalogue), features.shape[1]), np.float32)
        found[rows] = features
    return found


def own_embedding(network: EmbedOnce | Ensemble) -> nn.Module:
    """A network's embedding without what a flow builds on it: (batch, galaxy, 3) -> features."""
    first = network.members[0] if isinstance(network, Ensemble) else network
    learned = first.embedding
    return nn.Sequential(first.summary, learned[:-1] if isinstance(learned, nn.Sequential) else learned)


def looks_at_the_image(network: EmbedOnce | Ensemble) -> bool:
    """Whether a network's own embedding is the image and nothing else."""
    embedding = own_embedding(network)
    images = [module for module in embedding.modules() if isinstance(module, KDEImage)]
    return bool(images) and not any(True for _ in embedding.parameters())


@final
@dataclass(frozen=True, eq=False)
class Likeness:
    """How far the features of a cluster are from those of mocks of like richness. `fit` makes one.

    All fields but the first are plain arrays, for a file without pickles: `to_arrays`, `from_arrays`.

    Attributes:
        space: What the features are, as in `features_of`.
        middle: Mean of the reference mocks' features, (feature,).
        axes: Principal directions, (component, feature).
        scale: Standard deviation along each, (component,).
        edges: Natural log of the numbers of galaxies between the bins, (bin - 1,).
        centre: Mean position in each bin, (bin, position): of the components, and of the log of what they leave over.
        precision: Inverse covariance in each bin, (bin, position, position).
        distances: Squared Mahalanobis distances of the mocks kept aside, rising within each bin, (aside,).
        first: Where the distances of each bin begin, and the end, (bin + 1,).
    """

    space: Space
    middle: Float[np.ndarray, "feature"]
    axes: Float[np.ndarray, "component feature"]
    scale: Float[np.ndarray, "component"]
    edges: Float[np.ndarray, "edge"]
    centre: Float[np.ndarray, "bin position"]
    precision: Float[np.ndarray, "bin position position"]
    distances: Float[np.ndarray, "aside"]
    first: Int[np.ndarray, "bin_and_one"]

    @classmethod
    def fit(cls, estimator: "MassEstimator", mocks: Catalogue, *, seed: int, space: Space = "embedding") -> Self:
        """Learn from mocks that the network was not trained on, drawn as its training set was.

        Half of the hosts are the reference, the other half is kept aside.

        Args:
            estimator: A trained estimator.
            mocks: Mock clusters, some thousand; at least 1000.
            seed: Of the halves.
            space: What to look at.

        Raises:
            ValueError: Too few mocks, or another space.
        """
        if len(mocks) < FEWEST:
            raise ValueError(f"Likeness.fit: {len(mocks)} mocks; needs at least {FEWEST}.")
        reference, aside = mocks.split(0.5, seed)
        features = features_of(estimator, reference, space)
        middle, axes, scale = _principal(features, seed)
        edges, bins = _bins(np.log(reference.n_galaxies), min(len(reference), len(aside)))
        centre, precision = _shapes(_positions(features, middle, axes, scale), bins, len(edges) + 1)
        blank = cls(space, middle, axes, scale, edges, centre, precision, np.zeros(0), np.zeros(len(centre) + 1, int))
        squared, bins = blank._distance(estimator, aside)
        order = np.lexsort((squared, bins))
        first = np.searchsorted(bins[order], np.arange(len(centre) + 1))
        fitted = replace(blank, distances=squared[order], first=first)
        return cls.from_arrays(fitted.to_arrays())  # rounded now: a file then says the same, to the last rank

    def distance(self, estimator: "MassEstimator", catalogue: Catalogue) -> Float[np.ndarray, "cluster"]:
        """Mahalanobis distance of each cluster from the middle of the mocks of like richness [1]."""
        return np.sqrt(self._distance(estimator, catalogue)[0])

    def p_value(self, estimator: "MassEstimator", catalogue: Catalogue) -> Float[np.ndarray, "cluster"]:
        """Share of mocks of like richness, kept aside, that are at least as far out; 1 / (their number + 1) at least.

        Args:
            estimator: The one that this was fitted with.
            catalogue: Mock or observed clusters.

        Raises:
            ValueError: The features are not those of the estimator that this was fitted with.
        """
        squared, bins = self._distance(estimator, catalogue)
        p = np.ones(len(squared))
        for each in np.unique(bins):
            aside = self.distances[self.first[each] : self.first[each + 1]]
            here = bins == each
            beyond = len(aside) - np.searchsorted(aside, squared[here], side="left")
            p[here] = (1 + beyond) / (1 + len(aside))
        return p

    def positions(self, estimator: "MassEstimator", catalogue: Catalogue) -> Float[np.ndarray, "cluster position"]:
        """Where clusters stand among mocks of like richness: of these the mean is 0, and the covariance unity.

        For tests of whole sets, such as `misspecification.set_mmd`.
        """
        offset, bins = self._offset(estimator, catalogue)
        root = np.linalg.cholesky(self.precision)  # precision = root @ root.T
        return np.einsum("ni,nij->nj", offset, root[bins])

    def _distance(
        self, estimator: "MassEstimator", catalogue: Catalogue
    ) -> tuple[Float[np.ndarray, "cluster"], Int[np.ndarray, "cluster"]]:
        offset, bins = self._offset(estimator, catalogue)
        return np.einsum("ni,nij,nj->n", offset, self.precision[bins], offset), bins

    def _offset(
        self, estimator: "MassEstimator", catalogue: Catalogue
    ) -> tuple[Float[np.ndarray, "cluster position"], Int[np.ndarray, "cluster"]]:
        features = features_of(estimator, catalogue, self.space)
        if len(catalogue) and features.shape[1] != len(self.middle):
            raise ValueError(
                f"Likeness: {features.shape[1]} features, fitted on {len(self.middle)}: this is of another estimator."
            )
        bins = np.searchsorted(self.edges, np.log(np.maximum(catalogue.n_galaxies, 1)))
        features = features.reshape(len(catalogue), len(self.middle))
        return _positions(features, self.middle, self.axes, self.scale) - self.centre[bins], bins

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The fields as arrays, for safetensors; floats in float32, the space as its number in `SPACES`."""
        arrays = {each.name: np.asarray(getattr(self, each.name)) for each in fields(self) if each.name != "space"}
        small = {name: a.astype(np.float32 if a.dtype.kind == "f" else np.int64) for name, a in arrays.items()}
        return {"space": np.array([SPACES.index(self.space)]), **small}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """The way back from `to_arrays`.

        Raises:
            ValueError: An array is missing, or their shapes do not belong together.
        """
        names = [each.name for each in fields(cls)]
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ValueError(f"Likeness: no {', '.join(missing)} in the file; it is damaged or of another version.")
        found = {name: np.asarray(arrays[name]) for name in names}
        if not _belong_together(found):
            raise ValueError("Likeness: arrays of shapes that do not belong together; the file is damaged.")
        return cls(SPACES[int(found.pop("space")[0])], **found)


def _belong_together(found: Mapping[str, np.ndarray]) -> bool:
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
    """Edges between bins of equal numbers of mocks, and each mock's bin."""
    n = max(1, min(MOST_BINS, fewest // A_BIN))
    edges = np.quantile(log_n, np.arange(1, n) / n)
    return edges, np.searchsorted(edges, log_n)


def _principal(
    features: Float[np.ndarray, "cluster feature"], seed: int
) -> tuple[Float[np.ndarray, "feature"], Float[np.ndarray, "component feature"], Float[np.ndarray, "component"]]:
    """Mean, directions and standard deviations of as many components as tell nearly all of the variance."""
    from sklearn.decomposition import PCA

    most = min(MOST_COMPONENTS, *features.shape)
    found = PCA(most, random_state=seed).fit(features)
    enough = np.searchsorted(np.cumsum(found.explained_variance_ratio_), EXPLAINED) + 1
    kept = min(int(enough), most)
    middle, axes, variance = (np.asarray(each) for each in (found.mean_, found.components_, found.explained_variance_))
    return middle, axes[:kept], np.sqrt(variance[:kept])


def _positions(
    features: Float[np.ndarray, "cluster feature"],
    middle: Float[np.ndarray, "feature"],
    axes: Float[np.ndarray, "component feature"],
    scale: Float[np.ndarray, "component"],
) -> Float[np.ndarray, "cluster position"]:
    """Components over their standard deviation, and the natural log of what they leave over."""
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

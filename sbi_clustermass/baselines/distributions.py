"""Support distribution machines: regression of log10 mass with a kernel on the distributions of clusters' galaxies.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import warnings
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.svm import NuSVR

from clustermocks.catalogue.catalogue import Catalogue
from sbi_clustermass.baselines.baseline import Prediction
from sbi_clustermass.baselines.distances import KINDS, NODES, Bags, Kind, SampleDistances
from sbi_clustermass.baselines.features import of_known_mass

BLOCK = 1000  # clusters whose tables are in memory at once
MASS_BIN = 0.1  # [dex]
FOLDS = 3  # Ho et al. 2019
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # [median distance] candidates for the width of the kernel
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # candidates for C of support vector regression
MOST_STEPS = 30_000  # steps of the solver; penalties that need more fit the noise, and are not chosen


@final
@dataclass(frozen=True)
class SupportDistribution:
    """Support vector regression with a kernel on distributions (Ntampaka et al. 2015, ApJ 803, 50; 2016, ApJ 831, 135).

    The kernel is exp(-D^2 / 2 s^2) of the distance D between two clusters (Sutherland et al. 2012, arXiv:1202.0302);
    its negative eigenvalues are set to 0. With "knn", k = 4 and three folds this is the comparison of Ho et al. 2019
    (McWilliamsCenter/halo_cnn), except that the divergence is symmetrised before the kernel, and with fewer clusters. s
    and the penalty are chosen by cross-validation; nu, the share of support vectors, is fixed. With "knn" and "kde" the
    number of galaxies affects only the noise. For tens of galaxies the noise of "knn" is as large as the divergences it
    measures; "kde" is the stronger baseline.

    The cost grows with the square of the training clusters, which are therefore a subset of the mocks, flat in mass.

    Attributes:
        dimensions: 1 for |v_los|; 2 for |v_los| and R_proj.
        distance: "knn", "kde" or "mmd": see `SampleDistances`.
        neighbours: Number of the neighbour, k of "knn".
        clusters: Largest number of training clusters.
        nu: Smallest share of support vectors.
    """

    dimensions: Literal[1, 2] = 1
    distance: Kind = "knn"
    neighbours: int = 4
    clusters: int = 1500
    nu: float = 0.5

    def __post_init__(self) -> None:
        if self.dimensions not in NODES or self.distance not in KINDS:
            raise ValueError(
                f"SupportDistribution: found dimensions={self.dimensions!r} and distance={self.distance!r}. "
                f"Choose 1 or 2, and one of {', '.join(KINDS)}."
            )
        if self.neighbours < 1 or self.clusters < 1 or not 0 < self.nu <= 1:
            found = f"neighbours={self.neighbours!r}, clusters={self.clusters!r}, nu={self.nu!r}"
            raise ValueError(f"SupportDistribution: found {found}. It needs 1 or more of both, and 0 < nu <= 1.")

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> "FittedDistribution":
        """Fit; the seed draws the training clusters.

        Raises:
            ValueError: Too few clusters of known mass with more galaxies than `neighbours`.
        """
        rich = mocks.select(mocks.n_galaxies > self.neighbours)
        known = of_known_mass("SupportDistribution", rich, least=4 * FOLDS)
        some = known.select(_flat_subset(known.log10_mass, self.clusters, seed))
        distances = SampleDistances.from_training_set(
            some, self.distance, dimensions=self.dimensions, neighbours=self.neighbours
        )
        return _fit(distances, self.nu, some)


@final
@dataclass(frozen=True)
class FittedDistribution:
    """A fitted support distribution machine.

    Attributes:
        distances: Kind of distance between clusters.
        train: The training clusters.
        coefficient: Coefficient of each training cluster's kernel, after the projection of negative eigenvalues [dex].
        intercept: Constant term [dex].
        width: Width s of the kernel, in the unit of the distance.
        scatter: Rms residual in cross-validation [dex]: the error of every prediction.
    """

    distances: SampleDistances
    train: Bags
    coefficient: Float[np.ndarray, "train"]
    intercept: float
    width: float
    scatter: float

    def predict(self, clusters: Catalogue) -> Prediction:
        """Predict masses; NaN for clusters with no more galaxies than `neighbours`.

        Raises:
            ValueError: The cylinder is larger than that of the training clusters.
        """
        mass, rows = np.full(len(clusters), np.nan), np.flatnonzero(clusters.n_galaxies > self.distances.neighbours)
        for block in np.split(rows, range(BLOCK, len(rows), BLOCK)):
            if len(block):
                distance = self.distances.between(self.distances.bags(clusters.select(block)), self.train)
                mass[block] = _kernel(distance, self.width) @ self.coefficient + self.intercept
        return Prediction.from_points(mass, self.scatter)


def _fit(distances: SampleDistances, nu: float, some: Catalogue) -> FittedDistribution:
    train = distances.bags(some)
    distance = distances.between(train, train)
    np.fill_diagonal(distance, 0)
    pairs = distance[np.triu_indices(len(distance), 1)]
    median = float(np.median(pairs) or pairs.max() or 1.0)  # estimates with many neighbours may all be 0
    mean, std = np.mean(some.log10_mass), np.std(some.log10_mass)
    target = (some.log10_mass - mean) / std
    searches = {
        width: _search(_clipped(_kernel(distance, width))[0], nu, target, some.host_id)
        for width in (share * median for share in WIDTHS)
    }
    width = max(searches, key=lambda each: searches[each].best_score_)
    machine, projection = searches[width].best_estimator_, _clipped(_kernel(distance, width))[1]
    coefficient = std * projection[:, machine.support_] @ machine.dual_coef_[0]
    intercept, scatter = mean + std * machine.intercept_[0], std * np.sqrt(-searches[width].best_score_)
    return FittedDistribution(distances, train, coefficient, float(intercept), width, float(scatter))


def _search(
    kernel: Float[np.ndarray, "train train"], nu: float, target: np.ndarray, hosts: Int[np.ndarray, "train"]
) -> GridSearchCV:
    """Choose the penalty by cross-validation over hosts; a precomputed kernel is split along both axes."""
    machine, folds = NuSVR(kernel="precomputed", nu=nu, max_iter=MOST_STEPS), GroupKFold(FOLDS)
    search = GridSearchCV(machine, {"C": PENALTIES}, scoring="neg_mean_squared_error", cv=folds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return search.fit(kernel, target, groups=hosts)


def _flat_subset(log10_mass: Float[np.ndarray, "cluster"], n: int, seed: int) -> Int[np.ndarray, "drawn"]:
    """Draw at most n clusters with weights that make their masses as flat as possible."""
    if len(log10_mass) <= n:
        return np.arange(len(log10_mass))
    cell = np.unique(np.floor(log10_mass / MASS_BIN), return_inverse=True)[1]
    weight = 1 / np.bincount(cell)[cell]
    drawn = np.random.default_rng(seed).choice(len(cell), n, replace=False, p=weight / weight.sum())
    return np.sort(drawn)


def _kernel(distance: Float[np.ndarray, "a b"], width: float) -> Float[np.ndarray, "a b"]:
    return np.exp(-0.5 * (distance / width) ** 2)


def _clipped(kernel: Float[np.ndarray, "train train"]) -> tuple[np.ndarray, np.ndarray]:
    """Kernel without its negative eigenvalues, and the projection that removes them from other clusters' rows.

    References:
        Chen et al. 2009, JMLR 10, 747.
    """
    value, vector = np.linalg.eigh(kernel)
    vector, value = vector[:, value > 0], value[value > 0]
    return (vector * value) @ vector.T, vector @ vector.T

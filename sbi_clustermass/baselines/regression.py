"""Regression of log10 mass on features of a cluster, with scikit-learn.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, final

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler, StandardScaler

from clustermocks.catalogue.catalogue import Catalogue
from sbi_clustermass.baselines.baseline import Prediction
from sbi_clustermass.baselines.features import Features, of_known_mass

FOLDS = 5  # Armitage et al. 2019
TREES_A_SPLIT = 1 / 3  # share of the features that a split of a random forest may choose from
Candidates: TypeAlias = Mapping[str, tuple[float, ...]]  # values for each setting of scikit-learn


@final
@dataclass(frozen=True)
class FittedRegression:
    """A fitted regression.

    Attributes:
        model: Predicts log10 mass [dex] from features.
        features: Computes the features of clusters, (cluster, feature).
        scatter: Rms residual in cross-validation [dex]: the error of every prediction.
        settings: Settings chosen by cross-validation.
    """

    model: BaseEstimator
    features: Callable[[Catalogue], np.ndarray]
    scatter: float
    settings: Mapping[str, float] = field(default_factory=dict)

    def predict(self, clusters: Catalogue) -> Prediction:
        """Predict masses; NaN for clusters of fewer than two galaxies."""
        table = self.features(clusters)
        known = np.isfinite(table).all(1)
        mass = np.full(len(clusters), np.nan)
        if known.any():
            mass[known] = self.model.predict(table[known])  # pyright: ignore[reportAttributeAccessIssue]
        return Prediction.from_points(mass, self.scatter)


@dataclass(frozen=True)
class Regression(ABC):
    """A regression of standardised log10 mass on features, whose settings are chosen by cross-validation.

    Attributes:
        features: Choice of features.
    """

    features: Features = field(default_factory=Features)

    @abstractmethod
    def _untrained(self, seed: int) -> tuple[BaseEstimator, Candidates]:
        """Untrained model of scikit-learn, and candidates for its settings."""

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> FittedRegression:
        """Choose the settings by cross-validation over hosts, and fit on all clusters.

        Args:
            mocks: Clusters of known mass.
            seed: Seed of what is random: landmarks, resampled clusters and features, weights, held-out clusters.

        Raises:
            ValueError: Too few clusters of known mass.
        """
        from sklearn.model_selection import GridSearchCV, GroupKFold

        known = of_known_mass(type(self).__name__, mocks, least=4 * FOLDS)
        model, candidates = self._untrained(seed)
        standard = TransformedTargetRegressor(model, transformer=StandardScaler())
        grid = {f"regressor__{name}": values for name, values in candidates.items()}
        folds = GroupKFold(FOLDS)  # no host on both sides
        search = GridSearchCV(standard, grid, scoring="neg_mean_squared_error", cv=folds)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "n_components > n_samples")  # then all clusters are landmarks
            search.fit(self.features(known), known.log10_mass, groups=known.host_id)
        settings = {name.rpartition("__")[2]: float(value) for name, value in search.best_params_.items()}
        return FittedRegression(search.best_estimator_, self.features, float(np.sqrt(-search.best_score_)), settings)


@final
@dataclass(frozen=True)
class LinearRegression(Regression):
    """Least squares (Armitage et al. 2019, MNRAS 484, 1526), without their elimination of features."""

    def _untrained(self, seed: int) -> tuple[BaseEstimator, Candidates]:
        from sklearn import linear_model

        return make_pipeline(RobustScaler(), linear_model.LinearRegression()), {}


@final
@dataclass(frozen=True)
class RidgeRegression(Regression):
    """Least squares with a penalty on the squared slopes (Armitage et al. 2019, MNRAS 484, 1526).

    Attributes:
        penalties: Candidates for cross-validation, as published.
    """

    penalties: tuple[float, ...] = tuple(np.linspace(0.1, 9.1, 21))

    def _untrained(self, seed: int) -> tuple[BaseEstimator, Candidates]:
        from sklearn.linear_model import Ridge

        return make_pipeline(RobustScaler(), Ridge()), {"ridge__alpha": self.penalties}


@final
@dataclass(frozen=True)
class KernelRidge(Regression):
    """Ridge regression with a Gaussian kernel exp(-gamma |x - y|^2) (Armitage et al. 2019, MNRAS 484, 1526).

    The kernel is approximated by Nystroem's method on landmarks drawn from the training set, so that memory grows as
    clusters times landmarks, not as clusters squared. It is exact with as many landmarks as clusters.

    Attributes:
        penalties: Candidates for cross-validation, as published.
        gammas: Candidates. The published ones are 0.01 to 100; with these features 10 is worse than 1 in
            cross-validation.
        landmarks: Largest number of landmarks.
    """

    penalties: tuple[float, ...] = (1.0, 0.1, 1e-2, 1e-3)
    gammas: tuple[float, ...] = (1e-3, 1e-2, 0.1, 1.0)
    landmarks: int = 500

    def _untrained(self, seed: int) -> tuple[BaseEstimator, Candidates]:
        from sklearn.kernel_approximation import Nystroem
        from sklearn.linear_model import RidgeCV

        nystroem = Nystroem(n_components=self.landmarks, random_state=seed)
        pipeline = make_pipeline(RobustScaler(), nystroem, RidgeCV(list(self.penalties)))
        return pipeline, {"nystroem__gamma": self.gammas}


@final
@dataclass(frozen=True)
class BoostedTrees(Regression):
    """Gradient-boosted trees, each corrected by the next, after Calderon & Berlind 2019 (MNRAS 490, 2367).

    Histogram trees of scikit-learn replace XGBoost, with its default depth and learning rate of that time. Instead of
    100 trees, training stops when a held-out tenth of the clusters no longer improves.

    Attributes:
        depth: Largest depth of a tree.
        learning_rate: Factor on each tree's correction.
        most: Largest number of trees.
    """

    depth: int = 3
    learning_rate: float = 0.1
    most: int = 500

    def _untrained(self, seed: int) -> tuple[BaseEstimator, Candidates]:
        from sklearn.ensemble import HistGradientBoostingRegressor

        trees = HistGradientBoostingRegressor(
            learning_rate=self.learning_rate,
            max_depth=self.depth,
            max_iter=self.most,
            early_stopping=True,  # pyright: ignore[reportArgumentType]
            random_state=seed,
        )
        return trees, {}


@final
@dataclass(frozen=True)
class RandomForest(Regression):
    """The mean of trees on resampled clusters, after Calderon & Berlind 2019 (MNRAS 490, 2367).

    They use the defaults of scikit-learn. Here leaves hold several clusters and a split sees a third of the features,
    which halves the time and changes the cross-validated scatter by less than a hundredth.

    Attributes:
        trees: Number of trees.
        leaf: Smallest number of clusters in a leaf.
    """

    trees: int = 100
    leaf: int = 5

    def _untrained(self, seed: int) -> tuple[BaseEstimator, Candidates]:
        from sklearn.ensemble import RandomForestRegressor

        forest = RandomForestRegressor(
            self.trees, min_samples_leaf=self.leaf, max_features=TREES_A_SPLIT, random_state=seed
        )
        return forest, {}


@final
@dataclass(frozen=True)
class NeuralNetwork(Regression):
    """A fully connected network, after Calderon & Berlind 2019 (MNRAS 490, 2367): three layers of 100, ReLU, Adam.

    Training stops early, on a held-out tenth of the clusters.

    Attributes:
        hidden: Widths of the layers.
    """

    hidden: tuple[int, ...] = (100, 100, 100)

    def _untrained(self, seed: int) -> tuple[BaseEstimator, Candidates]:
        from sklearn.neural_network import MLPRegressor

        network = MLPRegressor(hidden_layer_sizes=self.hidden, early_stopping=True, random_state=seed)
        return make_pipeline(StandardScaler(), network), {}

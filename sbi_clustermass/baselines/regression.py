"""Regression of log10 mass on features of a cluster, with scikit-learn.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, final

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


@final
@dataclass(frozen=True)
class FittedRegression:
    """A fitted regression.

    Attributes:
        model: Predicts log10 mass [dex] from features.
        features: Choice of features.
        scatter: Rms residual in cross-validation [dex]: the error of every prediction.
        settings: Settings chosen by cross-validation.
    """

    model: BaseEstimator
    features: Features
    scatter: float
    settings: Mapping[str, float]

    def predict(self, clusters: Catalogue) -> Prediction:
        """Predict masses; NaN for clusters of fewer than two galaxies."""
        table = self.features(clusters)
        known = np.isfinite(table).all(1)
        mass = np.full(len(clusters), np.nan)
        if known.any():
            mass[known] = self.model.predict(table[known])  # pyright: ignore[reportAttributeAccessIssue]
        return Prediction(mass, np.where(known, self.scatter, np.nan))


@final
@dataclass(frozen=True)
class LinearRegression:
    """Least squares (Armitage et al. 2019, MNRAS 484, 1526), without their elimination of features.

    Attributes:
        features: Choice of features.
    """

    features: Features = field(default_factory=Features)

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> FittedRegression:
        """Fit; the seed changes nothing.

        Raises:
            ValueError: Too few clusters of known mass.
        """
        from sklearn import linear_model

        return _fit(self, make_pipeline(RobustScaler(), linear_model.LinearRegression()), {}, mocks)


@final
@dataclass(frozen=True)
class RidgeRegression:
    """Least squares with a penalty on the squared slopes (Armitage et al. 2019, MNRAS 484, 1526).

    Attributes:
        features: Choice of features.
        penalties: Candidates for cross-validation, as published.
    """

    features: Features = field(default_factory=Features)
    penalties: tuple[float, ...] = tuple(np.linspace(0.1, 9.1, 21))

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> FittedRegression:
        """Fit; the seed changes nothing.

        Raises:
            ValueError: Too few clusters of known mass.
        """
        from sklearn.linear_model import Ridge

        return _fit(self, make_pipeline(RobustScaler(), Ridge()), {"ridge__alpha": self.penalties}, mocks)


@final
@dataclass(frozen=True)
class KernelRidge:
    """Ridge regression with a Gaussian kernel exp(-gamma |x - y|^2) (Armitage et al. 2019, MNRAS 484, 1526).

    The kernel is approximated by Nystroem's method on landmarks drawn from the training set, so that memory grows as
    clusters times landmarks, not as clusters squared. It is exact with as many landmarks as clusters.

    Attributes:
        features: Choice of features.
        penalties: Candidates for cross-validation, as published.
        gammas: Candidates. The published ones are 0.01 to 100; with these features 10 is worse than 1 in
            cross-validation.
        landmarks: Largest number of landmarks.
    """

    features: Features = field(default_factory=Features)
    penalties: tuple[float, ...] = (1.0, 0.1, 1e-2, 1e-3)
    gammas: tuple[float, ...] = (1e-3, 1e-2, 0.1, 1.0)
    landmarks: int = 500

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> FittedRegression:
        """Fit; the seed draws the landmarks.

        Raises:
            ValueError: Too few clusters of known mass.
        """
        from sklearn.kernel_approximation import Nystroem
        from sklearn.linear_model import RidgeCV

        nystroem = Nystroem(n_components=self.landmarks, random_state=seed)
        pipeline = make_pipeline(RobustScaler(), nystroem, RidgeCV(list(self.penalties)))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "n_components > n_samples")  # then all clusters are landmarks
            return _fit(self, pipeline, {"nystroem__gamma": self.gammas}, mocks)


@final
@dataclass(frozen=True)
class BoostedTrees:
    """Gradient-boosted trees, each corrected by the next, after Calderon & Berlind 2019 (MNRAS 490, 2367).

    Histogram trees of scikit-learn replace XGBoost, with its default depth and learning rate of that time. Instead of
    100 trees, training stops when a held-out tenth of the clusters no longer improves.

    Attributes:
        features: Choice of features.
        depth: Largest depth of a tree.
        learning_rate: Factor on each tree's correction.
        most: Largest number of trees.
    """

    features: Features = field(default_factory=Features)
    depth: int = 3
    learning_rate: float = 0.1
    most: int = 500

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> FittedRegression:
        """Fit; the seed chooses the held-out clusters.

        Raises:
            ValueError: Too few clusters of known mass.
        """
        from sklearn.ensemble import HistGradientBoostingRegressor

        trees = HistGradientBoostingRegressor(
            learning_rate=self.learning_rate,
            max_depth=self.depth,
            max_iter=self.most,
            early_stopping=True,  # pyright: ignore[reportArgumentType]
            random_state=seed,
        )
        return _fit(self, trees, {}, mocks)


@final
@dataclass(frozen=True)
class RandomForest:
    """The mean of trees on resampled clusters, after Calderon & Berlind 2019 (MNRAS 490, 2367).

    They use the defaults of scikit-learn. Here leaves hold several clusters and a split sees a third of the features,
    which halves the time and changes the cross-validated scatter by less than a hundredth.

    Attributes:
        features: Choice of features.
        trees: Number of trees.
        leaf: Smallest number of clusters in a leaf.
    """

    features: Features = field(default_factory=Features)
    trees: int = 100
    leaf: int = 5

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> FittedRegression:
        """Fit; the seed resamples clusters and features.

        Raises:
            ValueError: Too few clusters of known mass.
        """
        from sklearn.ensemble import RandomForestRegressor

        forest = RandomForestRegressor(
            self.trees, min_samples_leaf=self.leaf, max_features=TREES_A_SPLIT, random_state=seed
        )
        return _fit(self, forest, {}, mocks)


@final
@dataclass(frozen=True)
class NeuralNetwork:
    """A fully connected network, after Calderon & Berlind 2019 (MNRAS 490, 2367): three layers of 100, ReLU, Adam.

    Training stops early, on a held-out tenth of the clusters.

    Attributes:
        features: Choice of features.
        hidden: Widths of the layers.
    """

    features: Features = field(default_factory=Features)
    hidden: tuple[int, ...] = (100, 100, 100)

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> FittedRegression:
        """Fit; the seed sets the weights and the held-out clusters.

        Raises:
            ValueError: Too few clusters of known mass.
        """
        from sklearn.neural_network import MLPRegressor

        network = MLPRegressor(hidden_layer_sizes=self.hidden, early_stopping=True, random_state=seed)
        return _fit(self, make_pipeline(StandardScaler(), network), {}, mocks)


class _Choice(Protocol):
    @property
    def features(self) -> Features: ...


def _fit(choice: _Choice, model: BaseEstimator, grid: Mapping[str, object], mocks: Catalogue) -> FittedRegression:
    """Choose the settings by cross-validation over hosts, fit on all clusters, and keep the cross-validated scatter."""
    from sklearn.model_selection import GridSearchCV, GroupKFold

    known = of_known_mass(type(choice).__name__, mocks, least=4 * FOLDS)
    standard = TransformedTargetRegressor(model, transformer=StandardScaler())
    grid = {f"regressor__{name}": values for name, values in grid.items()}
    folds = GroupKFold(FOLDS)  # no host on both sides
    search = GridSearchCV(standard, grid, scoring="neg_mean_squared_error", cv=folds)
    search.fit(choice.features(known), known.log10_mass, groups=known.host_id)
    settings = {name.rpartition("__")[2]: float(value) for name, value in search.best_params_.items()}
    return FittedRegression(search.best_estimator_, choice.features, float(np.sqrt(-search.best_score_)), settings)

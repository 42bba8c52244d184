"""Masses from one observable, by a straight line between its logarithm and log10 mass.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self, final

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.io.registry import lookup
from sbi_clustermass.baselines.baseline import Prediction
from sbi_clustermass.baselines.mass_function_prior import PRIORS, MassFunctionPrior, Prior, training_weights

PIVOT_MASS = 15.0  # log10 of h^-1 Msun
NARROWEST = 1e-4  # dex: velocities are kept in float32

Observable = Callable[[Catalogue], Float[np.ndarray, "cluster"]]
Direction = Literal["inverted", "inverse"]
DIRECTIONS = {"inverted": "observable on mass, inverted", "inverse": "mass on observable"}
Values = Float[np.ndarray, "cluster"]


@final
@dataclass(frozen=True)
class Line:
    """y = intercept + slope (x - pivot), with a Gaussian scatter.

    Attributes:
        slope: dy / dx.
        intercept: y at the pivot.
        scatter: Standard deviation of y about the line; NaN if unknown.
        pivot: Value of x at which `intercept` is quoted.
    """

    slope: float
    intercept: float
    scatter: float = np.nan
    pivot: float = PIVOT_MASS

    @classmethod
    def fit(cls, x: Values, y: Values, *, weights: Values) -> Self:
        """Fit y on x by weighted least squares, with the mean x as the pivot."""
        if len(x) < 3 or min(np.ptp(x), np.ptp(y)) < NARROWEST:
            found = f"{len(x)} clusters" if len(x) < 3 else "all of them equal"
            raise ValueError(
                "a line between mass and observable needs three or more clusters of different known mass and "
                f"observable, found {found}."
            )
        share = weights / weights.sum()
        pivot = float(share @ x)
        slope, intercept = np.polyfit(x - pivot, y, 1, w=np.sqrt(share))
        variance = share @ (y - intercept - slope * (x - pivot)) ** 2
        number = 1 / (share @ share)  # effective number of clusters
        scatter = np.sqrt(variance * number / max(number - 2, 1.0))
        return cls(float(slope), float(intercept), float(scatter), pivot)

    def __call__(self, x: ArrayLike) -> Values:
        """Evaluate y on the line."""
        return self.intercept + self.slope * (np.asarray(x, float) - self.pivot)

    def inverse(self, y: ArrayLike) -> Values:
        """Solve for the x at which the line has y."""
        return self.pivot + (np.asarray(y, float) - self.intercept) / self.slope


@final
@dataclass(frozen=True)
class PointMasses:
    """Masses from a line between an observable and log10 mass, with its scatter as their error.

    Attributes:
        observable: Computes the observable [dex].
        line: Line of log10 mass on the observable; or of the observable on log10 mass, to be inverted.
        inverted: Whether the line is inverted; the error is then scatter over slope.
    """

    observable: Observable
    line: Line
    inverted: bool

    def predict(self, clusters: Catalogue) -> Prediction:
        """Predict masses; NaN for clusters without the observable."""
        x, line = self.observable(clusters), self.line
        if self.inverted:
            return Prediction.from_points(line.inverse(x), line.scatter / abs(line.slope))
        return Prediction.from_points(line(x), line.scatter)


@final
@dataclass(frozen=True)
class Bayesian:
    """Posteriors from the line of an observable on mass and the mass function.

    Attributes:
        observable: Computes the observable [dex].
        line: Line of the observable on log10 mass, with Gaussian scatter.
        abundance: Mass function and selection.
    """

    observable: Observable
    line: Line
    abundance: MassFunctionPrior

    def predict(self, clusters: Catalogue) -> Prediction:
        """Multiply N(observable | line(log10 M), scatter) by the mass function and P(selected | M)."""
        x = self.observable(clusters)
        offset = (x[:, None] - self.line(self.abundance.grid)) / self.line.scatter
        return self.abundance.prediction(-0.5 * offset**2, clusters, np.isfinite(x))


FittedRelation = PointMasses | Bayesian


@final
@dataclass(frozen=True)
class LinearRelation:
    """Choice of the line and of the masses for which it is fitted.

    Attributes:
        direction: "inverted", the line of the observable on mass, inverted (Ho et al. 2019, ApJ 887, 25):
            unbiased at fixed true mass, with a larger scatter; or "inverse", the line of mass on the
            observable: the best linear predictor for clusters with the same distribution of masses as those of the fit.
        prior: "flat", the masses of the mocks; or "mass-function" (Tinker et al. 2008, at the mocks' redshift
            and in their cosmology, under their selection). The latter weights the training clusters, because the best
            line depends on their masses if the relation is not straight. With "inverted" the line is then a
            likelihood, which is multiplied by the mass function.
    """

    direction: Direction = "inverted"
    prior: Prior = "flat"

    def __post_init__(self) -> None:
        lookup("direction", self.direction, DIRECTIONS)
        lookup("prior", self.prior, PRIORS)

    def fit(self, observable: Observable, mocks: Catalogue) -> FittedRelation:
        """Fit the line to mocks of known mass."""
        x, mass = observable(mocks), mocks.log10_mass
        known = np.isfinite(x) & np.isfinite(mass)
        pairs = (x[known], mass[known]) if self.direction == "inverse" else (mass[known], x[known])
        line = Line.fit(*pairs, weights=np.ones(len(pairs[0])))  # refuses clusters on which no prior can be measured
        if self.prior == "mass-function":
            line = Line.fit(*pairs, weights=training_weights(mocks, self.prior)[known])
        if self.prior == "mass-function" and self.direction == "inverted":
            return Bayesian(observable, line, MassFunctionPrior.from_mocks(mocks))
        return PointMasses(observable, line, inverted=self.direction == "inverted")

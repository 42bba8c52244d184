"""Masses from projected distances alone, without velocities or the number of galaxies.

True members that are cut off at R_vir reveal the mass by their outermost distance, M proportional to R^3. A result on
pure catalogues is therefore meaningful only when compared with this one. Masses are M200c [h^-1 Msun] as log10_mass
[dex], lengths comoving [h^-1 Mpc].
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.io.registry import lookup
from sbi_clustermass.baselines.mass_function_prior import PRIORS, Prior, training_weights
from sbi_clustermass.baselines.regression import FittedRegression
from sbi_clustermass.baselines.virial import NEAREST

QUANTILES = (0.25, 0.5, 0.75)
_FEATURES = 3 + len(QUANTILES)


def radial_statistics(clusters: Catalogue) -> Float[np.ndarray, "cluster statistic"]:
    """Log10 of the largest, mean, harmonic mean R_proj and its quartiles [dex of h^-1 Mpc]; NaN without galaxies.

    Distances under .01 h^-1 Mpc count as .01.
    """
    found = [_statistics(clusters.galaxies(i)[0].astype(float)) for i in range(len(clusters))]
    return np.log10(np.array(found, float).reshape(len(clusters), _FEATURES))


def _statistics(R_proj: Float[np.ndarray, "galaxy"]) -> list[float]:
    if not R_proj.size:
        return [np.nan] * _FEATURES
    R = np.maximum(R_proj, NEAREST)
    return [float(x) for x in (R.max(), R.mean(), 1 / np.mean(1 / R), *np.quantile(R, QUANTILES))]


@final
@dataclass(frozen=True)
class Aperture:
    """Linear least squares of log10 M on `radial_statistics`.

    Attributes:
        prior: "flat", or "mass-function", under which training clusters are weighted (`training_weights`).
    """

    prior: Prior = "flat"

    def __post_init__(self) -> None:
        lookup("prior", self.prior, PRIORS)

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> FittedRegression:
        """Fit the regression to mocks of known mass; nothing is random.

        Raises:
            ValueError: There are no more clusters of known mass than coefficients.
        """
        from sklearn.linear_model import LinearRegression

        statistics, mass = radial_statistics(mocks), mocks.log10_mass
        known = np.isfinite(mass) & np.isfinite(statistics).all(axis=1)
        n, free = int(known.sum()), _FEATURES + 1
        if n <= free:
            raise ValueError(f"an aperture mass needs more than {free} clusters of known mass, found {n}.")
        weights = training_weights(mocks, self.prior)[known]
        regression = LinearRegression().fit(statistics[known], mass[known], sample_weight=weights)
        squares = (mass[known] - regression.predict(statistics[known])) ** 2
        scatter = float(np.sqrt(np.average(squares, weights=weights) * n / (n - free)))
        return FittedRegression(regression, radial_statistics, scatter)

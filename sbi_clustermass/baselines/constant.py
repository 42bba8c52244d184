"""The mean mass of the training set, whatever is observed: the baseline that every method must beat.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.io.registry import lookup
from sbi_clustermass.baselines.baseline import Prediction
from sbi_clustermass.baselines.mass_function_prior import PRIORS, MassFunctionPrior, Prior


@final
@dataclass(frozen=True)
class ConstantMass:
    """One mass for every cluster.

    Attributes:
        mean: Log10 mass [dex].
        std: Error of the mass [dex].
    """

    mean: float
    std: float

    def predict(self, clusters: Catalogue) -> Prediction:
        """Repeat the mean and the error for each cluster."""
        return Prediction.from_points(np.full(len(clusters), self.mean), self.std)


@final
@dataclass(frozen=True)
class ConstantPosterior:
    """The prior as every cluster's posterior.

    Attributes:
        abundance: Mass function and selection.
    """

    abundance: MassFunctionPrior

    def predict(self, clusters: Catalogue) -> Prediction:
        """Repeat the mass function times P(selected | mass) for each cluster."""
        nothing = np.zeros((len(clusters), len(self.abundance.grid)))
        return self.abundance.prediction(nothing, clusters, np.ones(len(clusters), bool))


@final
@dataclass(frozen=True)
class Constant:
    """The mean mass, whatever is observed.

    Attributes:
        prior: "flat" for the mean and standard deviation of the training masses; "mass-function" for the mass function
            over their range and under their selection (`MassFunctionPrior`).
    """

    prior: Prior = "flat"

    def __post_init__(self) -> None:
        lookup("prior", self.prior, PRIORS)

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> ConstantMass | ConstantPosterior:
        """Average the masses of mocks; nothing is random.

        Raises:
            ValueError: Fewer than three clusters of known mass, or all of one mass.
        """
        known = mocks.log10_mass[np.isfinite(mocks.log10_mass)]
        if len(known) < 3 or np.ptp(known) == 0:
            raise ValueError(f"a mean mass needs three or more clusters of different known mass, found {len(known)}.")
        if self.prior == "mass-function":
            return ConstantPosterior(MassFunctionPrior.from_mocks(mocks))
        return ConstantMass(float(known.mean()), float(known.std(ddof=1)))

"""Interface of the baselines: fit to mocks, then predict the masses of clusters.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import dataclass
from typing import Protocol, Self, final

import numpy as np
from jaxtyping import Float

from clustermocks.catalogue.catalogue import Catalogue
from sbi_clustermass.posterior import MassPosteriors


@final
@dataclass(frozen=True)
class Prediction:
    """Masses of clusters, with errors where the method has them.

    Attributes:
        log10_mass: Point estimates [dex], (cluster,); NaN where the method gives none.
        std: Gaussian errors of the points [dex], (cluster,); NaN where there is no point.
        posteriors: Whole posteriors, if the method has them; `log10_mass` and `std` are then their moments.
    """

    log10_mass: Float[np.ndarray, "cluster"]
    std: Float[np.ndarray, "cluster"] | None = None
    posteriors: MassPosteriors | None = None

    @classmethod
    def from_points(cls, log10_mass: Float[np.ndarray, "cluster"], scatter: float) -> Self:
        """Give all points the same error."""
        return cls(log10_mass, np.where(np.isfinite(log10_mass), scatter, np.nan))

    @classmethod
    def from_posteriors(cls, posteriors: MassPosteriors) -> Self:
        """Take means and standard deviations from posteriors."""
        return cls(posteriors.mean, posteriors.std, posteriors)


class Fitted(Protocol):
    """A method that has been fitted."""

    def predict(self, clusters: Catalogue) -> Prediction:
        """Predict masses; the true masses of the clusters, if known, are not used."""
        ...


class Baseline(Protocol):
    """A method and its settings, as a frozen dataclass."""

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> Fitted:
        """Fit to clusters of known mass; methods without free parameters ignore them.

        Raises:
            ValueError: Too few clusters of known mass.
        """
        ...

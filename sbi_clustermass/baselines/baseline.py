"""What every rival of the flows can do: learn from mocks, and predict the masses of clusters.

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
        log10_mass: The point estimate [dex], (cluster,); NaN where the method gives none.
        std: Its error [dex], (cluster,), read as that of a Gaussian; NaN where there is no point.
        posteriors: Whole posteriors, where the method has them; then `log10_mass` and `std` are theirs.
    """

    log10_mass: Float[np.ndarray, "cluster"]
    std: Float[np.ndarray, "cluster"] | None = None
    posteriors: MassPosteriors | None = None

    @classmethod
    def from_posteriors(cls, posteriors: MassPosteriors) -> Self:
        """Posteriors with their means and standard deviations."""
        return cls(posteriors.mean, posteriors.std, posteriors)


class Fitted(Protocol):
    """A method that is ready to predict."""

    def predict(self, clusters: Catalogue) -> Prediction:
        """Masses of clusters; their own masses, where they have any, are not looked at."""
        ...


class Baseline(Protocol):
    """A choice of method, before it has seen any mocks: a frozen dataclass of settings."""

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> Fitted:
        """Learn from clusters of known mass. Methods that need no training only look at their settings.

        Raises:
            ValueError: Too few clusters of known mass.
        """
        ...

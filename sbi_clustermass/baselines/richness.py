"""Masses from the number of galaxies alone."""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float

from clustermocks.catalogue.catalogue import Catalogue
from sbi_clustermass.baselines.linear_relation import Direction, FittedRelation, LinearRelation
from sbi_clustermass.baselines.mass_function_prior import Prior


def log_richness(clusters: Catalogue) -> Float[np.ndarray, "cluster"]:
    """Log10 of the number of galaxies in the cylinder, interlopers included; NaN without galaxies."""
    n = clusters.n_galaxies.astype(float)
    return np.log10(np.where(n > 0, n, np.nan))


@final
@dataclass(frozen=True)
class Richness:
    """A straight line between log10 N and log10 M, for N galaxies in the cylinder.

    In mocks that are complete to one limit, richness traces the mass; in a survey it also depends on depth and
    completeness.

    Attributes:
        direction: Which line is fitted (`LinearRelation`).
        prior: Distribution of masses for which it is fitted (`LinearRelation`).
    """

    direction: Direction = "inverse"
    prior: Prior = "flat"

    def __post_init__(self) -> None:
        LinearRelation(self.direction, self.prior)  # which refuses unknown names

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> FittedRelation:
        """Fit the line to mocks of known mass; nothing is random.

        Raises:
            ValueError: Fewer than three clusters of known and different mass and richness.
        """
        return LinearRelation(self.direction, self.prior).fit(log_richness, mocks)

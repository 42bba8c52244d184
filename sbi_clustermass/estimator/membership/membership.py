"""Probabilities of membership of a cluster's galaxies, averaged over its mass posterior.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import dataclass
from typing import Self, final

import numpy as np
import torch
from jaxtyping import Float

from clustermocks import Catalogue
from clustermocks.kinematics.padding import rows_of_runs
from sbi_clustermass.estimator.membership.network import DEFINITIONS, MembershipNetwork
from sbi_clustermass.estimator.membership.training import SLOTS, train_network
from sbi_clustermass.flows.evaluation import batches_of
from sbi_clustermass.posterior import MassPosteriors

MASSES = 16  # of each posterior, each as probable


@final
@dataclass(frozen=True, eq=False)
class Membership:
    """A network of p(member | R, v, M, cluster), trained at true masses; `fit` makes one.

    Attributes:
        network: Trained network.
    """

    network: MembershipNetwork

    @classmethod
    def fit(cls, mocks: Catalogue, *, richness: bool, conditions: bool, seed: int) -> Self:
        """Train on mocks that hold the truth of each galaxy.

        Args:
            mocks: Clusters drawn and observed as the estimator's training set was; a few ten thousand.
            richness: Whether the number of galaxies may count, as it does for the mass.
            conditions: Whether redshift, velocity errors and cleaning are inputs of the network.
            seed: Seed of weights, batches and validation.

        Raises:
            ValueError: There are too few mocks, or they do not hold masses and truths.
        """
        return cls(train_network(mocks, richness=richness, conditions=conditions, seed=seed))

    @torch.no_grad()
    def probabilities(
        self, catalogue: Catalogue, log10_mass: Float[np.ndarray, "mass cluster"]
    ) -> Float[np.ndarray, "galaxy definition"]:
        """Mean probability over some equally probable masses of each cluster [dex].

        Galaxies are in the order of `Catalogue.galaxy_column`, definitions in that of `DEFINITIONS`.
        """
        n = catalogue.n_galaxies
        first, out = np.cumsum(n) - n, np.zeros((int(n.sum()), len(DEFINITIONS)))
        for rows in batches_of(n, slots=SLOTS):
            x = torch.from_numpy(catalogue.select(rows).padded(conditions=self.network.features.conditions))
            galaxies = rows_of_runs(first[rows], n[rows])
            for masses in log10_mass[:, rows]:
                features = self.network.features(x, torch.from_numpy(masses.astype(np.float32)))
                out[galaxies] += self.network(features).numpy() / len(log10_mass)
        return out

    def memberships(self, catalogue: Catalogue, posteriors: MassPosteriors) -> Float[np.ndarray, "galaxy definition"]:
        """Probabilities given the data alone: the mean over 16 equally probable parts of each mass posterior."""
        return self.probabilities(catalogue, posteriors.quantile((np.arange(MASSES) + 0.5) / MASSES))

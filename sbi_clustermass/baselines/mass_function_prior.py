"""The mass function as a prior, under the selection of the training mocks.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; densities are per dex; `log_` is natural.
"""

from dataclasses import dataclass
from typing import Literal, Self, final

import numpy as np
from jaxtyping import Float

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.haloes.mass_distributions import HaloMassFunction
from clustermocks.selection import fit_selection
from sbi_clustermass.baselines.baseline import Prediction
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.posterior.prior import fit_effective_prior

Prior = Literal["flat", "mass-function"]
PRIORS = {"flat": "the masses of the mocks", "mass-function": "Tinker et al. 2008 over their range"}

_MASSES = 256


@final
@dataclass(frozen=True)
class MassFunctionPrior:
    """Prior of selected clusters over the training range.

    Attributes:
        grid: Log10 mass [dex], (mass,).
        log_prior: Natural log of the mass function's density, normalised over the range [1/dex], (mass,).
        log_selected: Natural log of P(selected | mass) of the mocks, (mass,).
    """

    grid: Float[np.ndarray, "mass"]
    log_prior: Float[np.ndarray, "mass"]
    log_selected: Float[np.ndarray, "mass"]

    @classmethod
    def from_mocks(cls, mocks: Catalogue) -> Self:
        """Tabulate Tinker et al. 2008 at the redshift and in the cosmology of mocks, over the range of their masses."""
        masses = _mass_function(mocks)
        grid = np.linspace(masses.low, masses.high, _MASSES)
        log_prior = np.log(masses.density(grid) / masses.number_density())
        return cls(grid, log_prior, fit_selection(*mocks.attempted()).log(grid))

    def prediction(
        self, log_likelihood: Float[np.ndarray, "cluster mass"], clusters: Catalogue, found: np.ndarray
    ) -> Prediction:
        """Multiply a likelihood by the prior: posteriors of selected clusters.

        Args:
            log_likelihood: Natural log of p(observable | mass, selected) on the grid.
            clusters: Give the names.
            found: Whether a cluster has the observable, (cluster,). A cluster without it keeps the prior as its
                posterior, and gets no point estimate.
        """
        log_prob = self.log_selected + self.log_prior + np.where(found[:, None], log_likelihood, 0.0)
        posteriors = MassPosteriors.from_log_prob(self.grid, log_prob, log_prior=self.log_prior, names=clusters.names)
        point = np.where(found, posteriors.mean, np.nan)
        return Prediction(point, np.where(found, posteriors.std, np.nan), posteriors)


def training_weights(mocks: Catalogue, prior: Prior) -> Float[np.ndarray, "cluster"]:
    """Weights of training clusters, (cluster,): all 1, or the mass function over the density of their masses.

    That density is the one before selection, so that the weighted clusters are distributed as those that a survey with
    the same cuts would select.
    """
    if prior == "flat":
        return np.ones(len(mocks))
    masses = _mass_function(mocks)
    own = fit_effective_prior(mocks, (masses.low, masses.high)).log_density(mocks.log10_mass)
    weight = masses.density(mocks.log10_mass) / np.exp(own)
    return weight / weight.mean()


def _mass_function(mocks: Catalogue) -> HaloMassFunction:
    """Mass function over the range of the mocks' masses, rounded outwards to .01 dex."""
    unknown = int(np.sum(~np.isfinite(mocks.attempted()[0])))
    if unknown or not len(mocks):
        raise ValueError(
            f"prior='mass-function' needs mocks, and the mass of all that were attempted; found {len(mocks)} clusters "
            f"and {unknown} unknown masses. Leave out clusters of unknown mass, or choose prior='flat'."
        )
    mass, observation = mocks.log10_mass, mocks.observation
    low, high = np.floor(mass.min() * 100) / 100, np.ceil(mass.max() * 100) / 100
    return HaloMassFunction("tinker08", float(low), float(high), observation.redshift, mocks.cosmology)

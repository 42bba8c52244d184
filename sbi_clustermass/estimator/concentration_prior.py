"""The concentration of a cluster of which only the mass is inferred: that of haloes of its mass.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from clustermocks import Catalogue, Cosmology
from clustermocks.catalogue.parameters import MASS
from clustermocks.haloes.satellites import HaloGalaxies
from clustermocks.haloes.structure import draw_haloes
from sbi_clustermass.posterior import MassPosteriors, Posteriors


@final
@dataclass(frozen=True)
class ConcentrationPrior:
    """Concentrations of haloes of each mass and redshift, lognormal about the median (Diemer & Joyce 2019).

    M500c follows from the mass of an estimator of the mass alone, with the concentration marginalised.

    Attributes:
        cosmology: Cosmology of the haloes.
        scatter: Standard deviation of log10 c200c at a mass [dex].
    """

    cosmology: Cosmology
    scatter: float = HaloGalaxies.concentration_scatter

    def draw(
        self, of_mass: MassPosteriors, catalogue: Catalogue, n: int, *, each: int = 1, seeds: Sequence[int]
    ) -> Posteriors:
        """Draw masses and concentrations, as `GivenMass.draw` does."""
        mass = np.repeat(of_mass.stratified(n, seeds), each, axis=1)
        redshift = catalogue.observation_column("redshift")
        log10_c = np.stack([self._concentrations(*row) for row in zip(mass, redshift.tolist(), seeds, strict=True)])
        ends = float(np.floor(log10_c.min())), float(np.ceil(log10_c.max()))
        return Posteriors(
            parameters=(MASS, "log10_c200c"),
            samples=np.stack([mass, log10_c], axis=2),
            low=np.array([of_mass.grid[0], ends[0]]),
            high=np.array([of_mass.grid[-1], ends[1]]),
            names=of_mass.names,
            redshift=redshift,
        )

    def _concentrations(self, log10_mass: np.ndarray, redshift: float, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        haloes = draw_haloes(
            log10_mass, rng, concentration_scatter=self.scatter, redshift=redshift, cosmology=self.cosmology
        )
        return np.log10(haloes.c_200c)

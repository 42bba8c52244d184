"""The result of one observed cluster: a mass, or the reason why there is none.

Masses are M200c [h^-1 Msun] as log10_mass [dex], velocities [km/s].
"""

from dataclasses import dataclass
from typing import TypeAlias, final

from clustermocks.kinematics.dispersion import Dispersion
from sbi_clustermass.observations.tables import ObservedCluster
from sbi_clustermass.posterior import MassPosteriors

LEVELS = (0.025, 0.16, 0.5, 0.84, 0.975)


@final
@dataclass(frozen=True)
class MassResult:
    """Mass of one observed cluster.

    Attributes:
        cluster: The cluster as it was read.
        posterior: Mass posterior, one row.
        mean: Posterior mean of log10 mass [dex]: the point estimate.
        std: Posterior standard deviation of log10 mass [dex].
        quantiles: Quantiles of log10 mass at `LEVELS` [dex].
        dispersion: Robust velocity dispersion of the galaxies used.
        log10_mass_m_sigma: Mass for that dispersion by Evrard et al. 2008 [dex].
        warnings: Reasons to doubt the mass.
    """

    cluster: ObservedCluster
    posterior: MassPosteriors
    mean: float
    std: float
    quantiles: tuple[float, ...]
    dispersion: Dispersion
    log10_mass_m_sigma: float
    warnings: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the cluster."""
        return self.cluster.name

    @property
    def percentiles(self) -> tuple[float, float, float]:
        """16th, 50th and 84th percentile of log10 mass [dex]."""
        return self.quantiles[1], self.quantiles[2], self.quantiles[3]


@final
@dataclass(frozen=True)
class NoMassResult:
    """A cluster, or a whole table, without a mass.

    Attributes:
        name: Name of the cluster, or of the table.
        reason: Reason why; several lines where there is something to try.
        cluster: The cluster, where it could be read but has too few galaxies or is refused.
    """

    name: str
    reason: str
    cluster: ObservedCluster | None = None


ClusterResult: TypeAlias = MassResult | NoMassResult

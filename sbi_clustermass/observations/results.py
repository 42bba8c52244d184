"""What a cluster gets: a mass, or the reason why there is none.

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
    """The mass of one observed cluster.

    Attributes:
        cluster: The cluster as it was read.
        posterior: Its mass posterior, one row.
        mean: Posterior mean of log10 mass [dex]: the point estimate.
        std: Posterior standard deviation of log10 mass [dex].
        quantiles: Of log10 mass at `LEVELS` [dex].
        dispersion: Robust velocity dispersion of the galaxies used.
        log10_mass_m_sigma: The mass that Evrard et al. 2008 give to that dispersion [dex].
        warnings: Why the mass should not be trusted.
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
        """Of the cluster."""
        return self.cluster.name

    @property
    def percentiles(self) -> tuple[float, float, float]:
        """16th, 50th and 84th percentile of log10 mass [dex]."""
        return self.quantiles[1], self.quantiles[2], self.quantiles[3]

    @property
    def velocity_dispersion(self) -> float:
        """Of the galaxies used, without outliers [km/s]."""
        return self.dispersion.value


@final
@dataclass(frozen=True)
class NoMassResult:
    """A cluster, or a whole table, that gave no mass.

    Attributes:
        name: Of the cluster, or of the table.
        reason: Why; several lines where there is something to try.
        cluster: The cluster, where it could be read but has too few galaxies or is refused.
    """

    name: str
    reason: str
    cluster: ObservedCluster | None = None


ClusterResult: TypeAlias = MassResult | NoMassResult

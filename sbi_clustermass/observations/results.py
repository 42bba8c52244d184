"""The result of one observed cluster: a mass, or the reason why there is none.

Masses are M200c [h^-1 Msun] as log10_mass [dex], velocities [km/s].
"""

from dataclasses import dataclass
from typing import TypeAlias, final

from clustermocks.kinematics.dispersion import Dispersion
from sbi_clustermass.estimator.verdict import Grade, Reason, verdict
from sbi_clustermass.observations.tables import ObservedCluster
from sbi_clustermass.posterior import MassPosteriors, Posteriors

LEVELS = (0.025, 0.16, 0.5, 0.84, 0.975)
TAIL = 0.02  # share of the posterior: calibration is tested to one in a hundred, and there by few mocks


@final
@dataclass(frozen=True)
class Mode:
    """One of two modes of a posterior.

    Attributes:
        log10_mass: Median of the mode [dex].
        share: Probability of the mode [1].
    """

    log10_mass: float
    share: float


@final
@dataclass(frozen=True)
class MassResult:
    """Mass of one observed cluster.

    Attributes:
        cluster: The cluster as it was read.
        posterior: Mass posterior, one row.
        mean: Posterior mean of log10 mass [dex].
        std: Posterior standard deviation of log10 mass [dex].
        quantiles: Quantiles of log10 mass at `LEVELS` [dex]; the median is the point estimate.
        under_mass_function: 16th, 50th and 84th percentile of log10 mass with the mass function as prior [dex]; NaN
            where one hangs on a tail of the posterior that no test reaches.
        modes: The two modes of a posterior that has two, the lighter first; else empty.
        dispersion: Robust velocity dispersion of the galaxies used.
        draws: Draws of all parameters, one cluster: what follows from mass and concentration (M500c, profiles) as well.
            Of an estimator of the mass alone, concentrations are those of haloes of the mass.
        inferred: Names of the parameters besides the mass that the galaxies were asked for.
        log10_mass_m_sigma: Mass for that dispersion by Evrard et al. 2008 [dex].
        reasons: Reasons to doubt the mass, the worst first; notes among them do not matter.
    """

    cluster: ObservedCluster
    posterior: MassPosteriors
    mean: float
    std: float
    quantiles: tuple[float, ...]
    under_mass_function: tuple[float, float, float]
    modes: tuple[Mode, ...]
    draws: Posteriors
    inferred: tuple[str, ...]
    dispersion: Dispersion
    log10_mass_m_sigma: float
    reasons: tuple[Reason, ...]

    @property
    def name(self) -> str:
        """Name of the cluster."""
        return self.cluster.name

    @property
    def percentiles(self) -> tuple[float, float, float]:
        """16th, 50th and 84th percentile of log10 mass [dex]."""
        return self.quantiles[1], self.quantiles[2], self.quantiles[3]

    @property
    def members_std(self) -> float:
        """Standard deviation between the means of an ensemble's members [dex]; NaN for a single network."""
        spread = self.posterior.epistemic_std
        return float("nan") if spread is None else float(spread[0])

    @property
    def verdict(self) -> Grade:
        """Whether the mass may be used."""
        return verdict(self.reasons)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The reasons for care or against use, as sentences."""
        return tuple(each.text for each in self.reasons if each.grade is not Grade.USE)


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

"""The data of a cluster's page: its mass, the galaxies that move it, and its statistics among the mocks.

Masses are M200c [h^-1 Msun] as log10_mass [dex], lengths comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, final

import numpy as np
from jaxtyping import Float

from sbi_clustermass.observations.results import MassResult

if TYPE_CHECKING:
    from sbi_clustermass.diagnostics.saliency import Saliency
    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.observations.model_stamp import ModelStamp
    from sbi_clustermass.observations.tables.literature_masses import PublishedMass


@final
@dataclass(frozen=True)
class MockPercentiles:
    """Statistics of a cluster among mocks of its inferred mass and richness.

    Attributes:
        names: Names of the statistics.
        scores: Their percentiles among the mocks, as those of a Gaussian [sigma], (statistic,).
        ranges: Value of each statistic and the range of 95 % of the mocks, as text.
        p_values: Share of mocks that are as unlike the others, by the name of the alarm's test.
    """

    names: tuple[str, ...]
    scores: Float[np.ndarray, "statistic"]
    ranges: tuple[str, ...]
    p_values: Mapping[str, float]

    @classmethod
    def from_result(cls, mass: MassResult, estimator: "MassEstimator") -> Self | None:
        """Compare a cluster with the mocks by the estimator's alarm; None if it has no alarm."""
        from sbi_clustermass.estimator.misspecification.summary_statistics import STATISTICS, compute_statistics

        alarm, clusters, posterior = estimator.alarm, mass.cluster.catalogue, mass.posterior
        if alarm is None:
            return None
        where = np.stack([posterior.mean, np.log10(clusters.n_galaxies)])
        usual = alarm.summary_checks.percentiles.central_95(where)[..., 0]
        rows = zip(STATISTICS.values(), compute_statistics(clusters)[:, 0], usual.T, strict=True)
        ranges = tuple(
            f"{kind.write(float(value))}  ({' to '.join(kind.write(float(kind.back(end))) for end in ends)})"
            for kind, value, ends in rows
        )
        p_values = alarm.p_values(estimator.network, clusters, posterior)[:, 0]
        return cls(
            names=tuple(name.replace("_", " ") for name in STATISTICS),
            scores=alarm.summary_checks.scores(clusters, posterior)[:, 0],
            ranges=ranges,
            p_values=dict(zip(alarm.tests, map(float, p_values), strict=True)),
        )


@final
@dataclass(frozen=True)
class ClusterPage:
    """Everything that the page of one cluster shows.

    Attributes:
        mass: Mass of the cluster.
        stamp: Model behind the mass.
        saliency: Changes of the mass where a part of phase space is masked.
        among_mocks: Statistics among the mocks; None for an estimator without an alarm.
        published: Published masses.
        membership: Probability of each galaxy to lie inside the virial radius, (galaxy,); None for an estimator
            without a membership.
    """

    mass: MassResult
    stamp: "ModelStamp"
    saliency: "Saliency"
    among_mocks: MockPercentiles | None
    published: "tuple[PublishedMass, ...]" = ()
    membership: Float[np.ndarray, "galaxy"] | None = None

    @classmethod
    def from_result(
        cls,
        mass: MassResult,
        estimator: "MassEstimator",
        stamp: "ModelStamp",
        published: "tuple[PublishedMass, ...]" = (),
    ) -> Self:
        """Measure what the page of one cluster shows; the saliency takes 10 ms a galaxy, 8 s for Coma's 700."""
        from sbi_clustermass.diagnostics.saliency import saliency

        found, inside = saliency(estimator, mass.cluster.catalogue, 0), None
        if estimator.membership is not None:
            inside = estimator.memberships(mass.cluster.catalogue, mass.posterior)[:, 1]
        return cls(mass, stamp, found, MockPercentiles.from_result(mass, estimator), published, inside)

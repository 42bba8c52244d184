"""All that the page of one cluster shows beside its mass: where the mass comes from, and where the cluster stands.

Masses are M200c [h^-1 Msun] as log10_mass [dex], lengths comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

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
    """Where a cluster's statistics stand among mocks of its inferred mass and richness.

    Attributes:
        names: Of the statistics.
        scores: Their percentiles among the mocks as a Gaussian's [sigma], (statistic,).
        said: Each value and what 95 % of the mocks have, as text.
        p_values: Of the alarm's tests: share of mocks that are as unlike the others.
    """

    names: tuple[str, ...]
    scores: Float[np.ndarray, "statistic"]
    said: tuple[str, ...]
    p_values: Mapping[str, float]


@final
@dataclass(frozen=True)
class ClusterPage:
    """One cluster, as its page shows it.

    Attributes:
        mass: Its mass.
        stamp: What made it.
        saliency: How the mass moves where a part of phase space is masked.
        place: Where it stands among the mocks; None where the model was not taught what mocks look like.
        published: Masses by others.
    """

    mass: MassResult
    stamp: "ModelStamp"
    saliency: "Saliency"
    place: MockPercentiles | None
    published: "tuple[PublishedMass, ...]" = ()


def sheet_of(
    mass: MassResult, estimator: "MassEstimator", stamp: "ModelStamp", published: "tuple[PublishedMass, ...]" = ()
) -> ClusterPage:
    """Measure what the page of one cluster shows; the saliency takes 10 ms a galaxy, 8 s for Coma's 700."""
    from sbi_clustermass.diagnostics.saliency import saliency

    found = saliency(estimator, mass.cluster.catalogue, 0)
    return ClusterPage(mass, stamp, found, place_of(mass, estimator), published)


def place_of(mass: MassResult, estimator: "MassEstimator") -> MockPercentiles | None:
    """Where a cluster stands among the mocks, by the statistics of the estimator's alarm; None if it has none."""
    from sbi_clustermass.estimator.misspecification.summary_statistics import STATISTICS, compute_statistics

    alarm, clusters, posterior = estimator.alarm, mass.cluster.catalogue, mass.posterior
    if alarm is None:
        return None
    where = np.stack([posterior.mean, np.log10(clusters.n_galaxies)])
    usual = alarm.summary_checks.percentiles.central_95(where)[..., 0]
    rows = zip(STATISTICS.values(), compute_statistics(clusters)[:, 0], usual.T, strict=True)
    said = tuple(
        f"{kind.write(float(value))}  ({' to '.join(kind.write(float(kind.back(end))) for end in ends)})"
        for kind, value, ends in rows
    )
    p_values = alarm.p_values(estimator.network, clusters, posterior)[:, 0]
    return MockPercentiles(
        names=tuple(name.replace("_", " ") for name in STATISTICS),
        scores=alarm.summary_checks.scores(clusters, posterior)[:, 0],
        said=said,
        p_values=dict(zip(alarm.tests, map(float, p_values), strict=True)),
    )

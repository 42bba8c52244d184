"""Properties of the clusters in tables that their observer knows or their galaxies show.

Distances are comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Self, final

import numpy as np
from jaxtyping import Float

from clustermocks import MDPL2, Cosmology, HaloModel, Observation, SurveyPrior
from sbi_clustermass.observations.tables import ObservedCluster, TableOptions, Unreadable, read_clusters
from sbi_clustermass.observations.tables.field import widest_field
from sbi_clustermass.observations.tables.rounding import rounding_step

MODEL = replace(HaloModel(dominant=True).with_clustering(), observation=Observation(min_galaxies=5))
SURVEYS = SurveyPrior().narrowed(v_cut=(2000.0, 4000.0))
_SHOWN = 3  # reasons


class ClusterProperties(NamedTuple):
    """Properties of a cluster, in the widest cylinder of the mocks.

    Attributes:
        redshift: Redshift [1]; NaN if unknown.
        reach: Distance of the outermost galaxy [h^-1 Mpc].
        widest: Radius of the largest field whose galaxies could end there [h^-1 Mpc].
        velocity_error: Median error of its galaxies [km/s]; NaN if none is stated.
        rounding: Step to which c z was rounded [km/s]; NaN if there are too few galaxies to tell.
        n_galaxies: Number of galaxies.
    """

    redshift: float
    reach: float
    widest: float
    velocity_error: float
    rounding: float
    n_galaxies: int

    @classmethod
    def from_cluster(cls, cluster: ObservedCluster) -> Self:
        """Measure a cluster that was read from a table."""
        R_proj, v_los = cluster.catalogue.galaxies(0)
        reach, n = float(R_proj.max()), len(R_proj)
        widest = widest_field(reach, n, SURVEYS.aperture[1])
        return cls(cluster.redshift, reach, widest, cluster.velocity_error, rounding_step(v_los, cluster.redshift), n)

    def outside(self) -> str:
        """Describe the property that no mock has; empty for a cluster like which there are mocks."""
        values = {"redshift": self.redshift, "aperture": self.widest, "velocity_error": self.velocity_error}
        for name, value in values.items():
            (low, high), unit = getattr(SURVEYS, name), SURVEYS.laws[name].unit
            if value < low or value > high:
                return f"{name.replace('_', ' ')} {value:.4g} [{unit}], where mocks have {low:g} to {high:g}"
        return ""


@final
@dataclass(frozen=True)
class Survey:
    """Clusters for which an estimator is to be made.

    Attributes:
        clusters: Properties of each.
        failed: Number of clusters that could not be read, or are unlike all mocks.
        reasons: Reasons for that, the first three.
        cleaned: Whether the user says that interlopers were removed.
    """

    clusters: tuple[ClusterProperties, ...]
    failed: int
    reasons: tuple[str, ...]
    cleaned: bool

    def known(self, name: str) -> Float[np.ndarray, "known"]:
        """Values of a property, of the clusters of which it is known."""
        values = np.array([getattr(each, name) for each in self.clusters], float)
        return values[np.isfinite(values)]


def measure_tables(
    paths: Sequence[Path],
    options: TableOptions | None = None,
    *,
    min_galaxies: int | None = None,
    cosmology: Cosmology = MDPL2,
) -> Survey:
    """Read every cluster of the tables, as `infer` does, and measure its properties.

    Args:
        paths: Tables of galaxies.
        options: Units, columns and conventions of the tables.
        min_galaxies: Fewest galaxies of a cluster; by default those of the mocks, 5.
        cosmology: Cosmology of the distances.

    Raises:
        ValueError: There is no cluster, or there are no mocks like any; the message gives the first reasons.
    """
    options, found, reasons = options or TableOptions(), [], []
    cylinder = SURVEYS.summary(MODEL.observation)
    cylinder = cylinder if min_galaxies is None else replace(cylinder, min_galaxies=min_galaxies)
    for cluster in chain.from_iterable(
        read_clusters(path, options=options, observation=cylinder, cosmology=cosmology) for path in paths
    ):
        if isinstance(cluster, Unreadable) or cluster.reason:
            reasons.append(f"{cluster.name}: {cluster.reason}")
        elif outside := (properties := ClusterProperties.from_cluster(cluster)).outside():
            reasons.append(f"{cluster.name}: {outside}")
        else:
            found.append(properties)
    if not found:
        raise ValueError(
            "\n".join(["no cluster to fit an estimator to.", *(f"  found:  {r}" for r in reasons[:_SHOWN])])
        )
    return Survey(tuple(found), len(reasons), tuple(reasons[:_SHOWN]), options.cleaned)

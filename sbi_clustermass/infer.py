"""Tables of galaxies in, masses out, one answer a cluster: a mass, or the reason why there is none.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from clustermocks import Catalogue
from clustermocks.files import replacing
from sbi_clustermass.baselines import evrard2008, velocity_dispersion
from sbi_clustermass.estimator import MassEstimator
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.tables import ClusterTable, TableOptions, Unreadable, read_clusters

if TYPE_CHECKING:
    from astropy.table import Table

SUFFIXES = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".parquet": "parquet"}


@final
@dataclass(frozen=True)
class Mass:
    """The mass of one observed cluster.

    Attributes:
        cluster: The cluster as it was read.
        posterior: Its mass posterior, one row.
        velocity_dispersion: Of the galaxies used, after 3-sigma clipping [km/s].
        log10_mass_m_sigma: The mass that Evrard et al. 2008 give to that dispersion [dex].
        warnings: Why the mass should not be trusted.
    """

    cluster: ClusterTable
    posterior: MassPosteriors
    velocity_dispersion: float
    log10_mass_m_sigma: float
    warnings: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the cluster."""
        return self.cluster.name

    @property
    def mean(self) -> float:
        """Posterior mean of log10 mass [dex]: the point estimate."""
        return float(self.posterior.mean[0])

    @property
    def percentiles(self) -> tuple[float, float, float]:
        """16th, 50th and 84th percentile of log10 mass [dex]."""
        low, middle, high = (float(self.posterior.quantile(level)[0]) for level in (0.16, 0.5, 0.84))
        return low, middle, high


@final
@dataclass(frozen=True)
class NoMass:
    """A cluster, or a whole table, that gave no mass.

    Attributes:
        name: Of the cluster, or of the table.
        reason: Why; several lines where there is something to try.
        cluster: The cluster, where it could be read but has too few galaxies.
    """

    name: str
    reason: str
    cluster: ClusterTable | None = None


def infer_tables(paths: Sequence[Path], estimator: MassEstimator, options: TableOptions) -> Iterator[Mass | NoMass]:
    """Infer the mass of each cluster of each table, one after the other; a bad one costs only its own answer."""
    for path in paths:
        for cluster in read_clusters(
            path, options=options, observation=estimator.observation, cosmology=estimator.cosmology
        ):
            yield _answer(cluster, estimator)


def _answer(cluster: ClusterTable | Unreadable, estimator: MassEstimator) -> Mass | NoMass:
    if isinstance(cluster, Unreadable):
        return NoMass(cluster.name, cluster.reason)
    if cluster.reason:
        return NoMass(cluster.name, cluster.reason, cluster)
    try:
        return infer_cluster(cluster, estimator)
    except (ValueError, ArithmeticError) as error:  # of one cluster among ten thousand
        return NoMass(cluster.name, f"{cluster.name}: {error}", cluster)


def infer_cluster(cluster: ClusterTable, estimator: MassEstimator) -> Mass:
    """Infer the mass of one cluster that has enough galaxies."""
    galaxies, posterior = cluster.catalogue, estimator.posterior(cluster.catalogue)
    sigma = velocity_dispersion([galaxies.galaxies(0)[1]], method="clipped")
    relation = evrard2008(cluster.redshift, estimator.cosmology)
    return Mass(
        cluster=cluster,
        posterior=posterior,
        velocity_dispersion=float(sigma[0]),
        log10_mass_m_sigma=float(relation.inverse(np.log10(sigma))[0]),
        warnings=cluster.warnings + estimator.warnings(galaxies, posterior)[0] + _cut(cluster, estimator, posterior),
    )


def _cut(cluster: ClusterTable, estimator: MassEstimator, posterior: MassPosteriors) -> tuple[str, ...]:
    """What a field that ends inside the aperture may do to the mass: what the same cut does once more."""
    if cluster.narrow is None:
        return ()
    R_proj, v_los = cluster.catalogue.galaxies(0)
    edge = cluster.narrow.reach**2 / estimator.observation.aperture
    inside = R_proj < edge
    if inside.sum() < estimator.observation.min_galaxies:
        return ()
    smaller = Catalogue.from_arrays(
        cluster.catalogue.observation,
        cluster.catalogue.cosmology,
        clusters={"log10_mass": np.array([np.nan]), "host_id": cluster.catalogue.host_id},
        galaxies={"R_proj": R_proj[inside], "v_los": v_los[inside]},
        offsets=np.array([0, inside.sum()]),
    )
    change = float(estimator.posterior(smaller).mean[0] - posterior.mean[0])
    return (f"cut again by the same factor, at {edge:.2f} h^-1 Mpc, the mass moves by {change:+.2f} dex",)


def as_table(masses: Sequence[Mass | NoMass]) -> "Table":
    """One row a cluster, those without a mass included, with units and a description of each column."""
    from astropy.table import Column, Table

    table = Table(rows=[_row(mass) for mass in masses])
    for name, unit in {"velocity_dispersion": "km / s", "ra": "deg", "dec": "deg"}.items():
        table[name] = Column(table[name], unit=unit)
    for name in ("log10_mass", "log10_mass_p16", "log10_mass_p50", "log10_mass_p84", "log10_mass_m_sigma"):
        table[name] = Column(table[name], description="log10 of M200c [h^-1 Msun]")
    return table


def write_table(masses: Sequence[Mass | NoMass], path: Path) -> None:
    """Write `as_table` as CSV, ECSV or Parquet, by the suffix; the file appears whole or not at all.

    Raises:
        KeyError: Another suffix than those in `SUFFIXES`.
    """
    with replacing(path) as temporary:
        as_table(masses).write(temporary, format=SUFFIXES[path.suffix], overwrite=True)


def _row(mass: Mass | NoMass) -> dict[str, str | float | int]:
    found = isinstance(mass, Mass)
    cluster = mass.cluster
    low, middle, high = mass.percentiles if found else (np.nan,) * 3
    return {
        "name": mass.name,
        "log10_mass": mass.mean if found else np.nan,
        "log10_mass_p16": low,
        "log10_mass_p50": middle,
        "log10_mass_p84": high,
        "n_galaxies": cluster.n_galaxies if cluster else 0,
        "redshift": cluster.redshift if cluster else np.nan,
        "redshift_source": cluster.redshift_source if cluster else "",
        "ra": cluster.ra if cluster else np.nan,
        "dec": cluster.dec if cluster else np.nan,
        "centre_source": cluster.centre_source if cluster else "",
        "n_rows": cluster.n_rows if cluster else 0,
        "n_dropped": cluster.n_dropped if cluster else 0,
        "n_duplicates": cluster.counts.duplicates if cluster else 0,
        "n_outside_aperture": cluster.counts.outside_aperture if cluster else 0,
        "n_outside_velocity": cluster.counts.outside_velocity if cluster else 0,
        "velocity_dispersion": mass.velocity_dispersion if found else np.nan,
        "log10_mass_m_sigma": mass.log10_mass_m_sigma if found else np.nan,
        "warnings": "; ".join(mass.warnings) if found else "",
        "reason": "" if found else mass.reason.replace("\n", " "),
    }

"""Tables of galaxies in, masses out, one answer a table: a mass, or the reason why there is none.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from clustermocks.files import replacing
from sbi_clustermass.baselines import evrard2008, velocity_dispersion
from sbi_clustermass.estimator import MassEstimator
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.tables import ClusterTable, TableError, TableOptions, read_table

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
        """Of the cluster's table."""
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
    """A table that gave no mass.

    Attributes:
        name: Of the table.
        reason: Why; several lines where there is something to try.
        cluster: The cluster, where it could be read but has too few galaxies.
    """

    name: str
    reason: str
    cluster: ClusterTable | None = None


def infer_tables(paths: Sequence[Path], estimator: MassEstimator, options: TableOptions) -> Iterator[Mass | NoMass]:
    """Infer a mass from each table; a bad table costs only its own answer."""
    for path in paths:
        try:
            cluster = read_table(
                path, options=options, observation=estimator.observation, cosmology=estimator.cosmology
            )
        except TableError as error:
            yield NoMass(path.stem, str(error))
            continue
        yield NoMass(path.stem, cluster.reason, cluster) if cluster.reason else infer_cluster(cluster, estimator)


def infer_cluster(cluster: ClusterTable, estimator: MassEstimator) -> Mass:
    """Infer the mass of one cluster that has enough galaxies."""
    galaxies, posterior = cluster.catalogue, estimator.posterior(cluster.catalogue)
    relation = evrard2008(cluster.redshift, estimator.cosmology, method="clipped")
    return Mass(
        cluster=cluster,
        posterior=posterior,
        velocity_dispersion=float(velocity_dispersion([galaxies.galaxies(0)[1]], method="clipped")[0]),
        log10_mass_m_sigma=float(relation.predict(galaxies)[0]),
        warnings=cluster.warnings + estimator.warnings(galaxies, posterior)[0],
    )


def as_table(masses: Sequence[Mass | NoMass]) -> "Table":
    """One row a table, those without a mass included, with units and a description of each column."""
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
        "velocity_dispersion": mass.velocity_dispersion if found else np.nan,
        "log10_mass_m_sigma": mass.log10_mass_m_sigma if found else np.nan,
        "warnings": "; ".join(mass.warnings) if found else "",
        "reason": "" if found else mass.reason.replace("\n", " "),
    }

"""One table of galaxies -> one cluster without a mass, and the account of how it was made.

Lengths are comoving [h^-1 Mpc], velocities [km/s], angles [deg].
"""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from clustermocks.catalogue import Catalogue
from clustermocks.cosmology import MDPL2, Cosmology
from clustermocks.observation import Observation, in_cylinder
from sbi_clustermass.tables.doubts import doubts
from sbi_clustermass.tables.errors import problem
from sbi_clustermass.tables.files import read_file
from sbi_clustermass.tables.galaxies import read_galaxies
from sbi_clustermass.tables.locating import Located, View, nothing_there
from sbi_clustermass.tables.names import check_choices
from sbi_clustermass.tables.options import TableOptions


@final
@dataclass(frozen=True)
class ClusterTable:
    """A cluster as read from a table.

    Attributes:
        catalogue: The cluster, without a mass; empty if it has too few galaxies.
        name: The file's name without its suffix.
        n_galaxies: Galaxies in the cylinder.
        redshift: The cluster's [1], NaN if unknown.
        redshift_source: Such as "given (0.0235), velocities recentred by -12 km/s" or "biweight of 251 galaxies".
        ra: Right ascension of the centre [deg], NaN if unknown.
        dec: Declination of the centre [deg], NaN if unknown.
        centre_source: "given", "column", "densest point of the galaxies" or "distances in the table".
        n_rows: Rows in the table.
        n_dropped: Rows without a usable position or velocity.
        reason: Why the cluster gets no mass; None if it does.
        warnings: What should make one doubt the mass.
    """

    catalogue: Catalogue
    name: str
    n_galaxies: int
    redshift: float
    redshift_source: str
    ra: float
    dec: float
    centre_source: str
    n_rows: int
    n_dropped: int
    reason: str | None
    warnings: tuple[str, ...]


def read_table(
    path: str | Path,
    *,
    options: TableOptions | None = None,
    observation: Observation | None = None,
    cosmology: Cosmology = MDPL2,
) -> ClusterTable:
    """Read a cluster's galaxies from a table; every galaxy in the cylinder is used, interlopers included.

    The table has ra and dec [deg] and z, or R_proj [Mpc] and v_los [km/s], or one of each, under their usual names.
    A redshift that is not given is the biweight of the galaxies', by the function that also centres the mocks; a centre
    that is not given is the densest point of the galaxies near that redshift. Distances become comoving h^-1 Mpc:
    Mpc times h, times 1 + z if they are physical; angles times the comoving distance.

    Args:
        path: CSV, ECSV, FITS or Parquet.
        options: What the user says about the table.
        observation: The cylinder and the least number of galaxies, those of the estimator that will read the cluster.
        cosmology: For distances; of the estimator, too.

    Raises:
        TableError: No cluster can be made of the file; the message says why and what to do. Galaxies in the cylinder,
            but too few, are no error: `reason` says so.
    """
    path, options, observation = Path(path), options or TableOptions(), observation or Observation()
    table = read_file(path)
    check_choices(path.name, table.colnames, options.columns)
    galaxies = read_galaxies(table, path.name, options.columns)
    view = View(galaxies, options, path.name, observation, cosmology)
    located = view.locate()
    if not in_cylinder(located.R_proj, located.v_los, observation).any():
        place = f"in the cylinder {cylinder(observation)} (nearest: {located.R_proj.min():.2f} h^-1 Mpc)"
        raise nothing_there(path.name, located.v_los, place)
    return _cluster_table(path.stem, view, located)


def read_cluster(
    path: str | Path,
    *,
    options: TableOptions | None = None,
    observation: Observation | None = None,
    cosmology: Cosmology = MDPL2,
) -> Catalogue:
    """Read a cluster's galaxies into a catalogue of one cluster; `read_table` also tells what to doubt about it.

    Raises:
        TableError: As `read_table`, and where the cylinder holds too few galaxies for a mass.
    """
    result = read_table(path, options=options, observation=observation, cosmology=cosmology)
    if result.reason:
        raise problem(Path(path).name, f"{result.reason}.", advice="check the redshift and the centre, or add galaxies")
    return result.catalogue


def cylinder(observation: Observation) -> str:
    """The cylinder in words."""
    return f"R_proj < {observation.aperture:g} comoving h^-1 Mpc, |v_los| < {observation.v_cut:g} km/s"


def _cluster_table(name: str, view: View, located: Located) -> ClusterTable:
    count = int(in_cylinder(located.R_proj, located.v_los, view.observation).sum())
    least = view.observation.min_galaxies
    reason = f"{count} galaxies in the cylinder {cylinder(view.observation)}; a mass needs at least {least}"
    return ClusterTable(
        catalogue=_catalogue(name, view, located),
        name=name,
        n_galaxies=count,
        redshift=located.redshift,
        redshift_source=located.redshift_source,
        ra=located.centre[0],
        dec=located.centre[1],
        centre_source=located.centre_source,
        n_rows=view.galaxies.n_rows,
        n_dropped=view.galaxies.n_dropped,
        reason=reason if count < least else None,
        warnings=doubts(view, located),
    )


def _catalogue(name: str, view: View, located: Located) -> Catalogue:
    inside = in_cylinder(located.R_proj, located.v_los, view.observation)
    columns = {
        "log10_mass": np.nan,
        "host_id": np.int64(zlib.crc32(name.encode())),  # two tables of one cluster never fall on both sides of a split
        "name": name,
        "redshift": located.redshift,
        "redshift_source": located.redshift_source,
        "ra": located.centre[0],
        "dec": located.centre[1],
        "centre_source": located.centre_source,
        "n_rows": view.galaxies.n_rows,
        "n_dropped": view.galaxies.n_dropped,
        "n_used": int(inside.sum()),
    }
    return Catalogue.from_arrays(
        view.observation,
        view.cosmology,
        clusters={key: np.array([value]) for key, value in columns.items()},
        galaxies={"R_proj": located.R_proj[inside], "v_los": located.v_los[inside]},
        offsets=np.array([0, inside.sum()]),
    )

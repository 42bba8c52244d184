"""One table of galaxies -> clusters without masses, each with the account of how it was made.

Lengths are comoving [h^-1 Mpc], velocities [km/s], angles [deg].
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias, final

import numpy as np

from clustermocks.haloes.cosmology import MDPL2, Cosmology
from clustermocks.observation import Observation, in_cylinder
from sbi_clustermass.estimator.verdict import Grade, Reason
from sbi_clustermass.observations.tables.access import ROWS_LOST, rows_of, said_of
from sbi_clustermass.observations.tables.centring import Centring, no_galaxies
from sbi_clustermass.observations.tables.cluster import ObservedCluster, describe_cylinder
from sbi_clustermass.observations.tables.column_names import check_choices
from sbi_clustermass.observations.tables.column_reader import ColumnReader, choose
from sbi_clustermass.observations.tables.errors import TableError, problem
from sbi_clustermass.observations.tables.files import table_name
from sbi_clustermass.observations.tables.galaxies import read_galaxies
from sbi_clustermass.observations.tables.groups import (
    ClusterRows,
    needed_columns,
    options_for,
    rows_around_centres,
    rows_by_name,
)
from sbi_clustermass.observations.tables.options import TableOptions
from sbi_clustermass.observations.tables.quality import Exclusions
from sbi_clustermass.observations.tables.rows import RowNumbers
from sbi_clustermass.observations.tables.sources import Source, TableLike

if TYPE_CHECKING:
    from astropy.table import Table

    from clustermocks.catalogue.catalogue import Catalogue

_Settings: TypeAlias = tuple[TableOptions, Observation, Cosmology]


@final
@dataclass(frozen=True)
class Unreadable:
    """A cluster, or a whole table, that could not be read.

    Attributes:
        name: Name of the cluster, or of the table.
        reason: Reason why, and what to do; up to three lines.
    """

    name: str
    reason: str


@final
@dataclass(frozen=True)
class ClusterTable:
    """A table of one cluster or many, which are read on demand, by one process or several.

    Attributes:
        path: File of the table, or what stands for one in memory.
        table: Its rows; of many clusters only the columns that matter.
        groups: Name and rows of each cluster; None where the table is one cluster.
        nobodys: Sentence about the rows that belong to no cluster, "" if there are none.
        excluded: Rows that their quality or the user's condition excludes.
        settings: Facts about the table, cylinder, and cosmology of the distances.
    """

    path: Path
    table: "Table"
    groups: Sequence[ClusterRows] | None
    nobodys: str
    excluded: Exclusions
    settings: _Settings

    @classmethod
    def open(
        cls,
        table: TableLike,
        *,
        options: TableOptions | None = None,
        observation: Observation | None = None,
        cosmology: Cosmology = MDPL2,
    ) -> Self:
        """Read a table and tell its clusters apart; arguments as for `read_clusters`.

        Raises:
            TableError: The file cannot be read, or its galaxies cannot be told apart.
        """
        options, observation = options or TableOptions(), observation or Observation()
        path, reader, options = _reader(table, options)
        groups = _groups(reader, path, options, observation, cosmology)
        table = reader.table if groups is None else needed_columns(reader)
        named = None if groups is None else [group for group in groups if group.name]
        others = (group for group in groups or () if not group.name)
        nobodys = "".join(f"{len(group.rows)} rows belong to no cluster{group.note}." for group in others)
        excluded = Exclusions.of_table(reader, options)
        return cls(path, table, named, nobodys, excluded, (options, observation, cosmology))

    def __len__(self) -> int:
        return 1 if self.groups is None else len(self.groups)

    def parts(self, size: int) -> Iterator[Self]:
        """Tables of `size` clusters each, with no other rows; the last one also names those that belong to none."""
        if self.groups is None:
            yield self
            return
        for start in range(0, max(len(self), 1), size):
            groups, last = self.groups[start : start + size], start + size >= len(self)
            rows = np.concatenate([np.zeros(0, int), *(group.rows for group in groups)])
            ends = np.cumsum([len(group.rows) for group in groups])
            own = [
                ClusterRows(g.name, np.arange(end - len(g.rows), end), g.in_file, g.note)
                for g, end in zip(groups, ends, strict=True)
            ]
            part, nobodys = rows_of(self.table, rows), self.nobodys if last else ""
            yield replace(self, table=part, groups=own, nobodys=nobodys, excluded=self.excluded.at(rows))

    def read(self) -> Iterator[ObservedCluster | Unreadable]:
        """Read the clusters one after another; rows that belong to none come last, as one `Unreadable`."""
        name = table_name(self.path)
        if self.groups is None:
            yield self._read_one(name)
            return
        for group in self.groups:
            yield self._read_one(group.name, group)
        if self.nobodys:
            yield Unreadable(f"{name} (no cluster)", f"{self.path.name}: {self.nobodys}")

    def _read_one(self, name: str, group: ClusterRows | None = None) -> ObservedCluster | Unreadable:
        """Read one cluster from its rows of the table, or from all; an error becomes an `Unreadable`."""
        where = self.path.name if group is None else f"{self.path.name} [{name}]"
        rows = np.arange(len(self.table)) if group is None else group.rows
        try:
            if not len(rows):
                advice = "check its position in both tables"
                raise problem(where, "no galaxies around the cluster's centre.", advice=advice)
            part = self.table if group is None else rows_of(self.table, rows)
            options, observation, cosmology = self.settings
            numbers = RowNumbers(self.path, options.table, rows if group is None else group.in_file)
            own = options_for(name, options), observation, cosmology
            cluster = _read(part, where, name, own, numbers, self.excluded.at(rows))
            note = (Reason(group.note, Grade.CARE),) if group and group.note else ()
            return replace(cluster, reasons=(*note, *cluster.reasons))
        except TableError as error:
            return Unreadable(name, str(error))


def read_clusters(
    table: TableLike,
    *,
    options: TableOptions | None = None,
    observation: Observation | None = None,
    cosmology: Cosmology = MDPL2,
) -> Iterator[ObservedCluster | Unreadable]:
    """Read every cluster of a table, one after the other; a bad one yields an `Unreadable` and the others are read.

    A column of cluster names or numbers separates them (`columns={"id": NAME}`, or one of its usual names). Without
    it, `options.clusters` gives their centres; without either the table is one cluster. Rows without a cluster
    (an empty name, -1) come last, as `Unreadable`.

    Args:
        table: A file or a table in memory, as for `read_table`.
        options: Facts about the table; a redshift or centre given by hand holds for every cluster.
        observation: Cylinder and least number of galaxies.
        cosmology: Cosmology of the distances.
    """
    try:
        clusters = ClusterTable.open(table, options=options, observation=observation, cosmology=cosmology)
    except TableError as error:
        yield Unreadable(table_name(Source.of(table).path), str(error))
        return
    yield from clusters.read()


def read_table(
    table: TableLike,
    *,
    options: TableOptions | None = None,
    observation: Observation | None = None,
    cosmology: Cosmology = MDPL2,
) -> ObservedCluster:
    """Read one cluster's galaxies from a table; every galaxy in the cylinder is used, interlopers included.

    The table has ra and dec [deg] and z, or R_proj [Mpc] and v_los [km/s], or one of each, under their usual names.
    By default the redshift is the biweight of the galaxies', by the function that also centres the mocks, and the
    centre is the densest point of the galaxies near that redshift. Distances become comoving h^-1 Mpc:
    Mpc times h, times 1 + z if they are physical; angles times the comoving distance.

    Args:
        table: Path of a text, ECSV, FITS, VOTable, HDF5 or Parquet file, or a table in memory: a DataFrame of pandas or
            polars, a table of astropy or Arrow, a dictionary of columns, an array of records.
        options: Facts about the table.
        observation: Cylinder and least number of galaxies, those of the estimator that will infer the mass.
        cosmology: Cosmology of the distances, that of the estimator.

    Raises:
        TableError: No cluster, or several, can be made of the file; the message says why and what to do. Galaxies in
            the cylinder, but too few, are no error: `reason` gives their number.
    """
    options, observation = options or TableOptions(), observation or Observation()
    path, reader, options = _reader(table, options)
    groups, name = rows_by_name(reader) or [], table_name(path)
    named = [group for group in groups if group.name]
    if len(named) > 1:
        found = f"{len(named)} values of column {reader.find('id')}"
        advice = "read_clusters, which gives them one after the other"
        raise problem(path.name, "more than one cluster in the table.", found=found, advice=advice)
    own_rows, numbers = reader.table, np.arange(len(reader.table))
    if named:
        own_rows, numbers, name = rows_of(own_rows, named[0].rows), named[0].rows, named[0].name
    excluded, own = Exclusions.of_table(reader, options).at(numbers), options_for(name, options)
    settings, rows = (own, observation, cosmology), RowNumbers(path, options.table, numbers)
    return _read(own_rows, path.name, name, settings, rows, excluded)


def read_cluster(
    table: TableLike,
    *,
    options: TableOptions | None = None,
    observation: Observation | None = None,
    cosmology: Cosmology = MDPL2,
) -> "Catalogue":
    """Read a cluster's galaxies into a catalogue of one cluster; `read_table` also returns warnings and counts.

    Raises:
        TableError: As for `read_table`, and where the cylinder holds too few galaxies for a mass.
    """
    result = read_table(table, options=options, observation=observation, cosmology=cosmology)
    if result.reason:
        advice = "check the redshift and the centre, or add galaxies"
        raise problem(result.fates.path.name, f"{result.reason}.", advice=advice)
    return result.catalogue


def _reader(given: TableLike, options: TableOptions) -> tuple[Path, ColumnReader, TableOptions]:
    """Read a table; in the options that are returned, chosen columns are names."""
    source = Source.of(given)
    path = source.path
    columns = options.columns if options.id is None else {**options.columns, "id": options.id}
    table = source.read(options.table, ids={columns[ours] for ours in columns if ours == "id"})
    check_choices(path.name, table.colnames, columns)
    columns = choose(table, columns)
    return path, ColumnReader(table, path.name, columns), replace(options, columns=columns, id=columns.get("id"))


def _groups(
    reader: ColumnReader, path: Path, options: TableOptions, observation: Observation, cosmology: Cosmology
) -> list[ClusterRows] | None:
    """Group the rows of a table by cluster name or centre; None where the table is one cluster."""
    groups = rows_by_name(reader)
    if groups is None and options.clusters is not None and table_name(path) not in options.clusters:
        return rows_around_centres(reader, options, observation.aperture, cosmology)
    return groups


def _read(
    table: "Table", where: str, name: str, settings: _Settings, rows: RowNumbers, excluded: Exclusions
) -> ObservedCluster:
    options, observation, cosmology = settings
    chosen = {ours: theirs for ours, theirs in options.columns.items() if ours != "id"}
    galaxies = read_galaxies(table, where, chosen, rows.number, excluded)
    lost = (Reason(text, Grade.USE) for text in said_of(table, ROWS_LOST))
    galaxies = replace(galaxies, reasons=(*lost, *galaxies.reasons))
    centring = Centring(galaxies, options, where, observation, cosmology)
    phase_space = centring.phase_space()
    seen = centring.seen(phase_space.redshift)
    if not in_cylinder(phase_space.R_proj, phase_space.v_los, seen).any():
        place = f"in the cylinder {describe_cylinder(seen)} (nearest: {phase_space.R_proj.min():.2f} h^-1 Mpc)"
        raise no_galaxies(where, phase_space.v_los, place)
    return ObservedCluster.from_phase_space(name, centring, phase_space, rows)

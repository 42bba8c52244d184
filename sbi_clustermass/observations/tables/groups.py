"""The rows of each cluster in a table of several: by a column of names, or around the centres of a list of clusters.

Lengths are comoving [h^-1 Mpc], angles [deg].
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast, final

import numpy as np
from jaxtyping import Bool, Int

from clustermocks.haloes.cosmology import Cosmology
from sbi_clustermass.observations.tables.cluster_list import simplified
from sbi_clustermass.observations.tables.column_names import ALIASES
from sbi_clustermass.observations.tables.column_reader import ColumnReader, id_texts
from sbi_clustermass.observations.tables.density_peaks import unit_vectors
from sbi_clustermass.observations.tables.errors import problem
from sbi_clustermass.observations.tables.options import TableOptions
from sbi_clustermass.observations.tables.positions import Sky, read_positions, sexagesimal_parts

if TYPE_CHECKING:
    from astropy.table import Table

FEWEST = 10  # galaxies of the largest cluster, at least
MARGIN = 2.0  # apertures around a centre whose galaxies are taken, so that the edge of the field shows


@final
@dataclass(frozen=True)
class ClusterRows:
    """Name of a cluster, "" for rows that belong to none, and the indices of its rows in the table.

    Attributes:
        name: Name of the cluster.
        rows: Indices in the table, (row,).
        numbers: Numbers of the rows in the file, where the table is a part of it; None for the same as `rows`.
        note: Reason to doubt the cluster; of rows that belong to none the reason why, beyond a missing name.
    """

    name: str
    rows: Int[np.ndarray, "row"]
    numbers: Int[np.ndarray, "row"] | None = None
    note: str = ""

    @property
    def in_file(self) -> Int[np.ndarray, "row"]:
        """Numbers of the rows in the file, (row,)."""
        return self.rows if self.numbers is None else self.numbers


def rows_by_name(reader: ColumnReader) -> list[ClusterRows] | None:
    """Group rows by the column of cluster names, in the order of the table; None without such a column."""
    column = reader.find("id")
    if column is None:
        return None
    texts = np.array(id_texts(reader.column(column), reader.where))
    none = _ungrouped(reader, texts)
    names, first, index = np.unique(np.where(none, "", texts), return_index=True, return_inverse=True)
    sizes = np.bincount(index, minlength=len(names))
    if len(index) > 20 and len(names) > len(index) / 2 and sizes[names != ""].max(initial=0) < FEWEST:
        found = f"{len(names)} different values in {len(index)} rows"
        advice = "--id COLUMN, the one that names clusters; or drop it from a table of one cluster"
        raise problem(reader.where, f"{column} names galaxies, not clusters.", found=found, advice=advice)
    order = np.argsort(index, kind="stable")
    parts = np.split(order, np.cumsum(sizes)[:-1])
    note = f": {column} 0 stands for none" if none.any() else ""
    others = _other_spellings(names.tolist())
    notes = [others.get(name, "") if name else note for name in names.tolist()]
    return [ClusterRows(str(names[i]), parts[i], note=notes[i]) for i in np.argsort(first)]


def _other_spellings(names: Sequence[str]) -> dict[str, str]:
    """Sentences about names that differ in case, blanks and underscores alone."""
    alike = defaultdict(list)
    for name in names:
        alike[simplified(name)].append(name)
    return {
        name: f"{name} may be the same cluster as {', '.join(each for each in same if each != name)}: one name for both"
        for same in alike.values()
        if len(same) > 1
        for name in same
    }


def _ungrouped(reader: ColumnReader, names: np.ndarray) -> Bool[np.ndarray, "row"]:
    """Rows of number 0 where it stands for no group: their centres differ or are missing, or most rows have it."""
    zero = np.isin(names, ("0", "0.0"))
    if not zero.any() or zero.all():
        return np.zeros(len(names), bool)
    for ours, least in (("ra_cluster", -180.0), ("dec_cluster", -90.0), ("z_cluster", 0.0)):
        values = reader.optional(ours)
        if values is not None:
            there = values[zero]
            if len(np.unique(there[there > least])) != 1:
                return zero
    return zero & bool(2 * zero.sum() > len(names) and len(set(names)) > 2)


def rows_around_centres(
    reader: ColumnReader, options: TableOptions, aperture: float, cosmology: Cosmology
) -> list[ClusterRows]:
    """Take the galaxies within twice the aperture of each listed cluster; a galaxy may be in several."""
    from scipy.spatial import KDTree

    position, clusters = read_positions(reader), options.clusters
    if not isinstance(position, Sky) or clusters is None:
        advice = "--id COLUMN, the one that names the galaxies' clusters"
        raise problem(reader.where, "whose galaxies are these? They have no positions on the sky.", advice=advice)
    placed = np.flatnonzero(np.isfinite(position.values).all(axis=1))
    tree, found = KDTree(unit_vectors(position.values[placed])), []
    for cluster in clusters:
        if cluster.centre is None or cluster.redshift is None:
            what, advice = f"{cluster.name} needs a centre and a redshift.", "or --id COLUMN, to tell its galaxies"
            raise problem(clusters.path.name, what, advice=advice)
        angle = min(MARGIN * aperture / float(cosmology.comoving_distance(cluster.redshift)), np.pi)
        rows = tree.query_ball_point(unit_vectors(np.array([cluster.centre]))[0], 2 * np.sin(angle / 2))
        found.append(ClusterRows(cluster.name, np.sort(placed[np.array(rows, int)])))
    return found


def needed_columns(reader: ColumnReader) -> "Table":
    """Drop the columns that hold none of our quantities, so that the table is quick to divide."""
    wanted = {name for ours in ALIASES if ours != "id" for name in reader.candidates(ours)}
    wanted |= {*sexagesimal_parts(reader.table.colnames).values(), *reader.chosen.values()}
    return cast("Table", reader.table[[name for name in reader.table.colnames if name in wanted]])


def options_for(name: str, options: TableOptions) -> TableOptions:
    """Complete the user's options for one cluster from the list of clusters; options given by hand come first."""
    if options.clusters is None:
        return options
    cluster = options.clusters.get(name)
    redshift = cluster.redshift if options.redshift is None else options.redshift
    return replace(options, redshift=redshift, centre=options.centre or cluster.centre, clusters=None)

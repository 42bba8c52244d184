"""A table of clusters, one a row: names, centres and redshifts."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from sbi_clustermass.observations.tables.column_reader import ColumnReader, as_text
from sbi_clustermass.observations.tables.errors import check_centre, check_redshift, closest, problem, shorten
from sbi_clustermass.observations.tables.files import read_file

if TYPE_CHECKING:
    from astropy.table import Column

_NAMES = ("name", "object", "target", "id", "system")


@final
@dataclass(frozen=True)
class ListedCluster:
    """Name and position of a cluster, as a table of clusters lists them.

    Attributes:
        name: Name in the table.
        centre: Right ascension and declination [deg]; None if unknown.
        redshift: Redshift [1]; None if unknown.
    """

    name: str
    centre: tuple[float, float] | None
    redshift: float | None


@final
@dataclass(frozen=True)
class ClusterList:
    """Clusters of one table, found by name; case, blanks and underscores do not matter.

    Attributes:
        where: Name of the file, for messages.
        clusters: The clusters by their simplified names.
    """

    where: str
    clusters: Mapping[str, ListedCluster]

    def __len__(self) -> int:
        return len(self.clusters)

    def __iter__(self) -> Iterator[ListedCluster]:
        return iter(self.clusters.values())

    def __contains__(self, name: str) -> bool:
        return _simple(name) in self.clusters

    def get(self, name: str) -> ListedCluster:
        """Return the cluster of a name.

        Raises:
            TableError: No cluster has this name.
        """
        if name in self:
            return self.clusters[_simple(name)]
        names = [cluster.name for cluster in self]
        near = closest(name, names)
        advice = f"rename it to {near}" if near else "add it to the table of clusters"
        raise problem(self.where, f"no cluster {name!r}.", found=shorten(names), advice=advice)


def read_cluster_list(path: str | Path, *, columns: Mapping[str, str] | None = None) -> ClusterList:
    """Read a table of clusters: a column of names or numbers, and ra and dec, or z, or all three.

    Args:
        path: A table in any format that `read_table` reads.
        columns: Names of columns, ours -> theirs: id, ra, dec, z.

    Raises:
        TableError: No names, two clusters of one name, or values that are no position or redshift.
    """
    path = Path(path)
    table = read_file(path)
    reader = ColumnReader(table, path.name, columns or {})
    names = id_texts(reader.column(_name_column(reader)))
    ra, dec = (_either(reader, ours) for ours in ("ra", "dec"))
    z = _either(reader, "z")
    if np.isnan(z).all() and np.isnan(ra).all():
        raise reader.missing("no positions and no redshifts of clusters. It needs ra and dec [deg], z, or both.", "z")
    clusters: dict[str, ListedCluster] = {}
    for row in zip(names, ra, dec, z, strict=True):
        cluster = _cluster(path.name, *row)
        if cluster and _simple(cluster.name) in clusters:
            advice = "one row a cluster"
            raise problem(path.name, "two clusters have one name.", found=cluster.name, advice=advice)
        if cluster:
            clusters[_simple(cluster.name)] = cluster
    return ClusterList(path.name, clusters)


def id_texts(column: "Column") -> list[str]:
    """Convert names or numbers of clusters to text, "" for no cluster: missing, -1, or not a number."""
    masked = np.ma.getmaskarray(np.ma.asarray(column))
    if column.dtype.kind == "f":
        whole = [str(int(v)) if math.isfinite(v) and v == int(v) else "" for v in np.ma.getdata(column).tolist()]
    else:
        whole = [as_text(value).strip() for value in column.tolist()]
    absent = ("", "-1", "--", "nan", "none", "null")
    return ["" if hidden or text.lower() in absent else text for text, hidden in zip(whole, masked, strict=True)]


def _name_column(reader: ColumnReader) -> str:
    if found := reader.find("id"):
        return found
    for name in reader.table.colnames:
        if name.lower().strip("_") in _NAMES:
            return name
    raise reader.missing("no names of clusters. It needs a column id or name.", "id")


def _either(reader: ColumnReader, ours: str) -> np.ndarray:
    """Read a column by its own name or by the name it has in tables of galaxies; NaN where there is neither."""
    for name in (ours, f"{ours}_cluster"):
        values = reader.optional(name)
        if values is not None:
            return values
    return np.full(len(reader.table), np.nan)


def _cluster(where: str, name: str, ra: float, dec: float, z: float) -> ListedCluster | None:
    if not name:
        return None
    centre = None if math.isnan(ra + dec) else (float(ra), float(dec))
    redshift = None if math.isnan(z) else float(z)
    if centre:
        check_centre(f"{where} [{name}]", centre)
    if redshift is not None:
        check_redshift(f"{where} [{name}]", redshift)
    return ListedCluster(name, centre, redshift)


def _simple(name: str) -> str:
    return re.sub(r"[\s_]+", "", name).lower()

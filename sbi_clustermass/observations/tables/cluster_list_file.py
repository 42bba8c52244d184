"""Reading of a table of clusters."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from clustermocks.io.paths import as_path
from sbi_clustermass.observations.tables.cluster_list import ClusterList, ListedCluster, simplified
from sbi_clustermass.observations.tables.column_reader import ColumnReader, choose, id_texts
from sbi_clustermass.observations.tables.errors import check_centre, check_redshift, problem
from sbi_clustermass.observations.tables.files import read_file

_NAMES = ("name", "object", "target", "id", "system")


def read_cluster_list(path: str | Path, *, columns: Mapping[str, str] | None = None) -> ClusterList:
    """Read a table of clusters: a column of names or numbers, and ra and dec, or z, or all three.

    Args:
        path: A table in any format that `read_table` reads.
        columns: Names of columns, ours -> theirs: id, ra, dec, z.

    Raises:
        TableError: No names, two clusters of one name, or values that are no position or redshift.
    """
    path = as_path(path)
    table = read_file(path, ids={*_NAMES, *([columns["id"]] if columns and "id" in columns else [])})
    reader = ColumnReader(table, path.name, choose(table, columns or {}))
    names = id_texts(reader.column(_name_column(reader)), path.name)
    ra, dec = (_either(reader, ours) for ours in ("ra", "dec"))
    z = _either(reader, "z")
    if np.isnan(z).all() and np.isnan(ra).all():
        raise reader.missing("no positions and no redshifts of clusters. It needs ra and dec [deg], z, or both.", "z")
    clusters: dict[str, ListedCluster] = {}
    for row in zip(names, ra, dec, z, strict=True):
        cluster = _cluster(path.name, *row)
        if cluster and simplified(cluster.name) in clusters:
            advice = "one row a cluster"
            raise problem(path.name, "two clusters have one name.", found=cluster.name, advice=advice)
        if cluster:
            clusters[simplified(cluster.name)] = cluster
    reader.warn_of_lost_rows()
    return ClusterList(path, clusters)


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

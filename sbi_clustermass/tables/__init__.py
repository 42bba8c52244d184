"""Tables of galaxies as observers keep them, read into catalogues without masses.

Whatever the table's units: out come comoving h^-1 Mpc and km/s relative to the cluster, and where they come from.
"""

from sbi_clustermass.tables.cluster import ClusterTable
from sbi_clustermass.tables.counts import Counts
from sbi_clustermass.tables.errors import TableError
from sbi_clustermass.tables.known import KnownCluster, KnownClusters, read_known
from sbi_clustermass.tables.options import TableOptions
from sbi_clustermass.tables.reading import Unreadable, read_cluster, read_clusters, read_table

__all__ = [
    "ClusterTable",
    "Counts",
    "KnownCluster",
    "KnownClusters",
    "TableError",
    "TableOptions",
    "Unreadable",
    "read_cluster",
    "read_clusters",
    "read_known",
    "read_table",
]

from .cluster import ClusterTable as ClusterTable
from .cluster_table import (
    KnownCluster as KnownCluster,
    KnownClusters as KnownClusters,
    read_known as read_known,
)
from .errors import TableError as TableError
from .options import TableOptions as TableOptions
from .reading import (
    Unreadable as Unreadable,
    read_cluster as read_cluster,
    read_clusters as read_clusters,
    read_table as read_table,
)
from .row_counts import Counts as Counts

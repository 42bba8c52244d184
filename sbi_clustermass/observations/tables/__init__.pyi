from .cluster import ObservedCluster as ObservedCluster
from .cluster_list import (
    ClusterList as ClusterList,
    ListedCluster as ListedCluster,
)
from .cluster_list_file import read_cluster_list as read_cluster_list
from .errors import TableError as TableError
from .galaxies import RowCounts as RowCounts
from .options import TableOptions as TableOptions
from .reading import (
    Unreadable as Unreadable,
    read_cluster as read_cluster,
    read_clusters as read_clusters,
    read_table as read_table,
)

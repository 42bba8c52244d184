"""Tables of galaxies as observers keep them, read into catalogues without masses.

Whatever the table's units: out come comoving h^-1 Mpc and km/s relative to the cluster, and where they come from.
"""

from sbi_clustermass.tables.errors import TableError
from sbi_clustermass.tables.reading import ClusterTable, TableOptions, read_cluster, read_table

__all__ = ["ClusterTable", "TableError", "TableOptions", "read_cluster", "read_table"]

"""Catalogues of clusters: one row a cluster, its galaxies as ragged columns."""

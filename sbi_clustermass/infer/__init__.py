"""Observed clusters: tables of galaxies in, masses out, one answer a cluster, ten thousand of them in flat memory."""

from sbi_clustermass.infer.answers import LEVELS, Answer, Mass, NoMass
from sbi_clustermass.infer.columns import COLUMNS, Column, row_of
from sbi_clustermass.infer.dispersion import Dispersion, robust_dispersions
from sbi_clustermass.infer.files import SUFFIXES, as_table, table_file, write_table
from sbi_clustermass.infer.posteriors import posteriors_file, samples_file
from sbi_clustermass.infer.stamp import Stamp
from sbi_clustermass.infer.stream import infer_cluster, infer_clusters, infer_tables

__all__ = [
    "COLUMNS",
    "LEVELS",
    "SUFFIXES",
    "Answer",
    "Column",
    "Dispersion",
    "Mass",
    "NoMass",
    "Stamp",
    "as_table",
    "infer_cluster",
    "infer_clusters",
    "infer_tables",
    "posteriors_file",
    "robust_dispersions",
    "row_of",
    "samples_file",
    "table_file",
    "write_table",
]

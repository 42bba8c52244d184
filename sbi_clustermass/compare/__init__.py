"""Flows and embeddings against each other: trained on the same clusters, scored on the same others, one table."""

from sbi_clustermass.compare.contest import JEANS_SETTINGS, Contest
from sbi_clustermass.compare.entry import Entry, Failure
from sbi_clustermass.compare.run import compare
from sbi_clustermass.compare.table import Comparison

__all__ = ["JEANS_SETTINGS", "Comparison", "Contest", "Entry", "Failure", "compare"]

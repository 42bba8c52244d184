"""Comparison of flows and embeddings, trained and scored on the same clusters, in one table."""

from sbi_clustermass.diagnostics.comparison.run import compare
from sbi_clustermass.diagnostics.comparison.score import Entry, Failure
from sbi_clustermass.diagnostics.comparison.setup import JEANS_SETTINGS, ComparisonSetup
from sbi_clustermass.diagnostics.comparison.table import Comparison

__all__ = ["JEANS_SETTINGS", "Comparison", "ComparisonSetup", "Entry", "Failure", "compare"]

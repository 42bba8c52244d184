"""Flows and their rivals on the same clusters, in one table."""

from sbi_clustermass.validation.run import Result, check_apart, score_baselines, score_estimator
from sbi_clustermass.validation.scores import Scores
from sbi_clustermass.validation.table import validation_table
from sbi_clustermass.validation.validation import Validation

__all__ = [
    "Result",
    "Scores",
    "Validation",
    "check_apart",
    "score_baselines",
    "score_estimator",
    "validation_table",
]

"""Comparison of estimators and baselines on the same clusters, in one table."""

from sbi_clustermass.diagnostics.validation.evaluate import Result, check_disjoint, score_baselines, score_estimator
from sbi_clustermass.diagnostics.validation.scores import Scores
from sbi_clustermass.diagnostics.validation.sections import calibration_section, rivals_section, trust_section
from sbi_clustermass.diagnostics.validation.table import validation_table
from sbi_clustermass.diagnostics.validation.validation import Validation

__all__ = [
    "Result",
    "Scores",
    "Validation",
    "calibration_section",
    "check_disjoint",
    "rivals_section",
    "score_baselines",
    "score_estimator",
    "trust_section",
    "validation_table",
]

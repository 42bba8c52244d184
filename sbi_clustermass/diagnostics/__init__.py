"""How good posteriors are, and when not to trust one."""

from sbi_clustermass.diagnostics.calibration import Coverage, PitHistogram, coverage, coverages, pit_histogram
from sbi_clustermass.diagnostics.false_alarms import alarm_rates
from sbi_clustermass.diagnostics.grid_posterior import GridPosterior
from sbi_clustermass.diagnostics.reliability import by_posterior_mean, by_richness, reliability, standardised
from sbi_clustermass.diagnostics.residuals import Measured, mean_of, residuals
from sbi_clustermass.diagnostics.richness_leakage import richness_r2
from sbi_clustermass.diagnostics.robustness import robustness_table, simulator_robustness
from sbi_clustermass.diagnostics.saliency import Saliency
from sbi_clustermass.diagnostics.scoring_rules import crps, gap, information_gain, log_score
from sbi_clustermass.diagnostics.simulation_based_calibration import sbc, sbc_of_each, sbc_ranks, tarp
from sbi_clustermass.diagnostics.test_sets import HeldOut, Mark, mark, reweighted
from sbi_clustermass.estimator.misspecification.alarm import Alarm
from sbi_clustermass.estimator.misspecification.feature_distance import FeatureDistance
from sbi_clustermass.estimator.misspecification.summary_checks import SummaryChecks

__all__ = [
    "Alarm",
    "Coverage",
    "FeatureDistance",
    "GridPosterior",
    "HeldOut",
    "Mark",
    "Measured",
    "PitHistogram",
    "Saliency",
    "SummaryChecks",
    "alarm_rates",
    "by_posterior_mean",
    "by_richness",
    "coverage",
    "coverages",
    "crps",
    "gap",
    "information_gain",
    "log_score",
    "mark",
    "mean_of",
    "pit_histogram",
    "reliability",
    "residuals",
    "reweighted",
    "richness_r2",
    "robustness_table",
    "sbc",
    "sbc_of_each",
    "sbc_ranks",
    "simulator_robustness",
    "standardised",
    "tarp",
]

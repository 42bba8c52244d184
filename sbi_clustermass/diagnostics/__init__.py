"""How good posteriors are, and when not to trust one."""

from sbi_clustermass.diagnostics.calibration import Coverage, PitHistogram, coverages, pit_histogram
from sbi_clustermass.diagnostics.promise import HeldOut, Mark, mark, reweighted
from sbi_clustermass.diagnostics.recalibration import Recalibration
from sbi_clustermass.diagnostics.reliability import by_posterior_mean, by_richness, reliability, standardised
from sbi_clustermass.diagnostics.residuals import Measured, coverage, residuals
from sbi_clustermass.diagnostics.richness import richness_r2
from sbi_clustermass.diagnostics.sbc import network_sbc, network_tarp, sbc, sbc_ranks, tarp
from sbi_clustermass.diagnostics.scores import crps, gap, information_gain, log_score

__all__ = [
    "Coverage",
    "HeldOut",
    "Mark",
    "Measured",
    "PitHistogram",
    "Recalibration",
    "by_posterior_mean",
    "by_richness",
    "coverage",
    "coverages",
    "crps",
    "gap",
    "information_gain",
    "log_score",
    "mark",
    "network_sbc",
    "network_tarp",
    "pit_histogram",
    "reliability",
    "residuals",
    "reweighted",
    "richness_r2",
    "sbc",
    "sbc_ranks",
    "standardised",
    "tarp",
]

"""How good posteriors are, and when not to trust one."""

from sbi_clustermass.diagnostics.residuals import Measured, coverage, residuals
from sbi_clustermass.diagnostics.richness import richness_r2

__all__ = ["Measured", "coverage", "residuals", "richness_r2"]

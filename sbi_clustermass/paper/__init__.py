"""The results of Kodi Ramanah et al. 2020 (arXiv:2003.05951), a function each: numbers, and a section of a report.

Every function returns the numbers it measured, with a method `section` that shows them beside the paper's own.
"""

from sbi_clustermass.paper.individual import Individuals, individuals
from sbi_clustermass.paper.mass_functions import MassFunctions, Sets, mass_functions
from sbi_clustermass.paper.phase_space import PhaseSpace, phase_space
from sbi_clustermass.paper.predictions import Predictions, predictions
from sbi_clustermass.paper.published import OTHER_SIMULATOR, PUBLISHED, TABLE_1
from sbi_clustermass.paper.real_clusters import Inferred, RealClusters, real_clusters
from sbi_clustermass.paper.richness_scaling import RichnessScaling, richness_scaling
from sbi_clustermass.paper.robustness import Robustness, Shift, robustness
from sbi_clustermass.paper.saliency import SaliencyMaps, saliency_maps
from sbi_clustermass.paper.sample import Sample, nearest

__all__ = [
    "OTHER_SIMULATOR",
    "PUBLISHED",
    "TABLE_1",
    "Individuals",
    "Inferred",
    "MassFunctions",
    "PhaseSpace",
    "Predictions",
    "RealClusters",
    "RichnessScaling",
    "Robustness",
    "SaliencyMaps",
    "Sample",
    "Sets",
    "Shift",
    "individuals",
    "mass_functions",
    "nearest",
    "phase_space",
    "predictions",
    "real_clusters",
    "richness_scaling",
    "robustness",
    "saliency_maps",
]

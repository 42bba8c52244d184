"""The results of Kodi Ramanah et al. 2020 (arXiv:2003.05951), one function for each.

Every function returns the numbers it measured, with a method `section` that compares them with those of the paper in a
section of a report.
"""

from kodi_ramanah_2020.individual import Individuals, individuals
from kodi_ramanah_2020.mass_functions import MassFunctions, Sets, mass_functions
from kodi_ramanah_2020.numbers import Evidence
from kodi_ramanah_2020.phase_space import PhaseSpace, phase_space
from kodi_ramanah_2020.predictions import Predictions, predictions
from kodi_ramanah_2020.published import OTHER_SIMULATOR, PUBLISHED, TABLE_1
from kodi_ramanah_2020.real_clusters import Inferred, RealClusters, real_clusters
from kodi_ramanah_2020.richness_scaling import RichnessScaling, richness_scaling
from kodi_ramanah_2020.robustness import Robustness, Shift, robustness
from kodi_ramanah_2020.saliency import SaliencyMaps, saliency_maps
from kodi_ramanah_2020.sample import Sample, nearest
from kodi_ramanah_2020.steps import Steps, steps

__all__ = [
    "OTHER_SIMULATOR",
    "PUBLISHED",
    "TABLE_1",
    "Evidence",
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
    "Steps",
    "individuals",
    "mass_functions",
    "nearest",
    "phase_space",
    "predictions",
    "real_clusters",
    "richness_scaling",
    "robustness",
    "saliency_maps",
    "steps",
]

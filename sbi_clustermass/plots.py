"""Pictures. Every function returns a matplotlib `Figure` and touches no global state; `save` writes one."""

from sbi_clustermass.population.plots import corner, mass_function, relation
from sbi_clustermass.posterior.plots import clusters, masses
from sbi_clustermass.report.style import BLUE, GREEN, GREY, MASS, ORANGE, save
from sbi_clustermass.training.plots import comparison, history

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "MASS",
    "ORANGE",
    "clusters",
    "comparison",
    "corner",
    "history",
    "mass_function",
    "masses",
    "relation",
    "save",
]

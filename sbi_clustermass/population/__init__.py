"""Populations behind many clusters: Pyro models of the mass function and of scaling relations.

    population = Population(MassFunction(), selection=KnownSelection(selection))
    idata = fit(population, posteriors, Survey.of_volume(1e9))

Masses are M200c [h^-1 Msun] as log10_mass [dex], volumes comoving [h^-3 Mpc^3].
"""

from sbi_clustermass.population.calibration import JointCalibration
from sbi_clustermass.population.clusters import ObservedClusters
from sbi_clustermass.population.fit import fit
from sbi_clustermass.population.likelihood import PopulationLikelihood
from sbi_clustermass.population.masses import (
    MASSES,
    CosmologyMassFunction,
    DoublePowerLaw,
    MassFunction,
    NormalMasses,
)
from sbi_clustermass.population.model import Population, Problem, population_model
from sbi_clustermass.population.observables import Observable
from sbi_clustermass.population.relation import ScalingRelation
from sbi_clustermass.population.sampling import NUTS, SAMPLERS, SVI, Laplace
from sbi_clustermass.population.selection import AboveCut, Everything, KnownSelection, SoftThreshold
from sbi_clustermass.population.shrinkage import mass_function_band, shrink
from sbi_clustermass.population.significance import AboveSignificance, Significance
from sbi_clustermass.population.survey import Shell, Survey

__all__ = [
    "MASSES",
    "NUTS",
    "SAMPLERS",
    "SVI",
    "AboveCut",
    "AboveSignificance",
    "CosmologyMassFunction",
    "DoublePowerLaw",
    "Everything",
    "JointCalibration",
    "KnownSelection",
    "Laplace",
    "MassFunction",
    "NormalMasses",
    "Observable",
    "ObservedClusters",
    "Population",
    "PopulationLikelihood",
    "Problem",
    "ScalingRelation",
    "Shell",
    "Significance",
    "SoftThreshold",
    "Survey",
    "fit",
    "mass_function_band",
    "population_model",
    "shrink",
]

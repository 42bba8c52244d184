"""Populations behind many clusters: Pyro models fitted to their mass posteriors."""

from sbi_clustermass.population.fit import fit, population_model
from sbi_clustermass.population.likelihood import PopulationLikelihood
from sbi_clustermass.population.mass_function import MassFunction, mass_function_band
from sbi_clustermass.population.sampling import Sampler

__all__ = ["MassFunction", "PopulationLikelihood", "Sampler", "fit", "mass_function_band", "population_model"]

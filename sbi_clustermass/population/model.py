"""A population of clusters: masses, scaling relations, and the selection of a survey.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.population.masses import Masses, MassFunction
from sbi_clustermass.population.parameters import Concatenated, Parameters, Priors, Unconstrained
from sbi_clustermass.population.relation import ScalingRelation
from sbi_clustermass.population.selection import Everything, SelectionModel

CORRELATION = "scatter_correlation"
_LARGEST_MASS = 20.0  # [dex]


@final
@dataclass(frozen=True)
class Population:
    """Model of a population, whose parameters are inferred.

    Attributes:
        masses: Mass function, or a sample's own distribution of masses.
        relations: Scaling relations, each of one observable.
        selection: Selection of the survey.
        correlated: Whether the intrinsic scatters of the relations are correlated, with a flat prior over correlation
            matrices (Lewandowski, Kurowicka & Joe 2009).
        mass_range: Lowest and highest log10 mass at which the survey might select clusters [dex].

    Raises:
        ValueError: Two relations are of the same observable, scatter is correlated with fewer than two relations, or
            `mass_range` does not increase.
    """

    masses: Masses = field(default_factory=MassFunction)
    relations: tuple[ScalingRelation, ...] = ()
    selection: SelectionModel = field(default_factory=Everything)
    correlated: bool = False
    mass_range: tuple[float, float] = (12.5, 16.0)

    def __post_init__(self) -> None:
        names = [relation.observable for relation in self.relations]
        if len(set(names)) < len(names):
            raise ValueError(f"population: two relations are of one observable: {', '.join(names)}.")
        if self.correlated and len(names) < 2:
            raise ValueError(f"population: correlated scatter needs two relations or more, found {len(names)}.")
        low, high = self.mass_range
        if not 0 < low < high < _LARGEST_MASS:
            raise ValueError(
                f"population: mass_range must rise from 0 to at most {_LARGEST_MASS:.0f} [dex], got {low} and {high}."
            )

    @cached_property
    def priors(self) -> Priors:
        """Priors of all parameters, by Pyro site."""
        parts = [self.masses.priors, *(relation.priors for relation in self.relations), self.selection.priors]
        return {name: prior for part in [*parts, self._correlation] for name, prior in part.items()}

    @cached_property
    def coordinates(self) -> Concatenated:
        """Coordinates in which the parameters are sampled."""
        others = [*(relation.priors for relation in self.relations), self.selection.priors, self._correlation]
        return Concatenated(self.masses.coordinates, *(Unconstrained(priors) for priors in others if priors))

    @cached_property
    def named_relations(self) -> Mapping[str, ScalingRelation]:
        """Relations by the name of their observable."""
        return {relation.observable: relation for relation in self.relations}

    @cached_property
    def _correlation(self) -> Priors:
        if not self.correlated:
            return {}
        one = torch.ones((), dtype=torch.float64)
        return {CORRELATION: dist.LKJCholesky(len(self.relations), one, validate_args=False)}

    def derived(self, parameters: Parameters) -> dict[str, Float[Tensor, "*draw"]]:
        """Quantities derived from the parameters, to be reported with them: slopes, S8, correlations."""
        found = self.masses.derived(parameters)
        if not self.correlated:
            return found
        factor, names = parameters[CORRELATION], list(self.named_relations)
        matrix = factor @ factor.mT
        pairs = [(i, j) for i in range(len(names)) for j in range(i)]
        return {**found, **{f"correlation_{names[j]}_{names[i]}": matrix[..., i, j] for i, j in pairs}}

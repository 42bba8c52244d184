"""A population of clusters: masses, what scales with them, and what a survey keeps.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; volumes are comoving [h^-3 Mpc^3]; `log_` is natural.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import final

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.population.clusters import ObservedClusters
from sbi_clustermass.population.likelihood import PopulationLikelihood
from sbi_clustermass.population.masses import Masses, MassFunction
from sbi_clustermass.population.observables import Observed, log_correlated
from sbi_clustermass.population.parameters import Joined, Parameters, Priors, Separate, sample
from sbi_clustermass.population.relation import ScalingRelation
from sbi_clustermass.population.selection import Everything, LogProbability, SelectionModel
from sbi_clustermass.population.survey import Survey

CORRELATION = "scatter_correlation"
AT_ONCE = 1000  # clusters whose observables are weighed at once: temporaries of 2 MB


@final
@dataclass(frozen=True)
class Population:
    """What is to be inferred.

    Attributes:
        masses: The mass function, or a sample's own distribution of masses.
        relations: Scaling relations, each of one observable.
        selection: Which clusters the survey keeps.
        correlated: Whether the intrinsic scatters of the relations are correlated; the prior of their correlation
            matrix is flat (Lewandowski, Kurowicka & Joe 2009).
        mass_range: Log10 masses between which the survey might select clusters [dex].

    Raises:
        ValueError: Two relations are of the same observable, only one could be correlated, or `mass_range` does not
            rise.
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
        if not self.mass_range[0] < self.mass_range[1]:
            raise ValueError(f"population: mass_range must rise, got {self.mass_range}.")

    @cached_property
    def priors(self) -> Priors:
        """Of all parameters, by Pyro site."""
        parts = [self.masses.priors, *(relation.priors for relation in self.relations), self.selection.priors]
        return {name: prior for part in [*parts, self._correlation] for name, prior in part.items()}

    @cached_property
    def coordinates(self) -> Joined:
        """Where the parameters are sampled."""
        others = [*(relation.priors for relation in self.relations), self.selection.priors, self._correlation]
        return Joined(self.masses.coordinates, *(Separate(priors) for priors in others if priors))

    @cached_property
    def named_relations(self) -> Mapping[str, ScalingRelation]:
        """By observable."""
        return {relation.observable: relation for relation in self.relations}

    @cached_property
    def _correlation(self) -> Priors:
        if not self.correlated:
            return {}
        one = torch.ones((), dtype=torch.float64)
        return {CORRELATION: dist.LKJCholesky(len(self.relations), one, validate_args=False)}

    def derived(self, parameters: Parameters) -> dict[str, Float[Tensor, "*draw"]]:
        """What follows from the parameters and is worth reading: slopes, S8, the correlations themselves."""
        found = self.masses.derived(parameters)
        if not self.correlated:
            return found
        factor, names = parameters[CORRELATION], list(self.named_relations)
        matrix = factor @ factor.mT
        pairs = [(i, j) for i in range(len(names)) for j in range(i)]
        return {**found, **{f"correlation_{names[j]}_{names[i]}": matrix[..., i, j] for i, j in pairs}}


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """A population and the clusters that it is fitted to, tabulated: the likelihood as a function of parameters.

    Attributes:
        population: What is inferred.
        survey: Where the clusters come from.
        likelihood: Of the clusters.
        counts: Whether the number of clusters counts.
        observed: The relations' observables of each of the likelihood's blocks.
        redshift: Of the sorted clusters.
        log_selected: Natural log of P(selected | mass), as a function of the parameters.
    """

    population: Population
    survey: Survey
    counts: bool
    likelihood: PopulationLikelihood
    observed: tuple[Mapping[str, Observed], ...]
    redshift: Float[Tensor, "cluster"]
    log_selected: LogProbability

    @classmethod
    def of(
        cls,
        population: Population,
        clusters: ObservedClusters,
        survey: Survey | None,
        *,
        counts: bool,
        device: str = "cpu",
    ) -> "Problem":
        """Tabulate.

        Args:
            population: What is inferred.
            clusters: What is known of each cluster.
            survey: Where they come from; without one, volumes are 1.
            counts: Whether their number counts.
            device: Where the clusters' integrals are computed; parameters and what is of the masses alone stay on the
                CPU.

        Raises:
            ValueError: Clusters, survey and population do not belong together.
        """
        _refuse_other_names(population, clusters)
        sky, relations = survey or Survey.of_volume(1.0), population.named_relations
        shell, posteriors = sky.place(clusters.redshift, len(clusters)), clusters.posteriors
        likelihood = PopulationLikelihood.from_posteriors(
            posteriors, mass_range=population.mass_range, shell=shell, at_once=AT_ONCE if relations else None
        ).to(device)
        order, point = likelihood.order, posteriors.mean
        blocks = [order[block.rows] for block in likelihood.blocks] if relations else []
        observed = [
            {name: clusters.observables[name].chosen(rows, point, posteriors.grid) for name in relations}
            for rows in blocks
        ]
        redshift = sky.redshift[shell] if clusters.redshift is None else clusters.redshift
        log_selected = population.selection.bound(likelihood.log10_mass.numpy(), sky, relations)
        return cls(
            population,
            sky,
            counts,
            likelihood,
            tuple(observed),
            torch.as_tensor(redshift[order], device=device),
            log_selected,
        )

    # ---- rates ------------------------------------------------------------------------------------------------------

    def log_rate(self, parameters: Parameters) -> Float[Tensor, "*draw shell mass"]:
        """Natural log of the haloes per dex in each shell of the survey."""
        log_phi = self.population.masses.log_density(
            self.likelihood.log10_mass, parameters, torch.as_tensor(self.survey.redshift)
        )
        return log_phi + self.survey.log_volumes(parameters)[..., None]

    def log_selected_rate(self, parameters: Parameters) -> Float[Tensor, "*draw shell mass"]:
        """Natural log of the selected ones among them."""
        return self.log_rate(parameters) + self.log_selected(parameters)

    # ---- likelihood -------------------------------------------------------------------------------------------------

    def terms(self, parameters: Parameters) -> dict[str, Float[Tensor, "..."]]:
        """The log likelihood in two terms.

        Returns:
            `clusters`: log density of each sorted cluster's data given that it was selected, (*draw, cluster);
            with counts also `count`: log Poisson probability of their number, up to -log N!, (*draw,).
        """
        log_rate, log_selected = self.log_rate(parameters), self.log_selected(parameters)
        log_expected = self.likelihood.log_expected(log_rate + log_selected)
        seen = log_rate if self.population.selection.of_data else log_rate + log_selected
        factor = partial(self.log_observed, parameters) if self.observed else None
        log_clusters = self.likelihood.log_clusters(seen, factor)
        terms = {"clusters": log_clusters - log_expected[..., None].to(log_clusters.device)}
        if self.counts:
            terms["count"] = len(self.likelihood) * log_expected - torch.exp(log_expected)
        return terms

    def log_observed(self, parameters: Parameters, block: int) -> Float[Tensor, "*draw some #support"]:
        """Natural log of the observables' likelihood of a block's clusters at the posteriors' masses."""
        relations, observed, device = self.population.named_relations, self.observed[block], self.likelihood.device
        grid, redshift = self.likelihood.grid.to(device), self.redshift[self.likelihood.blocks[block].rows]
        parameters = {name: value.to(device) for name, value in parameters.items()}
        means = [relations[name].mean(grid, parameters, redshift) for name in observed]
        stds = [relations[name].std(grid, parameters) for name in observed]
        each = list(observed.values())
        if self.population.correlated:
            return log_correlated(each, means, stds, parameters[CORRELATION])  # pyright: ignore[reportArgumentType]
        logs = [one.log_likelihood(mean, std) for one, mean, std in zip(each, means, stds, strict=True)]
        return torch.stack(torch.broadcast_tensors(*logs)).sum(0) if len(logs) > 1 else logs[0]

    # ---- sampling ---------------------------------------------------------------------------------------------------

    def potential(self, position: Float[Tensor, "*draw coordinate"]) -> Float[Tensor, "*draw"]:
        """Negative log posterior density in the sampler's coordinates."""
        if self.observed and position.ndim > 1:  # each observable has a table a draw, which would not fit the cache
            return torch.stack([self.potential(one) for one in position])
        coordinates = self.population.coordinates
        parameters = coordinates.parameters(position)
        terms = self.terms(parameters)
        total = terms["clusters"].sum(-1).to(position.device) + terms.get("count", 0.0)
        return -coordinates.log_prior(position, parameters) - total


def _refuse_other_names(population: Population, clusters: ObservedClusters) -> None:
    names, given = sorted(population.named_relations), sorted(clusters.observables)
    if names != given:
        raise ValueError(
            f"population: relations of {names or 'nothing'}, observables {given or 'none'}. Each relation needs its "
            "observable, and the other way round."
        )


def population_model(problem: Problem) -> None:
    r"""Pyro model of a survey's clusters, for Pyro's own samplers and guides: the density from which `fit` draws.

    $\ln\mathcal{L} = \sum_i \ln (\int L_i r\,dm / N_e) + N \ln N_e - N_e$ with $N_e = \sum_s \int r_s P_s\,dm$; it
    equals $\sum_i \ln \int L_i r\,dm - N_e$. Without counts, only the first sum.

    References:
        Loredo 2004, AIP Conf. Proc. 735, 195; Mandel, Farr & Gair 2019, MNRAS 486, 1086.
    """
    parameters = sample(problem.population.priors)
    for name, value in problem.population.derived(parameters).items():
        pyro.deterministic(name, value)
    for name, term in problem.terms(parameters).items():
        pyro.factor(name, term.sum())

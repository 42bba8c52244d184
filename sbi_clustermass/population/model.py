"""A population of clusters: masses, scaling relations, and the selection of a survey.

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
from sbi_clustermass.population.parameters import Concatenated, Parameters, Priors, Unconstrained, sample
from sbi_clustermass.population.relation import ScalingRelation, log_with_outliers
from sbi_clustermass.population.selection import Everything, LogProbability, SelectionModel
from sbi_clustermass.population.survey import Survey

CORRELATION = "scatter_correlation"
CLUSTERS_AT_ONCE = 1000  # clusters in a block with observables: temporaries of 2 MB


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
        if not self.mass_range[0] < self.mass_range[1]:
            raise ValueError(f"population: mass_range must rise, got {self.mass_range}.")

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


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """Posterior density of a population's parameters, given clusters whose likelihoods are tabulated.

    Attributes:
        population: Model that is fitted.
        survey: Survey that found the clusters.
        counts: Whether the number of clusters informs the fit.
        likelihood: Tabulated likelihoods of the clusters.
        observed: Observables of the relations, for each block of the likelihood.
        redshift: Redshifts of the sorted clusters.
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
    def from_clusters(
        cls,
        population: Population,
        clusters: ObservedClusters,
        survey: Survey | None,
        *,
        counts: bool,
        device: str = "cpu",
    ) -> "Problem":
        """Tabulate the likelihoods of clusters.

        Args:
            population: Model that is fitted.
            clusters: Mass posteriors, redshifts and observables.
            survey: Survey that found them; without one, volumes are 1.
            counts: Whether their number informs the fit.
            device: Device on which the integrals of the clusters are computed; parameters and tensors of the masses
                alone stay on the CPU.

        Raises:
            ValueError: Clusters, survey and population do not match.
        """
        _check_names(population, clusters)
        sky, relations = survey or Survey.of_volume(1.0), population.named_relations
        shell, posteriors = sky.place(clusters.redshift, len(clusters)), clusters.posteriors
        likelihood = PopulationLikelihood.from_posteriors(
            posteriors, mass_range=population.mass_range, shell=shell, at_once=CLUSTERS_AT_ONCE if relations else None
        ).to(device)
        order, mean = likelihood.order, posteriors.mean
        observed = [
            {name: clusters.observables[name].select(order[block.rows], mean, posteriors.grid) for name in relations}
            for block in (likelihood.blocks if relations else ())
        ]
        known = sky.redshift[shell] if clusters.redshift is None else clusters.redshift
        redshift = torch.as_tensor(known[order], device=device)
        log_selected = population.selection.bind(likelihood.log10_mass.numpy(), sky, relations)
        return cls(population, sky, counts, likelihood, tuple(observed), redshift, log_selected)

    # ---- rates ------------------------------------------------------------------------------------------------------

    def log_rate(self, parameters: Parameters) -> Float[Tensor, "*draw shell mass"]:
        """Natural log of r = phi V: haloes per dex in each shell of the survey."""
        log_phi = self.population.masses.log_density(
            self.likelihood.log10_mass, parameters, torch.as_tensor(self.survey.redshift)
        )
        return log_phi + self.survey.log_volumes(parameters)[..., None]

    def log_selected_rate(self, parameters: Parameters) -> Float[Tensor, "*draw shell mass"]:
        """Natural log of r P: selected clusters per dex in each shell."""
        return self.log_rate(parameters) + self.log_selected(parameters)

    # ---- likelihood -------------------------------------------------------------------------------------------------

    def terms(self, parameters: Parameters) -> dict[str, Float[Tensor, "..."]]:
        r"""The two terms of the log likelihood.

        Returns:
            `clusters`: $\ln (\int L_i r\,dm / N_e)$, the log density of each sorted cluster's data given that it was
            selected, (*draw, cluster); with counts also `count`: $N \ln N_e - N_e$, the log Poisson probability of
            their number, up to -log N!, (*draw,).
        """
        log_rate = self.log_rate(parameters)
        log_selected_rate = log_rate + self.log_selected(parameters)
        log_expected = self.likelihood.log_expected(log_selected_rate)
        factor = partial(self.log_observed, parameters) if self.observed else None
        in_integral = log_rate if self.population.selection.of_data else log_selected_rate
        log_clusters = self.likelihood.log_clusters(in_integral, factor)
        terms = {"clusters": log_clusters - log_expected[..., None].to(log_clusters.device)}
        if self.counts:
            terms["count"] = len(self.likelihood) * log_expected - torch.exp(log_expected)
        return terms

    def log_observed(self, parameters: Parameters, block: int) -> Float[Tensor, "*draw some #support"]:
        """Natural log of the likelihood of the observables of a block's clusters, at the posteriors' masses."""
        relations, observed, device = self.population.named_relations, self.observed[block], self.likelihood.device
        grid, redshift = self.likelihood.grid.to(device), self.redshift[self.likelihood.blocks[block].rows]
        parameters = {name: value.to(device) for name, value in parameters.items()}
        means = [relations[name].mean(grid, parameters, redshift) for name in observed]
        stds = [relations[name].std(grid, parameters) for name in observed]
        if self.population.correlated:
            each, factor = list(observed.values()), parameters[CORRELATION]
            joint = partial(log_correlated, each, means, factor=factor)  # pyright: ignore[reportArgumentType]
            return log_with_outliers(joint, [relations[name] for name in observed], stds, parameters)
        logs = [
            relations[name].with_outliers(partial(one.log_likelihood, mean), std, parameters)
            for (name, one), mean, std in zip(observed.items(), means, stds, strict=True)
        ]
        return torch.stack(torch.broadcast_tensors(*logs)).sum(0) if len(logs) > 1 else logs[0]

    # ---- sampling ---------------------------------------------------------------------------------------------------

    def potential(self, position: Float[Tensor, "*draw coordinate"]) -> Float[Tensor, "*draw"]:
        """Negative log posterior density in the sampler's coordinates."""
        if self.observed and position.ndim > 1:  # a table for each draw and observable would not fit the cache
            return torch.stack([self.potential(one) for one in position])
        coordinates = self.population.coordinates
        parameters = coordinates.parameters(position)
        terms = self.terms(parameters)
        total = terms["clusters"].sum(-1).to(position.device) + terms.get("count", 0.0)
        return -coordinates.log_prior(position, parameters) - total


def _check_names(population: Population, clusters: ObservedClusters) -> None:
    names, given = sorted(population.named_relations), sorted(clusters.observables)
    if names != given:
        raise ValueError(
            f"population: relations of {names or 'nothing'}, observables {given or 'none'}. Each relation needs its "
            "observable, and the other way round."
        )


def population_model(problem: Problem) -> None:
    r"""Pyro model of a survey's clusters, for Pyro's own samplers and guides: the density from which `fit` draws.

    $$\ln\mathcal{L} = \sum_i \ln (\int L_i r\,dm / N_e) + N \ln N_e - N_e,
    \qquad N_e = \sum_s \int r_s P_s\,dm,$$

    which equals $\sum_i \ln \int L_i r\,dm - N_e$. Without counts it is the first sum alone.

    References:
        Loredo 2004, AIP Conf. Proc. 735, 195; Mandel, Farr & Gair 2019, MNRAS 486, 1086.
    """
    parameters = sample(problem.population.priors)
    for name, value in problem.population.derived(parameters).items():
        pyro.deterministic(name, value)
    terms = problem.terms(parameters)
    pyro.factor("clusters", terms["clusters"].sum())  # sum over i of ln (int L_i r dm / N_e)
    if problem.counts:
        pyro.factor("count", terms["count"])  # N ln N_e - N_e

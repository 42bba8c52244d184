"""Posterior density of a population's parameters, given the clusters of a survey.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; volumes are comoving [h^-3 Mpc^3]; `log_` is natural.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sbi_clustermass.population.clusters import ObservedClusters
from sbi_clustermass.population.likelihood import PopulationLikelihood
from sbi_clustermass.population.model import CORRELATION, Population
from sbi_clustermass.population.observables import Observed, log_correlated
from sbi_clustermass.population.parameters import Concatenated, Parameters, Priors, Unconstrained
from sbi_clustermass.population.rate_modes import RateModes, sample_variance, selection_errors
from sbi_clustermass.population.relation import log_with_outliers
from sbi_clustermass.population.selection import LogProbability
from sbi_clustermass.population.survey import Survey

CLUSTERS_AT_ONCE = 1000  # clusters in a block with observables: temporaries of 2 MB


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """Posterior density of a population's parameters, given clusters whose likelihoods are tabulated.

    Attributes:
        population: Model that is fitted.
        clusters: Clusters that it is fitted to.
        survey: Survey that found the clusters.
        counts: Whether the number of clusters informs the fit.
        likelihood: Tabulated likelihoods of the clusters.
        observed: Observables of the relations, for each block of the likelihood.
        redshift: Redshifts of the sorted clusters.
        log_selected: Natural log of P(selected | mass), as a function of the parameters.
        modes: Disturbances of the rate, whose numbers are parameters too.
    """

    population: Population
    clusters: ObservedClusters
    survey: Survey
    counts: bool
    likelihood: PopulationLikelihood
    observed: tuple[Mapping[str, Observed], ...]
    redshift: Float[Tensor, "cluster"]
    log_selected: LogProbability
    modes: tuple[RateModes, ...] = ()

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
        sky, relations = survey or Survey.of_volume(1.0, sample_variance=False), population.named_relations
        shell, posteriors = sky.place(clusters.redshift, len(clusters)), clusters.posteriors
        kernel = None
        if sky.redshift_error and clusters.redshift is not None:
            kernel = sky.log_kernel(clusters.redshift)
        likelihood = PopulationLikelihood.from_posteriors(
            posteriors,
            mass_range=population.mass_range,
            shell=shell,
            log_kernel=kernel,
            at_once=CLUSTERS_AT_ONCE if relations else None,
        ).to(device)
        known = sky.redshift[shell] if clusters.redshift is None else clusters.redshift
        redshift = torch.as_tensor(known[likelihood.order], device=device)
        log_selected = population.selection.bind(likelihood.log10_mass.numpy(), sky, relations)
        plain = cls(population, clusters, sky, counts, likelihood, (), redshift, log_selected)
        order = likelihood.order
        observed = [plain._select(order[block.rows]) for block in (likelihood.blocks if relations else ())]
        return replace(plain, observed=tuple(observed), modes=tuple(plain._disturbances()))

    # ---- parameters -------------------------------------------------------------------------------------------------

    @cached_property
    def priors(self) -> Priors:
        """Priors of all parameters, those of the disturbances included, by Pyro site."""
        return {**self.population.priors, **{mode.site: mode.prior for mode in self.modes}}

    @cached_property
    def coordinates(self) -> Concatenated:
        """Coordinates in which the parameters are sampled."""
        others = (Unconstrained({mode.site: mode.prior}) for mode in self.modes)
        return Concatenated(self.population.coordinates, *others)

    def _disturbances(self) -> Iterator[RateModes]:
        """Sample variance and errors of the selection, at the centre of the priors; to be called without modes."""
        if self.population.masses.counts:
            if self.survey.sample_variance:
                yield sample_variance(self.survey, self.likelihood.log10_mass.numpy())
            centre = self.population.coordinates.parameters(self.population.coordinates.centre)
            found = selection_errors(self.log_errors, self.number * self.selected_shares(centre))
            if found is not None:
                yield found

    # ---- rates ------------------------------------------------------------------------------------------------------

    def log_rate(self, parameters: Parameters) -> Float[Tensor, "*draw shell mass"]:
        """Natural log of r = phi V: haloes per dex in each shell, disturbed; the mean where no disturbance is given."""
        log_phi = self.population.masses.log_density(
            self.likelihood.log10_mass, parameters, torch.as_tensor(self.survey.redshift)
        )
        log_rate = log_phi + self.survey.log_volumes(parameters)[..., None]
        for mode in (mode for mode in self.modes if mode.site in parameters):
            log_rate = log_rate + mode.log_change(parameters)
        return log_rate

    def log_selected_rate(self, parameters: Parameters) -> Float[Tensor, "*draw shell mass"]:
        """Natural log of r P: selected clusters per dex in each shell, observed at redshifts of the survey."""
        return self.log_rate(parameters) + self._log_kept(parameters)

    def _log_kept(self, parameters: Parameters) -> Float[Tensor, "*draw #shell mass"]:
        return self.log_selected(parameters) + self.log_share

    @cached_property
    def log_share(self) -> Float[Tensor, "shell 1"]:
        """Natural log of the share of each shell's haloes that are observed at redshifts of the survey."""
        return torch.as_tensor(self.survey.mixing.sum(0)).log()[:, None]

    def expected_numbers(self, parameters: Parameters) -> Float[Tensor, "*draw shell"]:
        """Expected number of selected clusters that are observed at the redshifts of each shell."""
        log_rate = self.log_rate(parameters) + self.log_selected(parameters) + self.likelihood.weights.log()
        return log_rate.logsumexp(-1).exp() @ torch.as_tensor(self.survey.mixing).T

    @property
    def log_errors(self) -> Float[np.ndarray, "error shell mass"]:
        """Independent errors of ln P(selected | mass)."""
        return self.population.selection.log_errors(self.likelihood.log10_mass.numpy(), self.survey)

    def selected_shares(self, parameters: Parameters) -> Float[np.ndarray, "shell mass"]:
        """Shares of the expected selected clusters at each mass of each shell [1]."""
        log_number = self.log_selected_rate(parameters) + self.likelihood.weights.log()
        return log_number.flatten().softmax(0).reshape(log_number.shape).numpy()

    # ---- likelihood -------------------------------------------------------------------------------------------------

    @cached_property
    def weights(self) -> Float[Tensor, "cluster"]:
        """Weights of the sorted clusters [1]."""
        return torch.as_tensor(self.clusters.weights[self.likelihood.order], device=self.likelihood.device)

    @cached_property
    def number(self) -> float:
        """Number of different clusters."""
        return float(self.clusters.weights.sum())

    def terms(self, parameters: Parameters, rows: Int[Tensor, "some"] | None = None) -> dict[str, Float[Tensor, "..."]]:
        r"""The two terms of the log likelihood.

        Args:
            parameters: Values at the sites of `priors`, with any batch shape.
            rows: Clusters of the first term, numbered as in the posteriors; all, sorted, by default.

        Returns:
            `clusters`: $\ln (\int L_i r\,dm / N_e)$, the log density of each cluster's data given that it was selected,
            times its weight, (*draw, cluster); with counts also `count`: $N \ln N_e - N_e$, the log Poisson probability
            of their number, up to -log N!, (*draw,).
        """
        log_rate = self.log_rate(parameters)
        log_expected = self.likelihood.log_expected(log_rate + self._log_kept(parameters))
        found = log_rate if self.population.selection.of_data else log_rate + self.log_selected(parameters)
        if rows is None:
            factor = partial(self.log_block_observed, parameters) if self.observed else None
            log_clusters, weights = self.likelihood.log_clusters(found, factor), self.weights
        else:
            at, factor = self.likelihood.place[rows], None
            if self.observed:
                factor = self.log_observed(parameters, self._select(rows.numpy()), self.redshift[at])
            log_clusters, weights = self.likelihood.log_some(found, rows, factor), self.weights[at]
        terms = {"clusters": weights * (log_clusters - log_expected[..., None].to(log_clusters.device))}
        if self.counts:
            terms["count"] = self.number * log_expected - torch.exp(log_expected)
        return terms

    def _select(self, rows: Int[np.ndarray, "some"]) -> Mapping[str, Observed]:
        """Observables of some clusters, numbered as in the posteriors."""
        given, posteriors = self.clusters.observables, self.clusters.posteriors
        names = self.population.named_relations
        return {name: given[name].select(rows, posteriors.mean, posteriors.grid) for name in names}

    def log_block_observed(self, parameters: Parameters, block: int) -> Float[Tensor, "*draw some #support"]:
        """`log_observed` of a block of the likelihood."""
        return self.log_observed(parameters, self.observed[block], self.redshift[self.likelihood.blocks[block].rows])

    def log_observed(
        self, parameters: Parameters, observed: Mapping[str, Observed], redshift: Float[Tensor, "some"]
    ) -> Float[Tensor, "*draw some #support"]:
        """Natural log of the likelihood of the observables of some clusters, at the posteriors' masses."""
        relations, device = self.population.named_relations, self.likelihood.device
        grid = self.likelihood.grid.to(device)
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
        coordinates = self.coordinates
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

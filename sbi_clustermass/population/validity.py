"""What a population fit refuses, and what it warns of."""

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch

from sbi_clustermass.population.clusters import ObservedClusters
from sbi_clustermass.population.likelihood import outside, support_holding
from sbi_clustermass.population.model import Population, Problem
from sbi_clustermass.population.observables import Observable
from sbi_clustermass.population.parameters import Parameters
from sbi_clustermass.population.sampling import Draws
from sbi_clustermass.population.survey import Survey

if TYPE_CHECKING:
    from arviz import InferenceData

MAX_OUTSIDE = 0.01
NOTICEABLE = 0.05  # of sqrt(N): 10 of 10 000 clusters outside shifted a mass function's slope by .3 of its width
MAX_LEAKAGE = 0.01
MAX_PARETO_K = 0.7
MAX_RHAT = 1.05
MIN_EFFECTIVE = 100


def refuse_mismatch(
    population: Population,
    clusters: ObservedClusters,
    survey: Survey | None,
    *,
    counts: bool,
    same_galaxies_allowed: bool,
) -> None:
    """Refuse clusters, survey and population that do not belong together.

    Raises:
        ValueError: Saying what is missing and where to get it.
    """
    if counts and (survey is None or not population.masses.counts):
        cure = "Pass survey=Survey.of_volume(...) or Survey.of_sky(...), or counts=False."
        if not population.masses.counts:
            cure = f"{type(population.masses).__name__} is no density per volume: pass counts=False."
        raise ValueError(f"population: counts need the survey's volume [h^-3 Mpc^3]. {cure}")
    _refuse_leakage(clusters)
    for name, observed in clusters.observables.items():
        _refuse_shared(name, observed, population, same_galaxies_allowed)


def _refuse_leakage(clusters: ObservedClusters) -> None:
    leakage = clusters.posteriors.leakage
    if leakage > MAX_LEAKAGE:
        raise ValueError(
            f"population: the estimator puts {leakage:.1%} of its probability outside its prior's support, and was "
            f"not trained to be cut off there. More than {MAX_LEAKAGE:.0%} biases the fit.\n"
            "  try:    train with the truncated loss, Training(truncated=True), or on a wider range of masses"
        )


def _refuse_shared(name: str, observed: object, population: Population, allowed: bool) -> None:
    if not isinstance(observed, Observable):
        if population.correlated:
            raise ValueError(f"population: correlated scatter is for measured values; {name!r} is none.")
        return
    if observed.calibration is not None and population.correlated:
        raise ValueError(f"population: {name!r} has a joint calibration, which knows no correlated scatter.")
    if observed.same_galaxies and observed.calibration is None and not allowed:
        raise ValueError(
            f"population: {name!r} was measured from the galaxies that the mass posteriors have seen. Given the true "
            "mass the two are not independent, and their likelihoods must not be multiplied.\n"
            "  try:    calibration=JointCalibration.from_mocks(...), or an observable from other data; or "
            "same_galaxies_allowed=True for a consistency check, which measures no scatter"
        )


def refuse_outside(problem: Problem, parameters: Parameters, where: str) -> None:
    """Refuse a survey too much of which lies where the posteriors are blind.

    Raises:
        ValueError: More than 1 % of the expected selected clusters lie outside the posteriors' grid.
    """
    if not problem.population.masses.counts:
        return
    likelihood, rate = problem.likelihood, problem.log_selected_rate(parameters)
    below, above = outside(likelihood, rate)
    if below + above <= MAX_OUTSIDE:
        return
    low, high = float(likelihood.grid[0]), float(likelihood.grid[-1])
    need_low, need_high = support_holding(likelihood, rate, 1 - 0.5 * MAX_OUTSIDE)
    raise ValueError(
        f"population: {below + above:.1%} of the expected selected clusters lie outside the posteriors' masses, "
        f"{where}. More than {MAX_OUTSIDE:.0%} would bias the fit.\n"
        f"  found:  {below:.1%} below log10_mass {low:.2f}, {above:.1%} above {high:.2f}\n"
        f"  try:    raise the survey's richness cut until it hardly selects clusters of log10_mass < {low:.2f}, or "
        f"train the estimator on {min(need_low, low):.2f} to {max(need_high, high):.2f}"
    )


def warn_of_some_outside(problem: Problem, n_clusters: int, parameters: Parameters) -> None:
    """Warn of a large survey of which some clusters lie where the posteriors are blind, though too few to refuse it."""
    if not problem.population.masses.counts:
        return
    likelihood = problem.likelihood
    low, high = float(likelihood.grid[0]), float(likelihood.grid[-1])
    expected = n_clusters * sum(outside(likelihood, problem.log_selected_rate(parameters)))
    if expected > NOTICEABLE * np.sqrt(n_clusters):
        warnings.warn(
            f"population: {expected:.1f} of {n_clusters} clusters are expected outside the posteriors' masses, "
            f"{low:.2f} to {high:.2f}: few, but enough to shift so large a survey's fit by a tenth of its error.\n"
            "  try:    train the estimator on a wider range of masses, or raise the survey's richness cut",
            UserWarning,
            stacklevel=3,
        )


def warn_of_coarse_grid(problem: Problem, clusters: ObservedClusters, parameters: Parameters) -> None:
    """Warn where an observable is so tight that the grid of masses does not resolve its likelihood."""
    grid = problem.likelihood.grid
    step = float(grid.diff().max())
    for name, observed in clusters.observables.items():
        if not isinstance(observed, Observable):
            continue
        relation = problem.population.named_relations[name]
        scatter = relation.std(grid, parameters).amin()
        width = torch.sqrt(scatter**2 + float(np.min(observed.errors)) ** 2) * observed.narrowing
        width = float(width / parameters[relation.site("slope")].abs())
        if width < step:
            warnings.warn(
                f"population: {name} fixes a mass to {width:.4f} dex, less than a step of the posteriors' grid, "
                f"{step:.4f} dex; the scatter comes out wrong.\n"
                f"  try:    posteriors on {int(np.ceil(float(grid[-1] - grid[0]) / width))} masses or more: "
                "estimator.posterior(catalogue, grid=...)",
                UserWarning,
                stacklevel=3,
            )


def warn_unless_converged(idata: "InferenceData", draws: Draws) -> None:
    """Warn of chains that have not mixed, of too few draws, and of approximations that do not fit."""
    import arviz

    values = {name: array.values for name, array in idata["posterior"].data_vars.items() if array.ndim == 2}
    if "pareto_k" in draws.facts:
        k = draws.facts["pareto_k"]
        bad = not k < MAX_PARETO_K
        found = [f"the approximation is not the posterior: Pareto k is {k:.2f} (at most {MAX_PARETO_K})"] if bad else []
        effective = draws.facts.get("effective_draws", float("inf"))
        if effective < MIN_EFFECTIVE:
            found.append(f"{effective:.0f} draws are effective (at least {MIN_EFFECTIVE})")
        cure = "Sample with NUTS()"
    else:
        rhat = {name: float(arviz.rhat(chains)) for name, chains in values.items() if len(chains) > 1}
        ess = {name: float(arviz.ess(chains)) for name, chains in values.items()}
        found = [f"R-hat of {n} is {value:.3f} (at most {MAX_RHAT})" for n, value in rhat.items() if value > MAX_RHAT]
        few = {n: value for n, value in ess.items() if value < MIN_EFFECTIVE}
        found += [f"{n} has {value:.0f} effective draws (at least {MIN_EFFECTIVE})" for n, value in few.items()]
        cure = "Run more warm-up and samples"
    diverging = draws.stats.get("diverging")
    if diverging is not None and diverging.any():
        found.append(f"{int(diverging.sum())} of {diverging.size} trajectories diverged")
    if found:
        warnings.warn(f"population fit: {'; '.join(found)}. {cure}.", UserWarning, stacklevel=3)

"""Validity of a population fit: input that is refused, and results with a warning."""

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch

from sbi_clustermass.population.clusters import ObservedClusters
from sbi_clustermass.population.components import scalar_chains
from sbi_clustermass.population.likelihood import central_interval, outside_shares
from sbi_clustermass.population.model import Population
from sbi_clustermass.population.observables import Observable
from sbi_clustermass.population.parameters import Parameters
from sbi_clustermass.population.problem import Problem
from sbi_clustermass.population.rate_modes import effective_attempts
from sbi_clustermass.population.sampling import Draws
from sbi_clustermass.population.selection import AboveCut
from sbi_clustermass.population.survey import Survey
from sbi_clustermass.posterior.silent_imports import arviz

if TYPE_CHECKING:
    from arviz import InferenceData

_MAX_OUTSIDE = 0.01
_NOTICEABLE = 0.05  # expected number outside over sqrt(N): 10 of 10 000 shifted a slope by .3 of its width
_MAX_LEAKAGE = 0.01
_MAX_AT_ENDS = 0.05
_FLAT = 0.5  # range of the natural log of a likelihood that does not tell the mass, as of clusters without masses
_ATTEMPTS = 4  # effective attempts for each cluster
_MAX_PARETO_K = 0.7
_MAX_RHAT = 1.05
_MIN_EFFECTIVE = 100
_MAX_SPAN = 0.1
_FAR = 4.0
_MIN_SPREAD = 10  # clusters


def refuse_mismatch(
    population: Population,
    clusters: ObservedClusters,
    survey: Survey | None,
    *,
    counts: bool,
    same_galaxies_allowed: bool,
) -> None:
    """Refuse counts without a volume, an estimator that leaks probability, and observables that are not independent."""
    if counts and (survey is None or not population.masses.counts):
        cure = (
            "Pass survey=Survey.of_volume(...) or Survey.of_sky(...), or counts=False; at the command line --volume, "
            "or --area and --redshifts, or --shape-only."
        )
        if not population.masses.counts:
            cure = f"{type(population.masses).__name__} is no density per volume: pass counts=False."
        raise ValueError(f"population: counts need the survey's volume [h^-3 Mpc^3]. {cure}")
    _refuse_constant(population, survey)
    _warn_of_other_redshift(clusters, survey)
    _refuse_below_cut(population, clusters, survey)
    _refuse_leakage(clusters)
    _refuse_split_cut(population, clusters)
    for name, observed in clusters.observables.items():
        _refuse_shared(name, observed, population, same_galaxies_allowed)
        _warn_of_wide_errors(name, observed)


def _refuse_constant(population: Population, survey: Survey | None) -> None:
    masses, span = population.masses, 0.0 if survey is None else float(np.ptp(survey.redshift))
    if masses.counts and not masses.evolves and span > _MAX_SPAN:
        raise ValueError(
            f"population: the shells of the survey span {span:.2f} in redshift, and {type(masses).__name__} does not "
            f"evolve; over more than {_MAX_SPAN} it does by a fifth or more.\n"
            "  try:    CosmologyMassFunction(), or MassFunction(m_star_evolution=(-0.64, 0.5), "
            "density_evolution=(-0.89, 0.5))"
        )


def _warn_of_other_redshift(clusters: ObservedClusters, survey: Survey | None) -> None:
    """Warn of clusters far from the redshift of a given volume, whose mass function is that of its one redshift."""
    if survey is None or clusters.redshift is None or len(survey) > 1 or survey.shells[0].high > survey.shells[0].low:
        return
    far = np.abs(clusters.redshift - survey.redshift[0]) > _MAX_SPAN
    if far.any():
        warnings.warn(
            f"population: {far.sum()} of {len(clusters)} clusters lie more than {_MAX_SPAN} from redshift "
            f"{survey.redshift[0]:g}, at which the survey has its mass function; the first at "
            f"{clusters.redshift[far.argmax()]:g}.\n"
            "  try:    Survey.of_sky(area, redshifts), or Survey.of_volume(volume, redshift=...)",
            UserWarning,
            stacklevel=4,
        )


def _refuse_below_cut(population: Population, clusters: ObservedClusters, survey: Survey | None) -> None:
    cut = population.selection
    if not isinstance(cut, AboveCut) or cut.observable not in clusters.observables:
        return
    observed = clusters.observables[cut.observable]
    offset = 0.0 if survey is None or not isinstance(observed, Observable) else survey.offset(cut.observable).max()
    below = np.flatnonzero(~(observed.observed_values + offset >= cut.cut))
    if below.size:
        raise ValueError(
            f"population: the survey cuts at {cut.observable} > {cut.cut:g}, but {below.size} of {len(clusters)} "
            f"clusters are not above, the first in row {below[0]}.\n  try:    leave them out, or state the true cut"
        )


def _refuse_split_cut(population: Population, clusters: ObservedClusters) -> None:
    if not isinstance(cut := population.selection, AboveCut):
        return
    observed = clusters.observables.get(cut.observable)
    if isinstance(observed, Observable) and observed.split:
        raise ValueError(
            f"population: the selection cuts on {cut.observable!r}, whose errors differ below and above, and AboveCut "
            "knows one error.\n  try:    KnownSelection, with P(selected | mass) from mocks"
        )


def _refuse_leakage(clusters: ObservedClusters) -> None:
    leakage = clusters.posteriors.leakage
    if leakage > _MAX_LEAKAGE:
        raise ValueError(
            f"population: the estimator puts {leakage:.1%} of its probability outside its prior's support, and was "
            f"not trained to be cut off there. More than {_MAX_LEAKAGE:.0%} biases the fit.\n"
            "  try:    train with the truncated loss, Training(truncated=True), or on a wider range of masses"
        )


def _refuse_shared(name: str, observed: object, population: Population, allowed: bool) -> None:
    if not isinstance(observed, Observable):
        if population.correlated:
            raise ValueError(f"population: correlated scatter is for measured values; {name!r} is none.")
        return
    if observed.calibration is not None and population.correlated:
        raise ValueError(f"population: {name!r} has a joint calibration, which excludes correlated scatter.")
    if observed.same_galaxies and observed.calibration is None and not allowed:
        raise ValueError(
            f"population: {name!r} was measured from the galaxies that the mass posteriors have seen. Given the true "
            "mass the two are not independent, and their likelihoods must not be multiplied.\n"
            "  try:    calibration=JointCalibration.from_mocks(...), or an observable from other data; or "
            "same_galaxies_allowed=True for a consistency check, which measures no scatter"
        )


def _warn_of_wide_errors(name: str, observed: object) -> None:
    """Warn of errors twice as large as the spread of the values, which contains them."""
    if not isinstance(observed, Observable):
        return
    values, error = observed.values[observed.measured], float(np.median(np.asarray(observed.errors)))
    spread = float(np.std(values)) if len(values) >= _MIN_SPREAD else np.inf
    if error > 2 * spread:
        warnings.warn(
            f"population: errors of {name} are {error:.3g}, but its values, which contain them, scatter by "
            f"{spread:.3g}.\n  try:    check that values and errors are not exchanged, and have one unit",
            UserWarning,
            stacklevel=4,
        )


def refuse_at_the_ends(problem: Problem) -> None:
    """Refuse a sample's own distribution of masses if more than 5 % of its clusters are likeliest at the grid's ends.

    Such a distribution has no tail that tells how many clusters are expected beyond it.
    """
    if problem.population.masses.counts:
        return
    inside, grid = problem.likelihood.log_weighted[:, 1:-1], problem.likelihood.grid
    at_end = torch.maximum(inside[:, 0], inside[:, -1]) == inside.amax(-1)
    share = float((at_end & (inside.amax(-1) - inside.amin(-1) > _FLAT)).double().mean())
    if share > _MAX_AT_ENDS:
        raise ValueError(
            f"population: {share:.0%} of the clusters are likeliest at an end of the posteriors' masses, "
            f"{float(grid[0]):.2f} to {float(grid[-1]):.2f}, and lie beyond it. More than {_MAX_AT_ENDS:.0%} would "
            "bias the fit.\n"
            "  try:    posteriors on a wider grid, of an estimator trained on a wider range of masses"
        )


def refuse_outside(problem: Problem, parameters: Parameters, where: str) -> None:
    """Refuse a survey with more than 1 % of its expected selected clusters outside the posteriors' grid."""
    likelihood, rate = problem.likelihood, problem.log_selected_rate(parameters)
    below, above = outside_shares(likelihood, rate)
    if below + above <= _MAX_OUTSIDE:
        return
    low, high = float(likelihood.grid[0]), float(likelihood.grid[-1])
    need_low, need_high = central_interval(likelihood, rate, 1 - 0.5 * _MAX_OUTSIDE)
    raise ValueError(
        f"population: {below + above:.1%} of the expected selected clusters lie outside the posteriors' masses, "
        f"{where}. More than {_MAX_OUTSIDE:.0%} would bias the fit.\n"
        f"  found:  {below:.1%} below log10_mass {low:.2f}, {above:.1%} above {high:.2f}\n"
        f"  try:    raise the survey's richness cut until it hardly selects clusters of log10_mass < {low:.2f}, or "
        f"train the estimator on {min(need_low, low):.2f} to {max(need_high, high):.2f}"
    )


def warn_of_some_outside(problem: Problem, n_clusters: int, parameters: Parameters) -> None:
    """Warn if enough expected clusters lie outside the posteriors' grid to bias a large survey."""
    if not problem.population.masses.counts:
        return
    likelihood = problem.likelihood
    low, high = float(likelihood.grid[0]), float(likelihood.grid[-1])
    expected = n_clusters * sum(outside_shares(likelihood, problem.log_selected_rate(parameters)))
    if expected > _NOTICEABLE * np.sqrt(n_clusters):
        warnings.warn(
            f"population: {expected:.1f} of {n_clusters} clusters are expected outside the posteriors' masses, "
            f"{low:.2f} to {high:.2f}: few, but enough to shift so large a survey's fit by a tenth of its error.\n"
            "  try:    train the estimator on a wider range of masses, or raise the survey's richness cut",
            UserWarning,
            stacklevel=3,
        )


def warn_of_few_attempts(problem: Problem, parameters: Parameters) -> None:
    """Warn if the selection was measured on too few mocks for so many clusters."""
    if not problem.population.masses.counts:
        return
    effective = effective_attempts(problem.log_errors, problem.selected_shares(parameters))
    if effective < _ATTEMPTS * problem.number:
        warnings.warn(
            f"population: the selection is known no better than by {effective:.0f} clusters, for a fit of "
            f"{problem.number:.0f}: it should be {_ATTEMPTS} times as many (Farr 2019). Its error is marginalised "
            "over, but the fit is as wide as that error makes it.\n"
            "  try:    measure it on more mocks, or state a smaller threshold_error",
            UserWarning,
            stacklevel=3,
        )


def warn_of_coarse_grid(problem: Problem, clusters: ObservedClusters, parameters: Parameters) -> None:
    """Warn if an observable is so precise that the grid of masses does not resolve its likelihood."""
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


def warn_of_contradicted_priors(problem: Problem, draws: Draws) -> None:
    """Warn of parameters whose posterior mean lies beyond four standard deviations of a normal prior, or as far out."""
    parameters = problem.coordinates.parameters(draws.positions)
    found = []
    for name, prior in problem.population.priors.items():
        if not prior.event_shape and float(torch.special.ndtri(prior.cdf(parameters[name].mean())).abs()) > _FAR:
            found.append(f"{name} {float(parameters[name].mean()):.4g}")
    if found:
        warnings.warn(
            f"population: the data contradict the priors, which exclude what the fit finds at {_FAR:.0f} standard "
            f"deviations: {', '.join(found)}.\n"
            "  try:    check units of masses, observables and volume, and P(selected | mass); then widen the priors",
            UserWarning,
            stacklevel=3,
        )


def warn_unless_converged(idata: "InferenceData", draws: Draws) -> None:
    """Warn of chains that have not mixed, too few effective draws, and inaccurate approximations."""
    if "pareto_k" in draws.facts:
        found, cure = _faults_of_approximation(draws), "Sample with NUTS()"
    else:
        found, cure = _faults_of_chains(idata), "Run more warm-up and samples"
    diverging = draws.stats.get("diverging")
    if diverging is not None and diverging.any():
        found.append(f"{int(diverging.sum())} of {diverging.size} trajectories diverged")
    if found:
        warnings.warn(f"population fit: {'; '.join(found)}. {cure}.", UserWarning, stacklevel=3)


def _faults_of_approximation(draws: Draws) -> list[str]:
    found, k = [], draws.facts["pareto_k"]
    if not k < _MAX_PARETO_K:
        found.append(f"the approximation is not the posterior: Pareto k is {k:.2f} (at most {_MAX_PARETO_K})")
    effective = draws.facts.get("effective_draws", float("inf"))
    if effective < _MIN_EFFECTIVE:
        found.append(f"{effective:.0f} draws are effective (at least {_MIN_EFFECTIVE})")
    return found


def _faults_of_chains(idata: "InferenceData") -> list[str]:
    values = scalar_chains(idata)
    rhat = {name: float(arviz().rhat(chains)) for name, chains in values.items() if len(chains) > 1}
    ess = {name: float(arviz().ess(chains)) for name, chains in values.items()}
    found = [f"R-hat of {n} is {value:.3f} (at most {_MAX_RHAT})" for n, value in rhat.items() if value > _MAX_RHAT]
    few = {name: value for name, value in ess.items() if value < _MIN_EFFECTIVE}
    return found + [f"{n} has {value:.0f} effective draws (at least {_MIN_EFFECTIVE})" for n, value in few.items()]

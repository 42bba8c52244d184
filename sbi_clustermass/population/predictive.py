"""What a model predicts for another look at the same survey: numbers of clusters, and their observables.

Masses are log10_mass [dex].
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sbi_clustermass.population.observables import Observable, Observed
from sbi_clustermass.population.parameters import Parameters
from sbi_clustermass.population.problem import Problem
from sbi_clustermass.population.relation import ScalingRelation
from sbi_clustermass.population.selection import AboveCut
from sbi_clustermass.population.survey import Survey

PREDICTIVE = 200  # draws that are predicted from
_ATTEMPTS = 100  # to draw a value above the cut
_MOST = 1e15  # clusters: a prior may predict any number

LogMasses = Callable[[Parameters, int], Float[Tensor, "some mass"]]


def batches(parameters: Parameters, shape: tuple[int, ...], size: int) -> Iterator[dict[str, Tensor]]:
    """Yield the parameters of draws in batches, chain by chain."""
    flat = {name: value.reshape(-1, *value.shape[len(shape) :]) for name, value in parameters.items()}
    for start in range(0, int(np.prod(shape)), size):
        yield {name: value[start : start + size] for name, value in flat.items()}


def spaced_draws(parameters: Parameters, shape: tuple[int, ...], number: int) -> list[dict[str, Tensor]]:
    """Parameters of about `number` evenly spaced draws, chain by chain."""
    every = max(1, int(np.prod(shape)) // number)
    each = ({name: value[0] for name, value in one.items()} for one in batches(parameters, shape, 1))
    return [one for i, one in enumerate(each) if i % every == 0]


def redshift_bins(survey: Survey) -> Int[np.ndarray, "shell"]:
    """Number of each shell's redshift: parts of the sky with the same redshifts count as one.

    `Survey.place` does not distinguish between such parts. A shell at whose redshifts no cluster is accepted has -1.
    """
    ends = [(shell.redshift, shell.low, shell.high) for shell in survey.shells]
    accepted = [each for each, share in zip(ends, survey.mixing.sum(1), strict=True) if share > 0]
    number = {each: i for i, each in enumerate(dict.fromkeys(accepted))}
    return np.array([number.get(each, -1) for each in ends])


def by_redshift(survey: Survey, values: np.ndarray) -> np.ndarray:
    """Sum over shells of the same redshift, along the first axis."""
    number = redshift_bins(survey)
    total = np.zeros((number.max() + 1, *values.shape[1:]), values.dtype)
    np.add.at(total, number[number >= 0], values[number >= 0])
    return total


def observed_counts(problem: Problem) -> Int[np.ndarray, "redshift"]:
    """Number of different clusters in each shell of redshift."""
    numbers = np.zeros(len(problem.survey))
    np.add.at(numbers, problem.survey.place(problem.clusters.redshift, len(problem.clusters)), problem.clusters.weights)
    return by_redshift(problem.survey, numbers).round().astype(int)


def lowest_values(problem: Problem, name: str, observed: Observed) -> Float[np.ndarray, "shell"]:
    """Value of an observable at the survey's cut in each shell; -inf if the survey does not cut on it.

    Values of an `Observable` exclude the offset of their field; others know it themselves.
    """
    selection, offset = problem.population.selection, problem.survey.offset(name)
    cut = selection.cut if isinstance(selection, AboveCut) and selection.observable == name else -np.inf
    return cut - offset if isinstance(observed, Observable) else cut + 0 * offset


def posterior_predictive(problem: Problem, draws: list[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    """Predict numbers of clusters, and observables of each cluster at a mass drawn from its posterior.

    Args:
        problem: Clusters and their model.
        draws: Parameters of each draw.

    Returns:
        With counts `n_selected`, the number of selected clusters in each shell of redshift; and the observables, of
        clusters in the order of their posteriors, above the cut if the survey cuts on them. The first axis is one
        chain, the second the draws.
    """

    def log_masses(parameters: Parameters, number: int) -> Float[Tensor, "some support"]:
        return log_mass_posterior(problem, parameters, number).cpu()

    return _predict(problem, draws, problem.likelihood.grid, log_masses)


def prior_predictive(problem: Problem, draws: list[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    """Predict the same as `posterior_predictive`, with masses drawn from the population of selected haloes instead."""

    def log_masses(parameters: Parameters, number: int) -> Float[Tensor, "some mass"]:
        return log_mass_prior(problem, parameters, number).cpu()

    return _predict(problem, draws, problem.likelihood.log10_mass, log_masses)


def log_mass_prior(problem: Problem, parameters: Parameters, number: int) -> Float[Tensor, "some mass"]:
    """Natural log of the probability of the cell of each mass, for selected haloes at redshifts of a block's clusters.

    Up to one constant for each cluster.
    """
    likelihood = problem.likelihood
    block, rate = likelihood.blocks[number], problem.log_rate(parameters) + problem.log_selected(parameters)
    log_prob = likelihood.log_rate_of(block, (rate + likelihood.weights.log()).to(likelihood.device))
    return log_prob.expand(block.rows.stop - block.rows.start, -1)


def log_mass_posterior(problem: Problem, parameters: Parameters, number: int) -> Float[Tensor, "some support"]:
    """Natural log of the posterior probability of the cell of each mass, for a block's clusters at given parameters.

    Up to one constant for each cluster.
    """
    rate, likelihood = problem.log_rate(parameters), problem.likelihood
    if not problem.population.selection.of_data:
        rate = rate + problem.log_selected(parameters)
    block, inside = likelihood.blocks[number], likelihood.support
    log_prob = likelihood.log_weighted[block.rows] + likelihood.log_rate_of(
        block, rate[:, inside].to(likelihood.device)
    )
    return log_prob + problem.log_block_observed(parameters, number) if problem.observed else log_prob


# ---- draws ----------------------------------------------------------------------------------------------------------


def _predict(
    problem: Problem, draws: list[dict[str, Tensor]], masses: Float[Tensor, "mass"], log_masses: LogMasses
) -> dict[str, np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    found: dict[str, list[np.ndarray]] = {}
    for parameters in draws:
        one = {"n_selected": _numbers(problem, parameters, generator)} if problem.counts else {}
        for name, values in {**one, **_observables(problem, parameters, masses, log_masses, generator)}.items():
            found.setdefault(name, []).append(values)
    return {name: np.array(values)[None] for name, values in found.items()}


def _numbers(problem: Problem, parameters: Parameters, generator: torch.Generator) -> Int[np.ndarray, "redshift"]:
    expected = problem.expected_numbers(parameters).clamp(max=_MOST)
    return by_redshift(problem.survey, torch.poisson(expected, generator=generator).numpy().astype(int))


def _observables(
    problem: Problem,
    parameters: Parameters,
    masses: Float[Tensor, "mass"],
    log_masses: LogMasses,
    generator: torch.Generator,
) -> dict[str, Float[np.ndarray, "cluster"]]:
    """Draw observables of all clusters, in the order of the posteriors."""
    rows: dict[str, list[Tensor]] = {}
    for number, observed in enumerate(problem.observed):
        cell = torch.multinomial(log_masses(parameters, number).softmax(-1), 1, generator=generator)
        shells, some = problem.likelihood.blocks[number]
        for name, one in observed.items():
            relation = problem.population.named_relations[name]
            mean = relation.mean(masses, parameters, problem.redshift[some].cpu())
            mean, std = (
                part.expand(len(cell), len(masses)).gather(-1, cell)[:, 0]
                for part in (mean, relation.std(masses, parameters))
            )
            at_masses = partial(_draw, one, relation, mean, std, parameters, generator)
            lowest = lowest_values(problem, name, one)[shells.start]
            rows.setdefault(name, []).append(_selected(at_masses, float(lowest)))
    unsorted = np.argsort(problem.likelihood.order)
    return {name: torch.cat(parts).numpy()[unsorted] for name, parts in rows.items()}


def _draw(
    observed: Observed,
    relation: ScalingRelation,
    mean: Float[Tensor, "some"],
    std: Float[Tensor, "some"],
    parameters: Parameters,
    generator: torch.Generator,
) -> Float[Tensor, "some"]:
    return observed.predict(mean, relation.draw_std(std, parameters, generator), generator)


def _selected(draw: Callable[[], Float[Tensor, "some"]], cut: float) -> Float[Tensor, "some"]:
    """Draw values above a cut; where a hundred attempts find none, it is the cut, which is the limit of small tails."""
    values = draw()
    for _ in range(_ATTEMPTS if cut > -np.inf else 0):
        if not (values <= cut).any():
            break
        values = torch.where(values <= cut, draw(), values)
    return torch.where(values <= cut, cut, values)

"""Counts of clusters in bins of an observable or of mass: expected by a model at given parameters, and observed.

Masses are log10_mass [dex]. Counts are summed over parts of the sky with the same redshifts.
"""

from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.population.observables import Observable, Observed
from sbi_clustermass.population.parameters import Parameters
from sbi_clustermass.population.predictive import by_redshift, log_mass_posterior, lowest_values, redshift_bins
from sbi_clustermass.population.problem import Problem
from sbi_clustermass.population.selection import AboveCut

_ERRORS, _DRAWN_ERRORS = 32, 200_000  # errors that stand for those of all clusters, and draws that they are means of

Edges = Float[np.ndarray, "edge"]
Expected = Float[np.ndarray, "draw redshift bin"]


def expected_clusters(problem: Problem, parameters: Parameters) -> Float[np.ndarray, "draw redshift"]:
    """Expected number of selected clusters."""
    rate = problem.log_selected_rate(parameters).exp() * problem.likelihood.weights
    return _summed(problem, rate.sum(-1)[..., None])[..., 0]


def expected_in_mass(problem: Problem, parameters: Parameters, edges: Edges) -> Expected:
    """Expected number of selected clusters in bins of mass."""
    rate = problem.log_selected_rate(parameters).exp() * problem.likelihood.weights
    left, right = _cells(problem.likelihood.log10_mass.numpy())
    inside = np.minimum(right[:, None], edges[1:]) - np.maximum(left[:, None], edges[:-1])
    return _summed(problem, rate @ torch.as_tensor(inside.clip(min=0) / (right - left)[:, None]))


def expected_in_observable(
    problem: Problem, parameters: Parameters, name: str, observed: Observed, edges: Edges
) -> Expected:
    """Expected number of selected clusters in bins of an observable."""
    selection = problem.population.selection
    if isinstance(selection, AboveCut) and selection.observable == name:
        log_rate = problem.log_rate(parameters) + problem.log_share
    else:
        log_rate = problem.log_selected_rate(parameters)
    rate, errors = log_rate.exp() * problem.likelihood.weights, _errors(observed)
    above = [(rate * _exceeds(problem, parameters, name, observed, edge, errors)).sum(-1) for edge in edges]
    return _summed(problem, -torch.stack(above, -1).diff(dim=-1))


def observed_in(
    problem: Problem, values: Float[np.ndarray, "cluster"], edges: Edges
) -> Float[np.ndarray, "redshift bin"]:
    """Number of different clusters in bins of a value, NaN where there is none; a value at the last edge is inside."""
    shell = problem.survey.place(problem.clusters.redshift, len(values))
    number, weights = redshift_bins(problem.survey), problem.clusters.weights
    rows = [number[shell] == i for i in range(number.max() + 1)]
    return np.stack([np.histogram(values[row], edges, weights=weights[row])[0] for row in rows])


def drawn_masses(problem: Problem, draws: list[dict[str, Tensor]]) -> Float[np.ndarray, "draw cluster"]:
    """A mass of each cluster at each draw, from its posterior given the parameters."""
    generator, unsorted = torch.Generator().manual_seed(0), np.argsort(problem.likelihood.order)
    left, right = (torch.as_tensor(end) for end in _cells(problem.likelihood.grid.numpy()))
    found = []
    for parameters in draws:
        blocks = range(len(problem.likelihood.blocks))
        prob = (log_mass_posterior(problem, parameters, number).softmax(-1).cpu() for number in blocks)
        cell = torch.cat([torch.multinomial(one, 1, generator=generator)[:, 0] for one in prob])[unsorted]
        share = torch.rand(cell.shape, generator=generator, dtype=left.dtype)
        found.append(torch.lerp(left[cell], right[cell], share).numpy())
    return np.stack(found)


def _exceeds(
    problem: Problem,
    parameters: Parameters,
    name: str,
    observed: Observed,
    edge: float,
    errors: Float[np.ndarray, "error"],
) -> Float[Tensor, "draw shell mass"]:
    """P(y > edge | mass) above the survey's cut in each shell, averaged over errors."""
    relation, survey, masses = problem.population.named_relations[name], problem.survey, problem.likelihood.log10_mass
    mean, std = relation.mean(masses, parameters, torch.as_tensor(survey.redshift)), relation.std(masses, parameters)
    lowest = torch.as_tensor(lowest_values(problem, name, observed))[:, None].clamp(min=edge)
    if isinstance(observed, Observable):  # its values exclude the offset of the field
        mean, edge = mean - lowest, 0.0
    else:
        mean, edge = mean + torch.as_tensor(survey.offset(name))[:, None], float(lowest[0])
    probability = torch.zeros(())
    for error in errors:
        exceeds = partial(observed.log_exceeds, edge - error, mean)
        probability = probability + relation.with_outliers(exceeds, std, parameters).exp() / len(errors)
    return probability


def _errors(observed: Observed) -> Float[np.ndarray, "error"]:
    """Means of equal parts of the sorted errors of all clusters; 0 for a `Significance`, which contains its error."""
    if not isinstance(observed, Observable):
        return np.zeros(1)
    zero = torch.zeros(1 + _DRAWN_ERRORS // len(observed), len(observed), dtype=torch.float64)
    draws = observed.predict(zero, zero, torch.Generator().manual_seed(0))
    drawn = np.sort(draws.numpy(), axis=None)  # NaN, of clusters without a value, at the end
    return np.array([part.mean() for part in np.array_split(drawn[np.isfinite(drawn)], _ERRORS)])


def _summed(problem: Problem, counts: Float[Tensor, "draw shell bin"]) -> Expected:
    mixing = problem.survey.mixing
    observed = np.einsum("ts,dsb->tdb", mixing / mixing.sum(0), counts.numpy())
    return by_redshift(problem.survey, observed).swapaxes(0, 1)


def _cells(grid: Float[np.ndarray, "mass"]) -> tuple[Float[np.ndarray, "mass"], Float[np.ndarray, "mass"]]:
    """Ends of the cell of each mass, whose width is its weight in the trapezoid rule."""
    middles = 0.5 * (grid[1:] + grid[:-1])
    return np.append(grid[0], middles), np.append(middles, grid[-1])

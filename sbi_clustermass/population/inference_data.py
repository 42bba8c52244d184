"""Result of a fit as arviz.InferenceData: draws, likelihoods, predictions.

Masses are log10_mass [dex].
"""

import json
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.population.clusters import ObservedClusters
from sbi_clustermass.population.masses import masses_config
from sbi_clustermass.population.model import CORRELATION, Problem
from sbi_clustermass.population.parameters import Parameters
from sbi_clustermass.population.sampling import Draws, Sampler
from sbi_clustermass.population.sampling.draws import DRAWS_AT_ONCE

if TYPE_CHECKING:
    from arviz import InferenceData

_MOST_POINTWISE = 20_000_000  # log likelihoods of single clusters that are kept; if there are more, only their sum
_PREDICTIVE = 200  # draws that are predicted from


def inference_data(problem: Problem, clusters: ObservedClusters, draws: Draws, sampler: Sampler) -> "InferenceData":
    """Make all groups of the result of a fit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # arviz announces its next major version at import
        import arviz

    population = problem.population
    parameters = population.coordinates.parameters(draws.positions)
    derived = population.derived(parameters)
    posterior = {name: value.numpy() for name, value in {**parameters, **derived}.items() if name != CORRELATION}
    log_likelihood, dims = _log_likelihood(problem, parameters, draws)
    predicted, prior, prior_predicted = _predictions(problem, parameters, draws)
    observed = {"log10_mass_mean": clusters.posteriors.mean, "log10_mass_std": clusters.posteriors.std}
    observed |= {name: one.observed_values for name, one in clusters.observables.items()}
    middle = population.coordinates.parameters(draws.positions.mean(dim=(0, 1)))
    selected = problem.log_selected(middle).exp().mean(0)
    return arviz.from_dict(
        posterior=posterior,
        log_likelihood=log_likelihood,
        sample_stats=dict(draws.stats),
        observed_data=observed,
        constant_data={"p_selected": selected.numpy(), "volume": [shell.volume for shell in problem.survey.shells]},
        prior=prior,
        prior_predictive=prior_predicted,
        posterior_predictive=predicted,
        coords={"cluster": list(clusters.posteriors.names), "log10_mass": problem.likelihood.log10_mass.numpy()},
        dims={**dims, **{name: ["cluster"] for name in observed}, "p_selected": ["log10_mass"], "volume": ["shell"]},
        attrs=_attrs(problem, clusters, draws, sampler),
    )


def each_draw(parameters: Parameters, shape: tuple[int, ...]) -> Iterator[dict[str, Tensor]]:
    """Yield the parameters of each draw, chain by chain."""
    for one in _batches(parameters, shape, 1):
        yield {name: value[0] for name, value in one.items()}


def _log_likelihood(
    problem: Problem, parameters: Parameters, draws: Draws
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Terms of the likelihood at every draw, with clusters in the order of the posteriors."""
    shape = tuple(draws.positions.shape[:2])
    pointwise = len(problem.likelihood) * shape[0] * shape[1] <= _MOST_POINTWISE
    unsorted = np.argsort(problem.likelihood.order)
    rows: dict[str, list[np.ndarray]] = {}
    for some in _batches(parameters, shape, 1 if problem.observed else DRAWS_AT_ONCE):
        for name, term in problem.terms(some).items():
            value = term.detach().cpu().numpy()
            if name == "clusters":
                value = value[..., unsorted] if pointwise else value.sum(-1)
            rows.setdefault(name, []).append(value)
    found = {name: np.concatenate(values) for name, values in rows.items()}
    found = {name: value.reshape(*shape, *value.shape[1:]) for name, value in found.items()}
    return found, {"clusters": ["cluster"]} if pointwise else {}


def _batches(parameters: Parameters, shape: tuple[int, ...], size: int) -> Iterator[dict[str, Tensor]]:
    """Yield the parameters of draws in batches, chain by chain."""
    flat = {name: value.reshape(-1, *value.shape[len(shape) :]) for name, value in parameters.items()}
    for start in range(0, int(np.prod(shape)), size):
        yield {name: value[start : start + size] for name, value in flat.items()}


def _predictions(
    problem: Problem, parameters: Parameters, draws: Draws
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Posterior predictions, draws from the prior, and predictions from these."""
    shape = tuple(draws.positions.shape[:2])
    generator = torch.Generator().manual_seed(0)
    every = max(1, shape[0] * shape[1] // _PREDICTIVE)
    some = [one for i, one in enumerate(each_draw(parameters, shape)) if i % every == 0]
    predicted = {"n_selected": np.array([_predicted_number(problem, one, generator) for one in some])[None]}
    unsorted = np.argsort(problem.likelihood.order)
    for name, values in _predicted_observables(problem, some, generator).items():
        predicted[name] = values[:, unsorted][None]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        prior = {name: dist.sample(torch.Size([_PREDICTIVE])) for name, dist in problem.population.priors.items()}
    numbers = [_predicted_number(problem, one, generator) for one in each_draw(prior, (_PREDICTIVE,))]
    named = {name: value.numpy()[None] for name, value in prior.items() if name != CORRELATION}
    return predicted, named, {"n_selected": np.array(numbers)[None]}


def _predicted_number(problem: Problem, parameters: Parameters, generator: torch.Generator) -> float:
    """Draw a number of selected clusters in the survey; NaN if the masses are not a density per volume."""
    if not problem.population.masses.counts:
        return float("nan")
    expected = problem.likelihood.log_expected(problem.log_selected_rate(parameters)).exp().clamp(max=1e15)
    return float(torch.poisson(expected, generator=generator))


def _predicted_observables(
    problem: Problem, some: list[dict[str, Tensor]], generator: torch.Generator
) -> dict[str, Float[np.ndarray, "draw cluster"]]:
    """Draw observables of each cluster, at a mass drawn from its posterior given the population."""
    relations, grid, found = problem.population.named_relations, problem.likelihood.grid, []
    for parameters in some if problem.observed else []:
        rows: dict[str, list[Tensor]] = {name: [] for name in relations}
        for number, block in enumerate(problem.likelihood.blocks):
            prob = log_mass_posterior(problem, parameters, number).softmax(-1).cpu()
            cell = torch.multinomial(prob, 1, generator=generator)
            for name, observed in problem.observed[number].items():
                mean = relations[name].mean(grid, parameters, problem.redshift[block.rows].cpu())
                std = relations[name].std(grid, parameters)
                mean, std = (part.expand(len(cell), len(grid)).gather(-1, cell)[:, 0] for part in (mean, std))
                rows[name].append(observed.predict(mean, std, generator))
        found.append({name: torch.cat(parts).numpy() for name, parts in rows.items()})
    return {name: np.array([one[name] for one in found]) for name in (relations if found else ())}


def log_mass_posterior(problem: Problem, parameters: Parameters, number: int) -> Float[Tensor, "some support"]:
    """Natural log of the mass posterior of a block's clusters at given parameters, up to one constant for each."""
    rate, likelihood = problem.log_rate(parameters), problem.likelihood
    if not problem.population.selection.of_data:
        rate = rate + problem.log_selected(parameters)
    block, inside = likelihood.blocks[number], likelihood.support
    at_masses = rate[block.shell, inside] - likelihood.weights[inside].log()
    log_prob = likelihood.log_weighted[block.rows] + at_masses.to(likelihood.device)
    return log_prob + problem.log_observed(parameters, number) if problem.observed else log_prob


def _attrs(problem: Problem, clusters: ObservedClusters, draws: Draws, sampler: Sampler) -> dict[str, Any]:
    population = problem.population
    shared = [
        name
        for name, one in clusters.observables.items()
        if one.same_galaxies and getattr(one, "calibration", None) is None
    ]
    model = {"masses": masses_config(population.masses), "redshift": list(problem.survey.redshift)}
    return {
        "model": json.dumps(model),
        "relations": "; ".join(map(repr, population.relations)),
        "selection": repr(population.selection),
        "sampler": repr(sampler),
        **{name: float(value) for name, value in draws.facts.items()},
        **({"consistency_check": f"same galaxies as the masses: {', '.join(shared)}"} if shared else {}),
    }

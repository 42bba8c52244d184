"""Result of a fit as arviz.InferenceData: draws, likelihoods, predictions.

Masses are log10_mass [dex].
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.population.clusters import ObservedClusters
from sbi_clustermass.population.masses import masses_config
from sbi_clustermass.population.model import CORRELATION
from sbi_clustermass.population.parameters import Parameters
from sbi_clustermass.population.predictive import (
    PREDICTIVE,
    batches,
    observed_counts,
    posterior_predictive,
    prior_predictive,
    spaced_draws,
)
from sbi_clustermass.population.priors import described
from sbi_clustermass.population.problem import Problem
from sbi_clustermass.population.sampling import Draws, Sampler
from sbi_clustermass.population.sampling.draws import DRAWS_AT_ONCE
from sbi_clustermass.posterior.silent_imports import arviz

if TYPE_CHECKING:
    from arviz import InferenceData

_MOST_POINTWISE = 20_000_000  # log likelihoods of single clusters that are kept; if there are more, only their sum


def inference_data(problem: Problem, clusters: ObservedClusters, draws: Draws, sampler: Sampler) -> "InferenceData":
    """Make all groups of the result of a fit."""
    population = problem.population
    parameters = problem.coordinates.parameters(draws.positions)
    log_likelihood, dims = _log_likelihood(problem, parameters, draws)
    observables = {name: one.observed_values for name, one in clusters.observables.items()}
    counts = {"n_selected": observed_counts(problem)} if problem.counts else {}
    prior, middle = _prior(problem), problem.coordinates.parameters(draws.positions.mean(dim=(0, 1)))
    masses = {"log10_mass_mean": clusters.posteriors.mean, "log10_mass_std": clusters.posteriors.std}
    constant = {"p_selected": problem.log_selected(middle).exp().mean(0).numpy(), **masses}
    return arviz().from_dict(
        posterior=_named({**parameters, **population.derived(parameters)}),
        log_likelihood=log_likelihood,
        sample_stats={**draws.stats, **_log_densities(problem, parameters, log_likelihood)},
        observed_data={**counts, **observables},
        constant_data={**constant, "volume": [shell.volume for shell in problem.survey.shells]},
        prior={name: value[None] for name, value in _named({**prior, **population.derived(prior)}).items()},
        prior_predictive=prior_predictive(problem, spaced_draws(prior, (PREDICTIVE,), PREDICTIVE)),
        posterior_predictive=posterior_predictive(
            problem, spaced_draws(parameters, tuple(draws.positions.shape[:2]), PREDICTIVE)
        ),
        coords={"cluster": list(clusters.posteriors.names), "log10_mass": problem.likelihood.log10_mass.numpy()},
        dims={
            **dims,
            **{name: ["cluster"] for name in (*observables, *masses)},
            "n_selected": ["redshift"],
            "p_selected": ["log10_mass"],
            "volume": ["shell"],
        },
        attrs=_attrs(problem, clusters, draws, sampler),
    )


def _log_likelihood(
    problem: Problem, parameters: Parameters, draws: Draws
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Terms of the likelihood at every draw, with clusters in the order of the posteriors."""
    shape = tuple(draws.positions.shape[:2])
    pointwise = len(problem.likelihood) * shape[0] * shape[1] <= _MOST_POINTWISE
    unsorted = np.argsort(problem.likelihood.order)
    rows: dict[str, list[np.ndarray]] = {}
    for some in batches(parameters, shape, 1 if problem.observed else DRAWS_AT_ONCE):
        for name, term in problem.terms(some).items():
            value = term.detach().cpu().numpy()
            if name == "clusters":
                value = value[..., unsorted] if pointwise else value.sum(-1)
            rows.setdefault(name, []).append(value)
    found = {name: np.concatenate(values) for name, values in rows.items()}
    found = {name: value.reshape(*shape, *value.shape[1:]) for name, value in found.items()}
    return found, {"clusters": ["cluster"]} if pointwise else {}


def _log_densities(
    problem: Problem, parameters: Parameters, log_likelihood: Mapping[str, np.ndarray]
) -> dict[str, Float[np.ndarray, "chain draw"]]:
    """Natural logs of the prior density of all parameters and, as `lp`, of the posterior density up to a constant."""
    priors = problem.priors
    logs = {name: prior.log_prob(parameters[name]).numpy() for name, prior in priors.items()}
    log_prior, log_likelihoods = (
        np.sum([each.reshape(*each.shape[:2], -1).sum(-1) for each in terms.values()], axis=0)
        for terms in (logs, log_likelihood)
    )
    return {"log_prior": log_prior, "lp": log_prior + log_likelihoods}


def _prior(problem: Problem) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return {name: dist.sample(torch.Size([PREDICTIVE])) for name, dist in problem.priors.items()}


def _named(parameters: Parameters) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in parameters.items() if name != CORRELATION}


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
        "priors": json.dumps(described(problem.priors)),
        "sampler": repr(sampler),
        **{name: float(value) for name, value in draws.facts.items()},
        **({"consistency_check": f"same galaxies as the masses: {', '.join(shared)}"} if shared else {}),
    }

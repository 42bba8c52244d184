"""Masses of clusters given the whole population, and the mass function with its uncertainty.

Masses are log10_mass [dex]; densities comoving [h^3 Mpc^-3], per dex.
"""

import json
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.population.blinding import refuse_blinded
from sbi_clustermass.population.clusters import ObservedClusters, as_clusters
from sbi_clustermass.population.likelihood import trapezoid_weights
from sbi_clustermass.population.masses import Masses, masses_from_config
from sbi_clustermass.population.model import CORRELATION, Population
from sbi_clustermass.population.predictive import log_mass_posterior, spaced_draws
from sbi_clustermass.population.problem import Problem
from sbi_clustermass.population.survey import Survey
from sbi_clustermass.posterior import MassPosteriors

if TYPE_CHECKING:
    from arviz import InferenceData


def shrink(
    idata: "InferenceData",
    population: Population,
    clusters: MassPosteriors | ObservedClusters,
    survey: Survey | None = None,
    *,
    draws: int = 100,
) -> MassPosteriors:
    r"""Posterior of each cluster's mass, with the population inferred from all of them as its prior.

    It is the mean over the fit's draws of $L_i(m)\,p(y_i|m)\,\phi(m)$, normalised for each draw. This corrects
    Eddington bias: more clusters scatter up than down.

    Args:
        idata: Result of `fit`.
        population: Population that was fitted.
        clusters: Clusters that it was fitted to.
        survey: Survey that was given to `fit`.
        draws: Number of draws to average over, evenly spaced.

    Returns:
        Posteriors on the clusters' grid, with their names. `log_prior` is the mean population: do not fit these
        posteriors again.

    Raises:
        ValueError: The fit is of another population, or blinded.
    """
    clusters = as_clusters(clusters)
    problem = Problem.from_clusters(population, clusters, survey, counts=False)
    total, log_phi, number = 0.0, [], 0
    for parameters in posterior_draws(idata, problem, draws):
        blocks = range(len(problem.likelihood.blocks))
        total = total + torch.cat([log_mass_posterior(problem, parameters, i).softmax(-1) for i in blocks]).cpu()
        log_phi.append(problem.log_rate(parameters)[:, problem.likelihood.support].logsumexp(0))
        number += 1
    prob = torch.as_tensor(total)[torch.as_tensor(np.argsort(problem.likelihood.order))]
    with np.errstate(divide="ignore"):
        log_prob = np.log(prob.numpy() / (number * trapezoid_weights(clusters.posteriors.grid)))
    return MassPosteriors.from_log_prob(
        clusters.posteriors.grid,
        log_prob,
        log_prior=torch.stack(log_phi).logsumexp(0).numpy(),
        names=clusters.posteriors.names,
    )


def mass_function_band(
    idata: "InferenceData",
    log10_mass: Float[np.ndarray, "mass"],
    *,
    percentiles: tuple[float, ...] = (16, 50, 84),
    redshift: float | None = None,
) -> Float[np.ndarray, "percentile mass"]:
    """Percentiles of dn/dlog10M over the posterior of a fit, at each mass.

    Args:
        idata: Result of `fit`. After `counts=False` the amplitude, and so the band, is its prior's.
        log10_mass: Masses at which to evaluate it [dex].
        percentiles: Percentiles, in [0, 100].
        redshift: Redshift; that of the first shell by default.

    Returns:
        dn/dlog10M [h^3 Mpc^-3 dex^-1], one row for each percentile.

    Raises:
        ValueError: `idata` does not come from a fit, or is blinded.
    """
    refuse_blinded(idata, "mass_function_band")
    masses, shells = _record(idata)
    z = torch.tensor([shells[0] if redshift is None else redshift], dtype=torch.float64)
    posterior = idata["posterior"]
    draws = {name: torch.as_tensor(posterior[name].values.ravel()) for name in masses.priors}
    log_phi = masses.log_density(torch.as_tensor(np.asarray(log10_mass, float)), draws, z)[..., 0, :]
    return np.percentile(np.exp(log_phi.numpy()), percentiles, axis=0)


def _record(idata: "InferenceData") -> tuple[Masses, list[float]]:
    record = json.loads(idata.attrs.get("model", "{}"))
    if "masses" not in record:
        raise ValueError(f"a band needs the result of fit(...), found {record or 'no record of a model'}.")
    return masses_from_config(record["masses"]), record["redshift"]


def posterior_draws(idata: "InferenceData", problem: Problem, draws: int) -> list[dict[str, Tensor]]:
    """Parameters of about `draws` evenly spaced draws from the posterior of a fit.

    Raises:
        ValueError: The fit is of another population, or blinded.
    """
    refuse_blinded(idata, "population")
    posterior, population = idata["posterior"], problem.population
    names = [name for name in problem.priors if name != CORRELATION]
    missing = [name for name in names if name not in posterior]
    if missing:
        raise ValueError(f"population: the fit has no {', '.join(missing)}: it is of another population.")
    shape = posterior.sizes["chain"], posterior.sizes["draw"]
    parameters = {name: torch.as_tensor(posterior[name].values) for name in names}
    if population.correlated:
        parameters[CORRELATION] = _correlation_factors(idata, population)
    return spaced_draws(parameters, shape, draws)


def _correlation_factors(
    idata: "InferenceData", population: Population
) -> Float[Tensor, "chain draw observable observable"]:
    """Cholesky factors of the correlation matrices."""
    names, posterior = list(population.named_relations), idata["posterior"]
    shape = posterior.sizes["chain"], posterior.sizes["draw"]
    matrix = torch.eye(len(names), dtype=torch.float64).repeat(*shape, 1, 1)
    for i in range(len(names)):
        for j in range(i):
            value = torch.as_tensor(posterior[f"correlation_{names[j]}_{names[i]}"].values)
            matrix[..., i, j] = matrix[..., j, i] = value
    return torch.linalg.cholesky(matrix)

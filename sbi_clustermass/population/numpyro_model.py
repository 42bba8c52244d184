"""Clusters in models of NumPyro: what `cluster_factor` is in Pyro, in JAX.

Masses are log10_mass [dex]; `log_` is natural; everything is float64.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from clustermocks.io.extras import naming_extras
from sbi_clustermass.population.likelihood import PopulationLikelihood


@naming_extras()
def numpyro_cluster_factor(
    name: str,
    likelihood: PopulationLikelihood,
    log_rate: Any,
    *,
    log_selected: Any = None,
    log_observed: Callable[[Any], Any] | None = None,
    counts: bool = True,
    subsample_size: int | None = None,
) -> None:
    """Put clusters with mass posteriors into any NumPyro model, in a plate of their own.

    The density is that of `cluster_factor`. JAX must compute in float64: call
    `jax.config.update("jax_enable_x64", True)` first. Chains and particles are mapped by JAX, so that parameters
    need no axes of their own.

    Args:
        name: Name of the factor of the clusters; their plate is NAME_plate, and the factor of N_e is NAME_count.
        likelihood: Their likelihoods, `PopulationLikelihood.from_posteriors(posteriors)`.
        log_rate: Log of the number of haloes per dex of mass, (shell, mass), in each shell of the survey, at
            `likelihood.log10_mass`.
        log_selected: Log of P(selected | mass), (shell or 1, mass); by default every cluster is selected.
        log_observed: Function of the clusters' numbers, as in the posteriors, that returns the log density of what else
            is observed of them at each of the masses `likelihood.grid`, (some, support).
        counts: Whether the number of clusters informs the fit.
        subsample_size: Number of clusters drawn at random at every evaluation; all if None.

    Raises:
        MissingExtra: NumPyro is not installed.
        ValueError: JAX computes in float32, or the rate lacks a shell in which there are clusters.
    """
    jax, numpyro = import_module("jax"), import_module("numpyro")
    if not jax.config.jax_enable_x64:
        raise ValueError(
            f"{name}: JAX computes in float32, in which sums over many clusters are wrong.\n"
            '  try:    jax.config.update("jax_enable_x64", True), before anything else of JAX'
        )
    last = int(likelihood.shell.max()) if likelihood.log_kernel is None else likelihood.log_kernel.shape[1] - 1
    if log_rate.ndim != 2 or log_rate.shape[0] <= last:  # JAX would take the last shell instead
        raise ValueError(f"{name}: log_rate needs shape (shell, mass) with {last + 1} shells, found {log_rate.shape}.")
    selected = log_rate if log_selected is None else log_rate + log_selected
    log_expected = jax.nn.logsumexp(selected + np.log(likelihood.weights.numpy()))
    n = len(likelihood)
    with numpyro.plate(f"{name}_plate", n, subsample_size=subsample_size) as rows:
        log_sum = _log_integrand(jax, likelihood, log_rate, rows)
        if log_observed is not None:
            log_sum = log_sum + log_observed(rows)
        peak = jax.numpy.asarray(_unsorted(likelihood, likelihood.log_peak))[rows]
        numpyro.factor(name, jax.nn.logsumexp(log_sum, -1) + peak - log_expected)
    if counts:
        numpyro.factor(f"{name}_count", n * log_expected - jax.numpy.exp(log_expected))


def _log_integrand(jax: Any, likelihood: PopulationLikelihood, log_rate: Any, rows: Any) -> Any:
    """Natural log of likelihood times rate times weight of some clusters, (some, support)."""
    inside = jax.numpy.asarray(log_rate)[:, likelihood.support]
    if likelihood.log_kernel is None:
        rate = inside[jax.numpy.asarray(_unsorted(likelihood, likelihood.shell))[rows]]
    else:
        kernel = jax.numpy.asarray(_unsorted(likelihood, likelihood.log_kernel))[rows]
        rate = jax.nn.logsumexp(inside + kernel[:, :, None], -2)
    return jax.numpy.asarray(_unsorted(likelihood, likelihood.log_weighted))[rows] + rate


def _unsorted(likelihood: PopulationLikelihood, values: Any) -> np.ndarray:
    """Values of the sorted clusters in the posteriors' order."""
    return values.cpu().numpy()[likelihood.place.numpy()]

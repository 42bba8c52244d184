"""Clusters in models of Pyro: the model of `fit`, and a factor for any other.

Masses are log10_mass [dex]; `log_` is natural.
"""

from collections.abc import Callable

import pyro
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sbi_clustermass.population.likelihood import PopulationLikelihood
from sbi_clustermass.population.parameters import sample
from sbi_clustermass.population.problem import Problem

LogObserved = Callable[[Int[Tensor, "some"]], Float[Tensor, "*batch some #support"]]


def cluster_factor(
    name: str,
    likelihood: PopulationLikelihood,
    log_rate: Float[Tensor, "*batch shell mass"],
    *,
    log_selected: Float[Tensor, "*batch #shell mass"] | None = None,
    log_observed: LogObserved | None = None,
    counts: bool = True,
    subsample_size: int | None = None,
) -> None:
    r"""Put clusters with mass posteriors into any Pyro model, in a plate of their own.

    It adds $\sum_i \ln \int L_i\,p(y_i|m)\,r\,dm - N_e$ to the log density, with
    $N_e = \sum_s \int r_s P_s\,dm$; without counts $\sum_i \ln (\int L_i\,p(y_i|m)\,r\,dm / N_e)$. All of it is
    differentiable, and may be batched by plates further out.

    Args:
        name: Name of the factor of the clusters; their plate is NAME_plate, and the factor of N_e is NAME_count.
        likelihood: Their likelihoods, `PopulationLikelihood.from_posteriors(posteriors)`.
        log_rate: Log of the number of haloes per dex of mass, in each shell of the survey, at `likelihood.log10_mass`.
        log_selected: Log of P(selected | mass), likewise; by default every cluster is selected.
        log_observed: Function of the clusters' numbers, as in the posteriors, that returns the log density of what else
            is observed of them at each of the masses `likelihood.grid`.
        counts: Whether the number of clusters informs the fit.
        subsample_size: Number of clusters drawn at random at every evaluation, for stochastic gradients; all if None.

    Example:
        >>> likelihood = PopulationLikelihood.from_posteriors(posteriors)  # doctest: +SKIP
        >>> def model():  # doctest: +SKIP
        ...     slope = pyro.sample("slope", dist.Normal(-2.0, 1.0))
        ...     cluster_factor("clusters", likelihood, slope * (likelihood.log10_mass - 14.0)[None], counts=False)
    """
    log_expected = likelihood.log_expected(log_rate if log_selected is None else log_rate + log_selected)

    observed = log_observed or (lambda rows: torch.zeros(1, 1, dtype=torch.float64, device=likelihood.device))

    def of_block(number: int) -> Float[Tensor, "*batch some #support"]:
        return observed(torch.as_tensor(likelihood.order[likelihood.blocks[number].rows]))

    def of_clusters(rows: Int[Tensor, "some"] | None) -> Float[Tensor, "*batch some"]:
        if rows is None:
            found = likelihood.log_clusters(log_rate, None if log_observed is None else of_block)[..., likelihood.place]
        else:
            found = likelihood.log_some(log_rate, rows, observed(rows))
        return found - log_expected[..., None].to(found.device)

    _in_plate(name, len(likelihood), subsample_size, of_clusters)
    if counts:
        pyro.factor(f"{name}_count", len(likelihood) * log_expected - torch.exp(log_expected))


def population_model(problem: Problem, subsample_size: int | None = None) -> None:
    r"""Pyro model of a survey's clusters, for Pyro's own samplers and guides: the density from which `fit` draws.

    $$\ln\mathcal{L} = \sum_i \ln (\int L_i r\,dm / N_e) + N \ln N_e - N_e,
    \qquad N_e = \sum_s \int r_s P_s\,dm,$$

    which equals $\sum_i \ln \int L_i r\,dm - N_e$. Without counts it is the first sum alone. `fit` evaluates the same
    density without tracing, which takes a third of the time.

    Args:
        problem: Clusters and model.
        subsample_size: Number of clusters drawn at random at every evaluation; all if None.

    References:
        Loredo 2004, AIP Conf. Proc. 735, 195; Mandel, Farr & Gair 2019, MNRAS 486, 1086.
    """
    parameters = sample(problem.priors)
    for name, value in problem.population.derived(parameters).items():
        pyro.deterministic(name, value)
    terms: dict[str, Tensor] = {}

    def of_clusters(rows: Int[Tensor, "some"] | None) -> Float[Tensor, "*batch some"]:
        terms.update(problem.terms(parameters, rows))
        return terms["clusters"] if rows is not None else terms["clusters"][..., problem.likelihood.place]

    _in_plate("clusters", len(problem.likelihood), subsample_size, of_clusters)
    if problem.counts:
        pyro.factor("clusters_count", terms["count"])  # N ln N_e - N_e


def _in_plate(
    name: str,
    n: int,
    subsample_size: int | None,
    log_factor: Callable[[Int[Tensor, "some"] | None], Float[Tensor, "*batch some"]],
) -> None:
    """Add a factor for each cluster in a plate, whose axis is put where the plate wants it."""
    plate = pyro.plate(f"{name}_plate", n, subsample_size=subsample_size)
    with plate as rows:
        found, axis = log_factor(None if subsample_size is None else rows), plate.dim or -1
        missing = -axis - found.ndim
        # plates further out leave room for an axis of their own, or none
        room = found.reshape((1,) * missing + found.shape) if missing >= 0 else found.squeeze(axis - 1)
        pyro.factor(name, room.movedim(-1, axis))

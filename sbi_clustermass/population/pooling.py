"""One posterior of a population from the fits of several networks, whose errors all clusters share."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sbi_clustermass.population.blinding import refuse_blinded
from sbi_clustermass.posterior.silent_imports import arviz

if TYPE_CHECKING:
    from arviz import InferenceData

_SAME = ("cluster", "volume")  # constant data of the clusters and of the survey


def pooled(fits: Sequence["InferenceData"]) -> "InferenceData":
    """Pool the fits of the members of an ensemble: the chains of all, with equal weights.

    A network errs in the same direction for similar clusters. In the mean of an ensemble's posteriors that error looks
    like a wider posterior of each cluster, which averages out over many. Fitted one by one, each network moves the
    population by its own error, and the pooled chains are as wide as networks disagree.

    Args:
        fits: Results of `fit`, of the same population, clusters and survey, by the same sampler.

    Returns:
        The chains of all fits, with the groups `prior`, `observed_data` and `constant_data` of the first.
        `attrs["networks"]` is their number, `attrs["between_networks"]` the standard deviation of their means over that
        of the pooled draws, for each parameter, in JSON.

    Raises:
        ValueError: There are no fits, they are of different models, clusters, surveys or numbers of draws, or one
            is blinded.

    Example:
        >>> fits = [fit(population, member.posterior(sky), survey) for member in estimator.members]  # doctest: +SKIP
        >>> idata = pooled(fits)  # doctest: +SKIP
    """
    import xarray

    if not fits:
        raise ValueError("pooled: there are no fits.")
    first = fits[0]
    for number, one in enumerate(fits):
        refuse_blinded(one, "pooled")
        same = ("model", "priors", "selection", "sampler")
        if [one.attrs.get(name) for name in same] != [first.attrs.get(name) for name in same]:
            raise ValueError(f"pooled: fit {number} is of another model or sampler than the first.")
        if any(not np.array_equal(one["constant_data"][name], first["constant_data"][name]) for name in _SAME):
            raise ValueError(f"pooled: fit {number} is of other clusters or another survey than the first.")
    posteriors = [one["posterior"] for one in fits]
    shifts = {str(name): _spread([one[name].values for one in posteriors]) for name in posteriors[0].data_vars}
    names = [name for name in first.groups() if "chain" in first[name].dims and not name.startswith("prior")]
    groups: dict[str, Any] = {name: first[name] for name in first.groups()}
    for name in names:
        groups[name] = xarray.concat([one[name] for one in fits], dim="chain")
    attrs = {**first.attrs, "networks": len(fits), "between_networks": json.dumps(shifts)}
    return arviz().InferenceData(attrs=attrs, **groups)


def _spread(draws: Sequence[np.ndarray]) -> list[float] | float:
    """Standard deviation of the means of fits over that of all draws, for each component."""
    means, every = np.stack([one.mean((0, 1)) for one in draws]), np.concatenate(draws)
    return (means.std(0) / every.std((0, 1))).tolist()

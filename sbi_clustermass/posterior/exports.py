"""Samples of posteriors in the formats of ArviZ, GetDist and ChainConsumer, each imported where it is used."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from clustermocks.io.extras import naming_extras
from sbi_clustermass.posterior.silent_imports import arviz, getdist_samples

if TYPE_CHECKING:
    from arviz import InferenceData
    from getdist import MCSamples


@naming_extras()
def to_arviz(
    parameters: Sequence[str],
    names: Sequence[str],
    samples: Float[np.ndarray, "cluster sample parameter"],
    log_prob: Float[np.ndarray, "cluster sample"] | None,
) -> "InferenceData":
    """Samples of many clusters as one chain of ArviZ."""
    return arviz().from_dict(
        posterior={name: samples[None, ..., i].swapaxes(1, 2) for i, name in enumerate(parameters)},
        sample_stats=None if log_prob is None else {"lp": log_prob[None].swapaxes(1, 2)},
        coords={"cluster": list(names)},
        dims={name: ["cluster"] for name in (*parameters, "lp")},
    )


@naming_extras()
def to_getdist(
    samples: Float[np.ndarray, "sample parameter"],
    log_prob: Float[np.ndarray, "sample"] | None,
    ranges: Mapping[str, tuple[float, float]],
    name: str,
) -> "MCSamples":
    """Samples of one cluster as GetDist's independent ones, with the ends of each parameter."""
    from sbi_clustermass.report.style import LABELS

    return getdist_samples(
        samples=samples.astype(float),
        loglikes=None if log_prob is None else -log_prob.astype(float),
        names=list(ranges),
        labels=[LABELS.get(each, each.replace("_", r"\_")).strip("$") for each in ranges],
        ranges={each: list(ends) for each, ends in ranges.items()},
        label=name,
        sampler="uncorrelated",
    )


@naming_extras()
def to_chainconsumer(
    parameters: Sequence[str],
    samples: Float[np.ndarray, "sample parameter"],
    log_prob: Float[np.ndarray, "sample"] | None,
    name: str,
) -> Any:
    """Samples of one cluster as a `chainconsumer.Chain`."""
    import pandas

    chainconsumer = import_module("chainconsumer")  # type checkers do not have it: it needs an older pandas
    table = pandas.DataFrame(samples.astype(float), columns=list(parameters))
    return chainconsumer.Chain(samples=table if log_prob is None else table.assign(log_posterior=log_prob), name=name)

"""Priors of a model as a file that a user can read, edit and give back, and in the words of other programs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from clustermocks.io.atomic import replacing
from clustermocks.io.paths import as_path
from clustermocks.io.settings import from_json, to_json
from sbi_clustermass.population.components import component_name
from sbi_clustermass.population.masses import Masses, masses_config, masses_from_config
from sbi_clustermass.population.model import Population
from sbi_clustermass.population.parameters import Priors
from sbi_clustermass.population.relation import ScalingRelation

Description = dict[str, Any]  # {"dist": "norm", "loc": 14.3, "scale": 0.5}, or flat: {"min": 0.1, "max": 0.6}


def described(priors: Priors) -> dict[str, Description]:
    """Describe the priors of all components by names and settings of scipy.stats, as Cobaya does.

    Normal, half-normal, log-normal and flat priors are known, and the marginal ones of a multivariate normal prior;
    others are left out.
    """
    return {name: found for site, prior in priors.items() for name, found in _components(site, prior).items()}


def bounds(prior: Description) -> tuple[float | None, float | None]:
    """Lowest and highest value that a described prior allows; None where there is none."""
    if "min" in prior:
        return prior["min"], prior["max"]
    return (None if prior["dist"] == "norm" else 0.0), None


def width(prior: Description) -> float:
    """Standard deviation of a described prior."""
    if "min" in prior:
        return (prior["max"] - prior["min"]) / 12**0.5
    from scipy import stats

    return float(getattr(stats, prior["dist"])(**{name: prior[name] for name in prior if name != "dist"}).std())


def write_priors(path: Path, population: Population, priors: Mapping[str, Description]) -> None:
    """Write the priors of a model, for `read_priors`.

    Args:
        path: JSON file.
        population: Model whose masses and relations are written with all their settings.
        priors: Described priors of all parameters. Those that belong neither to masses nor to relations (but to the
            selection, or to the sample variance) follow from the survey: they are written for the reader, and
            `read_priors` ignores them.
    """
    own = {name for each in (population.masses, *population.relations) for name in described(each.priors)}
    found = {
        "masses": masses_config(population.masses),
        "relations": [to_json(relation) for relation in population.relations],
        "from_the_survey": {name: prior for name, prior in priors.items() if name not in own},
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def read_priors(path: Path) -> tuple[Masses, tuple[ScalingRelation, ...]]:
    """Read the masses and relations of a file of `write_priors`, with their priors.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is no such file, or a name or value in it is invalid.
    """
    path = as_path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return masses_from_config(found["masses"]), from_json(tuple[ScalingRelation, ...], found["relations"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not priors as a fit writes them ({error}).") from error


def _components(site: str, prior: TorchDistribution) -> dict[str, Description]:
    base = prior.base_dist if isinstance(prior, torch.distributions.Independent) else prior
    kind, settings = _words(base)
    values = dict(zip(settings, np.broadcast_arrays(*settings.values()), strict=True))
    shape = next(iter(values.values())).shape if values else ()
    return {
        component_name(site, place): kind | {name: float(value[place]) for name, value in values.items()}
        for place in (np.ndindex(shape) if values else ())
    }


def _words(prior: TorchDistribution) -> tuple[dict[str, str], dict[str, Tensor | float]]:
    """Name and settings of a distribution in scipy.stats; none for one that is not known."""
    match prior:
        case dist.Uniform():
            return {}, {"min": prior.low, "max": prior.high}
        case dist.Normal():
            return {"dist": "norm"}, {"loc": prior.loc, "scale": prior.scale}
        case dist.MultivariateNormal():
            return {"dist": "norm"}, {"loc": prior.loc, "scale": prior.stddev}
        case dist.HalfNormal():
            return {"dist": "halfnorm"}, {"loc": 0.0, "scale": prior.scale}
        case dist.LogNormal():
            return {"dist": "lognorm"}, {"s": prior.scale, "loc": 0.0, "scale": prior.loc.exp()}
    return {}, {}

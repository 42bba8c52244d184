"""Results of a population fit for people: the table of parameters and the pictures of relations."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Column, Table
from jaxtyping import Float
from matplotlib.figure import Figure

from sbi_clustermass.population.blinding import is_blinded, refuse_blinded
from sbi_clustermass.population.clusters import ObservedClusters
from sbi_clustermass.population.components import scalar_chains
from sbi_clustermass.population.observables import Observable
from sbi_clustermass.population.plots import relation as relation_figure
from sbi_clustermass.population.relation import ScalingRelation
from sbi_clustermass.posterior.silent_imports import arviz

if TYPE_CHECKING:
    from arviz import InferenceData

_LINES = 200  # draws of a relation in its picture


def parameter_table(idata: "InferenceData") -> Table:
    """Mean, deviation and percentiles of each parameter's components, effective draws, and R-hat of several chains."""
    rows = []
    for name, draws in scalar_chains(idata).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rhat = float(arviz().rhat(draws)) if len(draws) > 1 else np.nan
            effective = float(arviz().ess(draws))
        low, middle, high = np.percentile(draws, [16, 50, 84])
        row: dict[str, Any] = {"parameter": name, "mean": draws.mean(), "std": draws.std()}
        rows.append({**row, "p16": low, "p50": middle, "p84": high, "effective_draws": effective, "rhat": rhat})
    numbers = {name: Column([row[name] for row in rows], format=".4g") for name in list(rows[0])[1:]}
    meta = {"blinded": True} if is_blinded(idata) else {}
    return Table({"parameter": [row["parameter"] for row in rows], **numbers}, meta=meta)


def scalar_names(idata: "InferenceData") -> list[str]:
    """Names of the parameters that are single numbers: all but those of shells and of a selection's shape."""
    return [str(name) for name, values in idata["posterior"].data_vars.items() if values.ndim == 2]


def weak_relations(clusters: ObservedClusters) -> tuple[ScalingRelation, ...]:
    """Scaling relations with weak priors in the units of the observables."""
    found = []
    for name, observed in clusters.observables.items():
        if isinstance(observed, Observable):
            values = observed.values[np.asarray(observed.measured)]
            spread = float(values.std()) or 1.0
            found.append(ScalingRelation(name, (float(values.mean()), 3 * spread), (0.0, 10 * spread), 2 * spread))
    return tuple(found)


def relation_picture(idata: "InferenceData", relation: ScalingRelation, clusters: ObservedClusters) -> Figure:
    refuse_blinded(idata, "relation_picture")
    posterior, observed = idata["posterior"], clusters.observables[relation.observable]
    if not isinstance(observed, Observable):
        raise TypeError(f"{relation.observable} has no errors to draw.")
    sites = (posterior[relation.site(name)].values.ravel() for name in ("intercept", "slope", "scatter"))
    intercept, slope, scatter = sites
    low, high = mass_span(clusters.posteriors.mean)
    grid, every = np.linspace(low, high, 51), max(1, len(slope) // _LINES)
    lines = intercept[::every, None] + slope[::every, None] * (grid - relation.pivot)
    known, posteriors = np.asarray(observed.measured), clusters.posteriors
    return relation_figure(
        grid,
        lines,
        float(np.median(scatter)),
        masses=(posteriors.mean[known], posteriors.std[known]),
        observed=(observed.values[known], np.asarray(observed.errors)[known]),
        name=relation.observable,
    )


def mass_span(points: Float[np.ndarray, "cluster"]) -> tuple[float, float]:
    """Range of the masses, without a few outliers at the low end [dex]."""
    return float(np.quantile(points, 0.005)), float(points.max())

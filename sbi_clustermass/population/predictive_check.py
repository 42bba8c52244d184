"""Posterior predictive checks: clusters counted in bins of an observable or of mass, against what the fit predicts.

Masses are log10_mass [dex].
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from astropy.table import Column, Table
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.special import xlogy

from sbi_clustermass.population.binned_counts import (
    drawn_masses,
    expected_clusters,
    expected_in_mass,
    expected_in_observable,
    observed_in,
)
from sbi_clustermass.population.clusters import ObservedClusters, as_clusters
from sbi_clustermass.population.model import Population
from sbi_clustermass.population.predictive import lowest_values, redshift_bins
from sbi_clustermass.population.problem import Problem
from sbi_clustermass.population.selection import AboveCut
from sbi_clustermass.population.shrinkage import posterior_draws
from sbi_clustermass.population.survey import Survey
from sbi_clustermass.posterior import MassPosteriors

if TYPE_CHECKING:
    from arviz import InferenceData
    from matplotlib.figure import Figure

MASS = "log10_mass"
_BINS = 8  # over the bulk of the values, and at most as many on each side of it
_EXTREME = 0.05  # share of repeated surveys with a value outside the bins, on each side

Counts = Int[np.ndarray, "draw redshift bin"] | Float[np.ndarray, "draw redshift bin"]


@final
@dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """Clusters counted in bins, as observed and as predicted by draws from the posterior.

    Attributes:
        of: What is binned: name of an observable, or `log10_mass`.
        edges: Edges of the bins, one more than there are bins.
        redshift: Redshift of each shell [1].
        observed: Observed counts: the same at each draw, except for masses, which are drawn from the posterior of each
            cluster given the population.
        expected: Expected counts at each draw.
        replicated: Counts of a repeated survey at each draw.
    """

    of: str
    edges: Float[np.ndarray, "edge"]
    redshift: Float[np.ndarray, "redshift"]
    observed: Counts
    expected: Float[np.ndarray, "draw redshift bin"]
    replicated: Counts

    @property
    def table(self) -> Table:
        """Table with a row for each bin.

        Its columns are the redshift, the low and high edge, the observed count (for masses its mean), the mean and the
        16th and 84th percentile of the predicted count, and `p`, the probability of a count above the observed one,
        with half of that of an equal one: near 0 the survey has more clusters than the model, near 1 fewer.
        """
        p16, p84 = np.percentile(self.replicated, [16, 84], axis=0)
        above = (self.replicated > self.observed) + 0.5 * (self.replicated == self.observed)
        observed, predicted, p = (each.mean(axis=0) for each in (self.observed, self.expected, above))
        columns = {"observed": observed, "predicted": predicted, "p16": p16, "p84": p84, "p": p}
        low, high = (np.tile(ends, len(self.redshift)) for ends in (self.edges[:-1], self.edges[1:]))
        redshift = np.repeat(self.redshift, len(self.edges) - 1)
        counts = {name: value.ravel() for name, value in columns.items()}
        columns = {"redshift": redshift, "low": low, "high": high, **counts}
        return Table({name: Column(value, format=".4g") for name, value in columns.items()})

    @property
    def deviance(self) -> float:
        """Mean over the posterior of the statistic of the observed counts: about the number of well-filled bins.

        References:
            Cash 1979, ApJ 228, 939.
        """
        return float(_cash(self.observed, self.expected).mean())

    @property
    def p(self) -> float:
        """Probability that a repeated survey deviates from the model more than the observed one does.

        References:
            Gelman, Meng & Stern 1996, Statistica Sinica 6, 733.
        """
        return float((_cash(self.replicated, self.expected) >= _cash(self.observed, self.expected)).mean())

    def __str__(self) -> str:
        bins = self.observed[0].size
        return f"{self.of}: deviance {self.deviance:.1f} in {bins} bins of counts, posterior predictive p {self.p:.2f}"

    def plot(self) -> "Figure":
        """Plot observed counts over the 68 % range of predicted ones, with a panel for each shell of redshift."""
        from sbi_clustermass.population.plots import counts

        return counts(self.edges, self.observed, self.replicated, redshift=self.redshift, name=self.of)


def predictive_check(
    idata: "InferenceData",
    population: Population,
    clusters: MassPosteriors | ObservedClusters,
    survey: Survey | None = None,
    *,
    of: str = MASS,
    edges: ArrayLike | None = None,
    draws: int = 200,
) -> PredictiveCheck:
    r"""Count clusters in bins of an observable, or of mass, and predict the counts from the posterior of a fit.

    In the bin b of an observable y the expected count is $\sum_s \int r_s P_s(\mathrm{selected}|m)\,P(y \in b|m)\,dm$,
    where a cut of the survey on y itself takes the place of $P_s$; y is taken as independent of other selections at
    fixed mass. In a bin of mass it is the integral over the bin. Predictions contain Poisson noise; if the fit was made
    without counts, they are conditional on the number of clusters in each shell.

    The posterior has seen the data that it predicts, so that p is nearer to 1/2 than that of a test with new data. In
    bins of mass it tests little where the clusters' own posteriors are wide, as they then follow the population.

    Args:
        idata: Result of `fit`.
        population: Population that was fitted.
        clusters: Clusters that it was fitted to.
        survey: Survey that was given to `fit`.
        of: Name of an observable, or `log10_mass`.
        edges: Edges of the bins [unit of the observable, or dex]; by default about eight bins over the observed range.
        draws: Number of draws of the posterior to predict from.

    Raises:
        ValueError: There is no such observable, the edges do not rise, the fit is of another population or blinded, or
            the scatter of the observable is correlated with that of another one on which the survey cuts.
    """
    clusters = as_clusters(clusters)
    _refuse_unknown(of, population)
    with_counts = "n_selected" in idata.get("observed_data", {})
    problem = Problem.from_clusters(population, clusters, survey, counts=with_counts)
    each = posterior_draws(idata, problem, draws)
    parameters = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    if of == MASS:
        values = drawn_masses(problem, each)
        bins = _edges(edges, clusters.posteriors.mean, values, -np.inf)
        expected = expected_in_mass(problem, parameters, bins)
    else:
        observable = clusters.observables[of]
        values, lowest = observable.observed_values[None], lowest_values(problem, of, observable).min()
        bins = _edges(edges, values, idata["posterior_predictive"][of].values[0], float(lowest))
        expected = expected_in_observable(problem, parameters, of, observable, bins)
        expected = expected * np.isfinite(values).mean()
    observed = np.stack([observed_in(problem, one, bins) for one in values])
    expected, replicated = _replicated(problem, expected, expected_clusters(problem, parameters), values)
    number = redshift_bins(problem.survey)
    redshift = np.array([problem.survey.redshift[number == i][0] for i in range(number.max() + 1)])
    return PredictiveCheck(of, bins, redshift, np.broadcast_to(observed, expected.shape), expected, replicated)


def _replicated(
    problem: Problem,
    expected: Float[np.ndarray, "draw redshift bin"],
    total: Float[np.ndarray, "draw redshift"],
    values: Float[np.ndarray, "#draw cluster"],
) -> tuple[Float[np.ndarray, "draw redshift bin"], Counts]:
    """Expected counts, scaled to the number of clusters if that was not fitted, and counts of repeated surveys."""
    rng = np.random.default_rng(0)
    if problem.counts:
        return expected, rng.poisson(expected)
    everywhere = np.array([-np.inf, np.inf])
    number = observed_in(problem, values[0], everywhere)[:, 0].round().astype(int)
    share = expected / (total[..., None] * np.isfinite(values).mean())
    rest = 1 - share.sum(-1, keepdims=True)
    counts = rng.multinomial(number, np.concatenate([share, rest.clip(min=0)], -1))
    return number[:, None] * share, counts[..., :-1]


def _refuse_unknown(of: str, population: Population) -> None:
    if of != MASS and of not in population.named_relations:
        names = ", ".join([MASS, *population.named_relations])
        raise ValueError(f"predictive_check: no observable {of!r}. Choose from: {names}.")
    selection = population.selection
    other = isinstance(selection, AboveCut) and selection.observable != of
    if of != MASS and population.correlated and other:
        raise ValueError(
            f"predictive_check: the survey cuts on an observable whose scatter is correlated with that of {of!r}, "
            f"so that its counts are not predicted: {selection}."
        )


def _edges(
    edges: ArrayLike | None, observed: np.ndarray, predicted: Float[np.ndarray, "draw cluster"], cut: float
) -> Float[np.ndarray, "edge"]:
    """Edges as given, or round ones over the range of predicted values, of which the cut is the first.

    Observed values beyond it widen the last bin: in a bin of their own they would be a deviation by construction.
    """
    if edges is None:
        return _round_edges(observed, predicted, cut)
    found = np.asarray(edges, float)
    if found.ndim != 1 or len(found) < 2 or not np.all(np.diff(found) > 0):
        raise ValueError(f"predictive_check: edges are two or more numbers that rise, got {edges}.")
    return found


def _round_edges(
    observed: np.ndarray, predicted: Float[np.ndarray, "draw cluster"], cut: float
) -> Float[np.ndarray, "edge"]:
    from matplotlib.ticker import MaxNLocator

    low = np.nanquantile(np.nanmin(predicted, axis=1), _EXTREME)
    high = np.nanquantile(np.nanmax(predicted, axis=1), 1 - _EXTREME)
    middle = MaxNLocator(_BINS, steps=[1, 2, 2.5, 5, 10]).tick_values(*np.nanquantile(observed, [0.01, 0.99]))
    step = float(middle[1] - middle[0])
    below, above = (int(np.clip(np.ceil(gap / step), 0, _BINS)) for gap in (middle[0] - low, high - middle[-1]))
    found = middle[0] + step * np.arange(-below, len(middle) + above)
    found[0], found[-1] = min(found[0], low, np.nanmin(observed)), max(found[-1], high, np.nanmax(observed))
    return np.append(cut, found[found > cut]) if cut > -np.inf else found


def _cash(counts: Counts, expected: Float[np.ndarray, "draw redshift bin"]) -> Float[np.ndarray, "draw"]:
    expected = np.maximum(expected, 1e-12)  # a count where none can be is a large deviation
    return 2 * (expected - counts + xlogy(counts, counts / expected)).sum((-2, -1))

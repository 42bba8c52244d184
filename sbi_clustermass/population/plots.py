"""Pictures of a population: mass function, scaling relation, and parameters.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; densities comoving [h^3 Mpc^-3], per dex.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sbi_clustermass.population.blinding import is_blinded
from sbi_clustermass.population.components import scalar_chains
from sbi_clustermass.report.corner import corner_of_draws
from sbi_clustermass.report.style import BLUE, GREY, MASS, ORANGE

if TYPE_CHECKING:
    from arviz import InferenceData

_BIN = 0.1  # [dex]
_COLUMNS = 4  # panels in a row
_LOG_ABOVE = 50  # count above which the axis of counts is logarithmic


def mass_function(
    grid: Float[np.ndarray, "mass"],
    band: Float[np.ndarray, "3 mass"],
    *,
    points: Float[np.ndarray, "cluster"],
    volume: float,
    truth: Float[np.ndarray, "mass"] | None = None,
) -> Figure:
    """Plot a fitted mass function with its 68 % band over the histogram of point estimates, and over the truth.

    Args:
        grid: Log10 mass [dex].
        band: 16th, 50th and 84th percentile of dn/dlog10M [h^3 Mpc^-3 dex^-1].
        points: Posterior mean of each selected cluster's log10 mass [dex].
        volume: Volume of the survey [h^-3 Mpc^3].
        truth: True mass function of mocks [h^3 Mpc^-3 dex^-1].
    """
    figure = Figure(figsize=(5.4, 4.2), layout="constrained")
    axes = figure.subplots()
    _histogram(axes, points, volume)
    axes.fill_between(grid, band[0], band[2], color=BLUE, alpha=0.3, lw=0)
    axes.plot(grid, band[1], color=BLUE, label="hierarchical fit, 68 %")
    if truth is not None:
        axes.plot(grid, truth, "k--", lw=1.2, label="put in")
    axes.set(
        yscale="log",
        xlabel=MASS,
        ylabel=r"$dn/d\log_{10}M\ [h^3\,\mathrm{Mpc}^{-3}\,\mathrm{dex}^{-1}]$",
        xlim=(grid[0], grid[-1]),
    )
    line = band[1] if truth is None else truth
    axes.set_ylim(0.3 * line.min(), 3 * line.max())
    axes.legend(fontsize=8)
    return figure


def _histogram(axes: Axes, points: Float[np.ndarray, "cluster"], volume: float) -> None:
    edges = np.arange(np.floor(points.min() / _BIN) * _BIN, points.max() + _BIN, _BIN)
    counts = np.histogram(points, bins=edges)[0]
    centre, counts = 0.5 * (edges[1:] + edges[:-1])[counts > 0], counts[counts > 0]
    density = counts / (_BIN * volume)
    axes.errorbar(centre, density, density / np.sqrt(counts), fmt="o", ms=4, color=ORANGE, label="point estimates")


def relation(
    grid: Float[np.ndarray, "mass"],
    lines: Float[np.ndarray, "draw mass"],
    scatter: float,
    *,
    masses: tuple[Float[np.ndarray, "cluster"], Float[np.ndarray, "cluster"]],
    observed: tuple[Float[np.ndarray, "cluster"], Float[np.ndarray, "cluster"]],
    name: str,
) -> Figure:
    """Plot a scaling relation with its 68 % band and its intrinsic scatter, over the clusters.

    Args:
        grid: Log10 mass [dex].
        lines: Mean relation at draws of the posterior [unit of the observable].
        scatter: Median intrinsic scatter [unit of the observable].
        masses: Means and standard deviations of the clusters' log10 masses [dex].
        observed: Values of the observable and their errors.
        name: Name of the observable.
    """
    figure = Figure(figsize=(5.4, 4.2), layout="constrained")
    axes = figure.subplots()
    low, middle, high = np.percentile(lines, [16, 50, 84], axis=0)
    axes.errorbar(masses[0], observed[0], observed[1], masses[1], fmt=".", ms=3, lw=0.5, color=GREY, alpha=0.5)
    axes.fill_between(
        grid, middle - scatter, middle + scatter, color=ORANGE, alpha=0.2, lw=0, label="intrinsic scatter"
    )
    axes.fill_between(grid, low, high, color=BLUE, alpha=0.4, lw=0)
    axes.plot(grid, middle, color=BLUE, label="relation, 68 %")
    axes.set(xlabel=MASS, ylabel=name.replace("_", " "), xlim=(grid[0], grid[-1]))
    axes.legend(fontsize=8)
    return figure


def counts(
    edges: Float[np.ndarray, "edge"],
    observed: Int[np.ndarray, "draw redshift bin"],
    predicted: Int[np.ndarray, "draw redshift bin"],
    *,
    redshift: Float[np.ndarray, "redshift"],
    name: str,
) -> Figure:
    """Plot observed counts in bins over the 68 % range of predicted ones, with a panel for each shell of redshift.

    Args:
        edges: Edges of the bins.
        observed: Observed counts; their 68 % range is drawn where they differ between draws.
        predicted: Counts of repeated surveys.
        redshift: Redshift of each shell [1].
        name: Name of what is binned.
    """
    columns = min(len(redshift), _COLUMNS)
    rows = -(-len(redshift) // columns)
    figure = Figure(figsize=(1.2 + 3.2 * columns, 0.8 + 2.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for panel in panels[len(redshift) :]:
        panel.set_axis_off()
    for i, panel in enumerate(panels[: len(redshift)]):
        _counts(panel, edges, observed[:, i], predicted[:, i])
        panel.set_title(f"z = {redshift[i]:.3g}", fontsize=9)
        panel.set_xlabel(MASS if name == "log10_mass" else name.replace("_", " "))
    panels[0].set_ylabel("clusters in the bin")
    panels[0].legend(fontsize=8)
    return figure


def _counts(
    axes: Axes,
    edges: Float[np.ndarray, "edge"],
    observed: Int[np.ndarray, "draw bin"],
    predicted: Int[np.ndarray, "draw bin"],
) -> None:
    low, high = np.percentile(predicted, [16, 84], axis=0)
    axes.stairs(high, edges, baseline=low, fill=True, color=BLUE, alpha=0.3, lw=0, label="predicted, 68 %")
    axes.stairs(predicted.mean(0), edges, color=BLUE, label="predicted, mean")
    below, middle, above = np.percentile(observed, [16, 50, 84], axis=0)
    centres, errors = 0.5 * (edges[1:] + edges[:-1]), [middle - below, above - middle]
    axes.errorbar(centres, middle, errors, fmt="o", ms=4, color=ORANGE, label="observed", clip_on=False)
    if max(high.max(), middle.max()) > _LOG_ABOVE:
        axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)


def corner(idata: "InferenceData", names: Sequence[str], *, truth: dict[str, float] | None = None) -> Figure:
    """Plot regions with 68 and 95 % of the draws for each pair of parameters, and their histograms on the diagonal.

    Args:
        idata: Result of a population fit; a blinded one is marked as such.
        names: Names of the parameters; of one of several components, such as `density_contrast[0]`.
        truth: True values of mocks, by name.
    """
    chains = scalar_chains(idata)
    draws = np.stack([chains[name].ravel() for name in names])
    labels = [name.replace("_", " ") for name in names]
    figure = corner_of_draws(draws, labels, [(truth or {}).get(name) for name in names])
    if is_blinded(idata):
        figure.suptitle("blinded")
    return figure

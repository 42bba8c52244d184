"""Pictures of single clusters, of masses against truth, of a recovered mass function and of a training run.

Every function returns a matplotlib `Figure` and touches no global state. Masses are M200c [h^-1 Msun], R comoving
[h^-1 Mpc], v [km/s].
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clustermocks import Catalogue
from clustermocks.files import replacing
from sbi_clustermass.embeddings import KDEImage
from sbi_clustermass.loop import History
from sbi_clustermass.posterior import MassPosteriors

if TYPE_CHECKING:
    from sbi_clustermass.compare import Comparison

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
_MASS = r"$\log_{10}\, M_{200c}\ [h^{-1}\,M_\odot]$"


def save(figure: Figure, path: Path) -> None:
    """Write a picture as PNG; it appears whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def clusters(catalogue: Catalogue, posteriors: MassPosteriors, which: Sequence[int]) -> Figure:
    """Phase space with its kernel density above, the mass posterior below, a column for each chosen cluster.

    After Kodi Ramanah et al. 2020, figures 1 and 4.
    """
    figure = Figure(figsize=(3.6 * len(which), 6.2), layout="constrained")
    axes = figure.subplots(2, len(which), squeeze=False)
    for column, i in enumerate(which):
        _phase_space(axes[0, column], catalogue, i)
        _posterior(axes[1, column], posteriors, i, float(catalogue.log10_mass[i]))
    axes[0, 0].set_ylabel(r"$v_\mathrm{los}\ [\mathrm{km\,s^{-1}}]$")
    axes[0, 0].legend(loc="upper right", fontsize=8, framealpha=0.9)
    axes[1, 0].set_ylabel("posterior density [1/dex]")
    axes[1, -1].legend(loc="upper left", fontsize=8)
    return figure


def _phase_space(axes: Axes, catalogue: Catalogue, i: int) -> None:
    R_proj, v_los = catalogue.galaxies(i)
    kde = KDEImage()
    image = kde(torch.from_numpy(catalogue.select(np.array([i])).padded()))[0].reshape(kde.bins, kde.bins)
    extent = (0.0, kde.aperture, -kde.v_max, kde.v_max)
    axes.imshow(image.T.numpy(), origin="lower", extent=extent, aspect="auto", cmap="Greys", interpolation="bilinear")
    groups = {"galaxies": (np.ones(len(R_proj), bool), BLUE)}
    if "is_member" in catalogue.columns:
        member = catalogue.is_member(i)
        groups = {"interlopers": (~member, ORANGE), "members": (member, BLUE)}
    for label, (chosen, colour) in groups.items():
        axes.plot(R_proj[chosen], v_los[chosen], ".", ms=4, color=colour, label=label)
    axes.set(xlabel=r"$R_\mathrm{proj}\ [h^{-1}\,\mathrm{Mpc}]$", title=f"{len(R_proj)} galaxies", ylim=(-2600, 2600))


def _posterior(axes: Axes, posteriors: MassPosteriors, i: int, truth: float) -> None:
    grid, prob = posteriors.grid, posteriors.prob[i]
    low, high = posteriors[[i]].quantile(0.16)[0], posteriors[[i]].quantile(0.84)[0]
    axes.plot(grid, prob, color=BLUE, label="posterior")
    inside = (grid >= low) & (grid <= high)
    axes.fill_between(grid[inside], prob[inside], color=BLUE, alpha=0.25, lw=0, label="68 %")
    if np.isfinite(truth):
        axes.axvline(truth, color="k", ls="--", lw=1.2, label="truth")
    axes.set(xlabel=_MASS, ylim=(0, 1.15 * prob.max()))


def masses(posteriors: MassPosteriors, log10_true: Float[np.ndarray, "cluster"]) -> Figure:
    """Inferred against true mass with the mean 68 % and 95 % ranges in bins of true mass, residuals below.

    After Kodi Ramanah et al. 2020, figure 5.
    """
    figure = Figure(figsize=(5.4, 6.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    span = np.array([posteriors.grid[0], posteriors.grid[-1]])
    mean = posteriors.mean
    for axes, y in ((top, mean), (bottom, mean - log10_true)):
        axes.plot(log10_true, y, ".", ms=2.5, alpha=0.35, color=GREY, rasterized=True, label="test clusters")
    top.plot(span, span, "k--", lw=1)
    bottom.axhline(0, color="k", ls="--", lw=1)
    _bands(top, bottom, posteriors, log10_true)
    top.set(ylabel="inferred " + _MASS, xlim=span, ylim=span)
    bottom.set(xlabel="true " + _MASS, ylabel="residual [dex]", ylim=(-0.9, 0.9))
    top.legend(loc="upper left", fontsize=8)
    return figure


def _bands(top: Axes, bottom: Axes, posteriors: MassPosteriors, log10_true: np.ndarray) -> None:
    edges = np.linspace(posteriors.grid[0], posteriors.grid[-1], 14)
    bins = [np.flatnonzero((log10_true >= a) & (log10_true < b)) for a, b in pairwise(edges)]
    bins = [rows for rows in bins if len(rows) >= 5]
    centre = np.array([log10_true[rows].mean() for rows in bins])
    levels = (0.025, 0.16, 0.5, 0.84, 0.975)
    quantiles = {level: posteriors.quantile(level) for level in levels}
    lines = {level: np.array([q[rows].mean() for rows in bins]) for level, q in quantiles.items()}
    for axes, base in ((top, 0.0), (bottom, centre)):
        axes.fill_between(
            centre, lines[0.025] - base, lines[0.975] - base, color=BLUE, alpha=0.15, lw=0, label="mean 95 %"
        )
        axes.fill_between(
            centre, lines[0.16] - base, lines[0.84] - base, color=BLUE, alpha=0.3, lw=0, label="mean 68 %"
        )
        axes.plot(centre, lines[0.5] - base, "*-", color=BLUE, lw=1, label="mean of the medians")


def population(
    grid: Float[np.ndarray, "mass"],
    band: Float[np.ndarray, "3 mass"],
    *,
    truth: Float[np.ndarray, "mass"],
    points: Float[np.ndarray, "cluster"],
    volume: float,
) -> Figure:
    """Recovered mass function with its 68 % band, the one put in, and the naive histogram of point estimates.

    Args:
        grid: Log10 mass [dex].
        band: 16th, 50th and 84th percentile of dn/dlog10M [h^3 Mpc^-3 dex^-1].
        truth: The mass function put in [h^3 Mpc^-3 dex^-1].
        points: Posterior mean of each selected cluster's log10 mass [dex].
        volume: Of the survey [h^-3 Mpc^3].
    """
    figure = Figure(figsize=(5.4, 4.2), layout="constrained")
    axes = figure.subplots()
    counts, edges = np.histogram(points, bins=np.arange(np.floor(grid[0] * 10) / 10, grid[-1] + 0.1, 0.1))
    filled = counts > 0
    centre, density = 0.5 * (edges[1:] + edges[:-1])[filled], counts[filled] / (0.1 * volume)
    axes.errorbar(
        centre,
        density,
        density / np.sqrt(counts[filled]),
        fmt="o",
        ms=4,
        color=ORANGE,
        label="point estimates, as selected",
    )
    axes.fill_between(grid, band[0], band[2], color=BLUE, alpha=0.3, lw=0)
    axes.plot(grid, band[1], color=BLUE, label="hierarchical fit, 68 %")
    axes.plot(grid, truth, "k--", lw=1.2, label="put in")
    axes.set(
        yscale="log",
        xlabel=_MASS,
        ylabel=r"$dn/d\log_{10}M\ [h^3\,\mathrm{Mpc}^{-3}\,\mathrm{dex}^{-1}]$",
        xlim=(grid[0], grid[-1]),
    )
    axes.set_ylim(0.3 * truth.min(), 3 * truth.max())
    axes.legend(fontsize=8)
    return figure


def history(*records: History) -> Figure:
    """Training and validation loss against weight updates, a line for each member of an ensemble."""
    figure = Figure(figsize=(5.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for record in records:
        first = record is records[0]
        axes.plot(record.updates, record.training_loss, color=GREY, label="training" if first else None)
        axes.plot(record.updates, record.validation_loss, color=BLUE, label="validation" if first else None)
        axes.axvline(record.best_update, color="k", ls="--", lw=1, label="weights kept" if first else None)
    axes.set(xlabel="weight updates", ylabel="loss [nats]")
    axes.legend(fontsize=8)
    return figure


def comparison(found: "Comparison") -> Figure:
    """What each combination of flow and embedding lacks to the exact posterior, or to the best of them [nats]."""
    rows = found.rows[::-1]
    figure = Figure(figsize=(6.4, 1.2 + 0.34 * len(rows)), layout="constrained")
    axes = figure.subplots()
    lacking = [row.below_best if row.gap is None else row.gap for row in rows]
    value, error = [each.value for each in lacking], [each.error for each in lacking]
    axes.errorbar(value, range(len(rows)), xerr=error, fmt="o", ms=5, color=BLUE, capsize=2)
    axes.axvline(0, color="k", ls="--", lw=1)
    axes.set_yticks(range(len(rows)), [row.entry.name for row in rows])
    target = "best combination" if found.exact is None else "exact posterior"
    axes.set(xlabel=f"below the {target} [nats per cluster]", ylim=(-0.6, len(rows) - 0.4))
    axes.grid(axis="x", alpha=0.3)
    return figure

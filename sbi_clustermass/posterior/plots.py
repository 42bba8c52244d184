"""Pictures of single clusters, and of masses against truth.

Masses are M200c [h^-1 Msun], R comoving [h^-1 Mpc], v [km/s].
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clustermocks import Catalogue
from sbi_clustermass.embeddings import KDEImage
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.report.style import BLUE, GREY, MASS, ORANGE


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
    axes.set(xlabel=MASS, ylim=(0, 1.15 * prob.max()))


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
    top.set(ylabel="inferred " + MASS, xlim=span, ylim=span)
    bottom.set(xlabel="true " + MASS, ylabel="residual [dex]", ylim=(-0.9, 0.9))
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

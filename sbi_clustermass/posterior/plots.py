"""Pictures of posteriors, of the training prior, and of masses against truth, and the section that a report shows.

Masses are M200c [h^-1 Msun] as log10_mass [dex], R comoving [h^-1 Mpc], v [km/s].
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clustermocks import Catalogue
from sbi_clustermass.embeddings import KDEImage
from sbi_clustermass.posterior.joint import Posteriors
from sbi_clustermass.posterior.posteriors import MassPosteriors
from sbi_clustermass.posterior.prior import EffectivePrior
from sbi_clustermass.report.content import Picture, Section, Table
from sbi_clustermass.report.corner import corner_of_draws
from sbi_clustermass.report.style import BLUE, GREY, LABELS, MASS, ORANGE

_NAMES = 40  # of clusters beside an axis
_MASSES = 200  # of the curve of a prior
_SHOWN = 20  # posteriors in a report's table
_EDGE = 0.05  # [dex], and as a share of the posterior: the warnings of an estimator use the same
_LEAKED = 0.01  # a population fit refuses more


def clusters(catalogue: Catalogue, posteriors: MassPosteriors, which: Sequence[int]) -> Figure:
    """Phase space with its kernel density above, the mass posterior below, one column per chosen cluster.

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
    seen = catalogue.observation
    kde = KDEImage(aperture=seen.aperture, v_max=seen.v_cut)
    image = kde(torch.from_numpy(catalogue.select(np.array([i])).padded()))[0].reshape(kde.bins, kde.bins)
    extent = (0.0, kde.aperture, -kde.v_max, kde.v_max)
    axes.imshow(image.T.numpy(), origin="lower", extent=extent, aspect="auto", cmap="Greys", interpolation="bilinear")
    groups = {"galaxies": (np.ones(len(R_proj), bool), BLUE)}
    if "is_member" in catalogue.columns:
        member = catalogue.is_member(i)
        groups = {"interlopers": (~member, ORANGE), "members": (member, BLUE)}
    for label, (chosen, colour) in groups.items():
        axes.plot(R_proj[chosen], v_los[chosen], ".", ms=4, color=colour, label=label)
    axes.set(
        xlabel=r"$R_\mathrm{proj}\ [h^{-1}\,\mathrm{Mpc}]$",
        title=f"{len(R_proj)} galaxies",
        ylim=(-1.04 * seen.v_cut, 1.04 * seen.v_cut),
    )


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


def corner(posteriors: Posteriors, cluster: str | int, *, truth: Mapping[str, float] | None = None) -> Figure:
    """Plot the joint posterior of one cluster: regions of 68 and 95 % for each pair of parameters, and histograms.

    Args:
        posteriors: Samples of several parameters.
        cluster: Name or position of the cluster.
        truth: True values of a mock cluster, by the parameter's name.
    """
    names = posteriors.parameters
    labels = [LABELS.get(name, name.replace("_", " ")) for name in names]
    return corner_of_draws(posteriors[cluster].samples[0].T, labels, [(truth or {}).get(name) for name in names])


def prior_picture(prior: EffectivePrior) -> Figure:
    """Density of the effective training prior over its support, with a flat one for comparison."""
    grid = np.linspace(prior.low, prior.high, _MASSES)
    figure = Figure(figsize=(5.4, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(grid, np.exp(prior.log_density(grid)), color=BLUE, alpha=0.25, lw=0)
    axes.plot(grid, np.exp(prior.log_density(grid)), color=BLUE, label="effective training prior")
    axes.axhline(1 / (prior.high - prior.low), color=GREY, ls="--", lw=1, label="flat")
    axes.set(xlabel=MASS, ylabel="density [1/dex]", xlim=(prior.low, prior.high))
    axes.set_ylim(0, 1.25 * axes.get_ylim()[1])
    axes.legend(fontsize=8)
    return figure


def masses_picture(posteriors: MassPosteriors) -> Figure:
    """Distribution of the point estimates, and width of the posterior at each of them."""
    figure = Figure(figsize=(5.4, 4.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.3))
    mean, bins = posteriors.mean, min(40, max(5, int(len(posteriors) ** 0.5)))
    top.hist(mean, bins=bins, range=(posteriors.grid[0], posteriors.grid[-1]), color=BLUE, alpha=0.5)
    top.set(ylabel="clusters")
    bottom.plot(mean, posteriors.std, ".", ms=3, alpha=0.4, color=BLUE, rasterized=True)
    bottom.set(xlabel="posterior mean " + MASS, ylabel="posterior std [dex]", xlim=posteriors.grid[[0, -1]])
    bottom.set_ylim(bottom=0)
    return figure


def intervals_picture(posteriors: MassPosteriors) -> Figure:
    """Median with 68 and 95 % interval of each cluster by name; of more clusters than names fit, their distribution."""
    n = len(posteriors)
    if n > _NAMES:
        return masses_picture(posteriors)
    figure = Figure(figsize=(5.4, 1.2 + 0.25 * n), layout="constrained")
    axes, rows = figure.add_subplot(), np.arange(n)
    outer_low, low, median, high, outer_high = posteriors.quantile([0.025, 0.16, 0.5, 0.84, 0.975])
    axes.hlines(rows, outer_low, outer_high, color=BLUE, lw=1)
    axes.hlines(rows, low, high, color=BLUE, lw=3)
    axes.plot(median, rows, "o", color="white", mec=BLUE)
    axes.set(xlabel=MASS, ylim=(n - 0.5, -0.5))
    axes.set_yticks(rows, posteriors.names, parse_math=False)
    return figure


def masses_section(posteriors: MassPosteriors) -> Section:
    """Number, location and width of the posteriors, and a table of the first ones."""
    mean, std = posteriors.mean, posteriors.std
    low, middle, high = np.percentile(std, [16, 50, 84])
    text = (
        f"{len(posteriors)} cluster{'s' * (len(posteriors) > 1)}, posterior means from {mean.min():.2f} to "
        f"{mean.max():.2f}. The middle posterior is {middle:.3f} dex wide (standard deviation; 16 %: {low:.3f}, "
        f"84 %: {high:.3f})."
    )
    alt = (
        f"Above, the number of clusters by posterior mean, {mean.min():.1f} to {mean.max():.1f}; below, the posterior "
        f"standard deviation of each cluster against its mean, {std.min():.2f} to {std.max():.2f} dex."
    )
    picture = Picture("masses", masses_picture(posteriors), alt, "A point a cluster, below.")
    return Section(
        "Masses", [text], [_summary_table(posteriors)], [picture], warnings=list(_prior_warnings(posteriors))
    )


def _summary_table(posteriors: MassPosteriors) -> Table:
    shown = posteriors[:_SHOWN]
    columns = [shown.mean, shown.std, *shown.quantile([0.16, 0.5, 0.84])]
    header = ["cluster", "mean [dex]", "std [dex]", "16 % [dex]", "50 % [dex]", "84 % [dex]"]
    if shown.epistemic_std is not None:
        columns, header = [*columns, shown.epistemic_std], [*header, "between networks [dex]"]
    cells = zip(*([f"{value:.3f}" for value in column] for column in columns), strict=True)
    rows = tuple((name, *row) for name, row in zip(shown.names, cells, strict=True))
    part = f"The first {len(shown)} of {len(posteriors)} clusters. " if len(shown) < len(posteriors) else ""
    return Table("Posteriors of log10 mass", tuple(header), rows, f"{part}All of them: `masses.parquet`.")


def _prior_warnings(posteriors: MassPosteriors) -> Iterator[str]:
    low, high = posteriors.grid[0], posteriors.grid[-1]
    shares = (posteriors.pit(low + _EDGE), "low", low), (1 - posteriors.pit(high - _EDGE), "high", high)
    for share, side, edge in shares:
        piled = int((share > _EDGE).sum())
        if piled:
            yield (
                f"{piled} of {len(posteriors)} posteriors have more than {_EDGE:.0%} of their probability within "
                f"{_EDGE} dex of the {side} end of the prior, {edge:g}: the prior decides there."
            )
    if posteriors.leakage > _LEAKED:
        yield f"On average {posteriors.leakage:.1%} of a posterior lay beyond the prior's support and was cut off."

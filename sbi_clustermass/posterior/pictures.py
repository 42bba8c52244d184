"""Pictures that a run's report draws of an estimator and of its posteriors.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import numpy as np
from matplotlib.figure import Figure

from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.posterior.prior import EffectivePrior
from sbi_clustermass.report.style import BLUE, GREY, MASS

_MASSES = 200


def prior_picture(prior: EffectivePrior) -> Figure:
    """The effective training prior's density over its support, beside a flat one."""
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
    """How the point estimates are distributed, and how wide the posteriors are at each of them."""
    figure = Figure(figsize=(5.4, 4.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.3))
    mean, bins = posteriors.mean, min(40, max(5, int(len(posteriors) ** 0.5)))
    top.hist(mean, bins=bins, range=(posteriors.grid[0], posteriors.grid[-1]), color=BLUE, alpha=0.5)
    top.set(ylabel="clusters")
    bottom.plot(mean, posteriors.std, ".", ms=3, alpha=0.4, color=BLUE, rasterized=True)
    bottom.set(xlabel="posterior mean " + MASS, ylabel="posterior std [dex]", xlim=posteriors.grid[[0, -1]])
    bottom.set_ylim(bottom=0)
    return figure

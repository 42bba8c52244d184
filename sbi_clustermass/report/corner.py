"""Corner plots: draws of several parameters, each pair of them and each alone."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from sbi_clustermass.report.style import BLUE, GREY

_LEVELS = (0.68, 0.95)
_BINS = 30
_SMOOTH = 1.2  # [bin]


def corner_of_draws(
    draws: Float[np.ndarray, "parameter draw"], labels: Sequence[str], truth: Sequence[float | None]
) -> Figure:
    """Plot regions with 68 and 95 % of the draws for each pair of parameters, and their histograms on the diagonal.

    Args:
        draws: Draws of each parameter.
        labels: Label of each parameter.
        truth: True value of each parameter, where there is one.
    """
    n = len(labels)
    figure = Figure(figsize=(1.1 + 1.55 * n, 1.0 + 1.45 * n), layout="constrained")
    axes = figure.subplots(n, n, squeeze=False)
    for i in range(n):
        for j in range(n):
            if j > i:
                axes[i, j].set_axis_off()
                continue
            if i == j:
                _marginal(axes[i, i], draws[i], truth[i])
            else:
                _joint(axes[i, j], draws[[j, i]], (truth[j], truth[i]))
            _label(axes[i, j], labels[j] if i == n - 1 else "", labels[i] if j == 0 and i else "")
    return figure


def _marginal(axes: Axes, draws: Float[np.ndarray, "draw"], mark: float | None) -> None:
    axes.hist(draws, bins=_BINS, histtype="stepfilled", color=BLUE, alpha=0.5)
    axes.set_yticks([])
    decimals = int(np.clip(1 - np.floor(np.log10(draws.std() or 1)), 0, 6))
    axes.set_title(f"{draws.mean():.{decimals}f} ± {draws.std():.{decimals}f}", fontsize=7)
    if mark is not None:
        axes.axvline(mark, color="k", ls="--", lw=1)


def _joint(axes: Axes, draws: Float[np.ndarray, "2 draw"], marks: tuple[float | None, float | None]) -> None:
    counts, x, y = np.histogram2d(*draws, bins=_BINS)
    density = np.pad(gaussian_filter(counts, _SMOOTH), 1)  # contours close at the ends
    falling = np.sort(density.ravel())[::-1]
    share = np.cumsum(falling) / falling.sum()
    levels = sorted({float(falling[np.searchsorted(share, level)]) for level in _LEVELS})
    axes.plot(*draws, ".", ms=1, color=GREY, alpha=0.3, rasterized=True, zorder=0)
    centres = (np.linspace(e[0] - 0.5 * (e[1] - e[0]), e[-1] + 0.5 * (e[1] - e[0]), len(e) + 1) for e in (x, y))
    shades = [to_rgba(BLUE, alpha) for alpha in (0.4, 0.8)[-len(levels) :]]
    axes.contourf(*centres, density.T, levels=[*levels, density.max() * 1.01], colors=shades)
    for mark, line in zip(marks, (axes.axvline, axes.axhline), strict=True):
        if mark is not None:
            line(mark, color="k", ls="--", lw=1)


def _label(axes: Axes, below: str, left: str) -> None:
    axes.tick_params(labelsize=6)
    axes.locator_params(nbins=4)
    axes.set_xlabel(below, fontsize=7)
    axes.set_ylabel(left, fontsize=7)
    if not below:
        axes.set_xticklabels([])
    if not left:
        axes.set_yticklabels([])

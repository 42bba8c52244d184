"""Figure 4: posteriors and true masses of single clusters.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kodi_ramanah_2020.published import OTHER_SIMULATOR, PUBLISHED
from kodi_ramanah_2020.sample import COLOURS, THREE_MASSES, Sample, nearest
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.report import Picture, Section, Table
from sbi_clustermass.report.style import MASS

_EDGE = 0.03  # margin at either end of the grid [dex]


@final
@dataclass(frozen=True, eq=False)
class Individuals:
    """A few clusters of each sample.

    Attributes:
        samples: Samples that the clusters are from.
        rows: Indices of the clusters in each sample.
    """

    samples: tuple[Sample, ...]
    rows: tuple[tuple[int, ...], ...]

    def posteriors(self) -> tuple[tuple[MassPosteriors, Float[np.ndarray, "cluster"]], ...]:
        """Return posteriors and true masses of the chosen clusters of each sample."""
        pairs = zip(self.samples, map(list, self.rows), strict=True)
        return tuple((sample.posteriors[rows], sample.log10_true[rows]) for sample, rows in pairs)

    def section(self) -> Section:
        """Return the section with one panel per sample."""
        figure = Figure(figsize=(4.6 * len(self.samples), 3.8), layout="constrained")
        panels = figure.subplots(1, len(self.samples), sharey=True, squeeze=False)[0]
        for axes, sample, (posteriors, truth) in zip(panels, self.samples, self.posteriors(), strict=True):
            _draw(axes, posteriors, truth)
            axes.set(title=sample.name, xlabel=MASS)
        highest = max(float(posteriors.prob.max()) for posteriors, _ in self.posteriors())
        panels[0].set(ylabel="posterior density [1/dex]", ylim=(0, 1.15 * highest))
        panels[-1].legend(*panels[0].get_legend_handles_labels(), fontsize=8, loc="upper center")
        caption = (
            "Posteriors of the clusters nearest in mass to the chosen values. Line: posterior mean; shaded: within one "
            "standard deviation of it; dashed: true mass."
        )
        alt = "Posterior densities of three clusters in each panel, each with its mean and true mass."
        picture = Picture("figure4", figure, alt, caption)
        return Section("Posteriors of single clusters (figure 4)", tables=[self._table()], pictures=[picture])

    def _table(self) -> Table:
        rows = []
        for sample, which, (posteriors, truth) in zip(self.samples, self.rows, self.posteriors(), strict=True):
            for i, true, mean, std in zip(which, truth, posteriors.mean, posteriors.std, strict=True):
                n, pull = sample.clusters.n_galaxies[i], (mean - true) / std
                rows.append((sample.name, str(n), f"{true:.2f}", f"{mean:.2f} ± {std:.2f}", f"{pull:+.1f}"))
        header = ("sample", "galaxies", "true log10 M", "inferred", "(inferred - true)/std")
        widths = " and ".join(f"{number.width:.2f} ({kind})" for kind, number in PUBLISHED.items())
        note = f"The paper's most massive clusters have a standard deviation of about {widths} dex. {OTHER_SIMULATOR}"
        return Table("Single clusters", header, tuple(rows), note)


def individuals(samples: Sequence[Sample], masses: Sequence[float] = THREE_MASSES) -> Individuals:
    """Take from each sample the clusters whose true masses are nearest to the given ones [dex]."""
    return Individuals(tuple(samples), tuple(nearest(sample.clusters, masses) for sample in samples))


def _draw(axes: Axes, posteriors: MassPosteriors, truth: Float[np.ndarray, "cluster"]) -> None:
    parts = zip(posteriors.prob, posteriors.mean, posteriors.std, truth, COLOURS, strict=False)
    for i, (prob, mean, std, true, colour) in enumerate(parts):
        grid = posteriors.grid
        inside = np.abs(grid - mean) <= std
        labels = ("posterior", r"within $1\sigma$", "truth") if i == 0 else (None, None, None)
        axes.plot(grid, prob, color=colour, lw=1.4, label=labels[0])
        axes.fill_between(grid[inside], prob[inside], color=colour, alpha=0.2, lw=0, label=labels[1])
        height = np.interp(mean, grid, prob)
        axes.plot([mean, mean], [0, height], color=colour, lw=1.4)
        axes.axvline(true, color=colour, ls="--", lw=1.2, label=labels[2])
    axes.set(xlim=(posteriors.grid[0] - _EDGE, posteriors.grid[-1] + _EDGE))

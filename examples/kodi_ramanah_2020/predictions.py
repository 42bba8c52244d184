"""Figure 5 and section 5: predictions against truth, and statistics of the residuals.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np
from matplotlib.figure import Figure

from kodi_ramanah_2020.published import OTHER_SIGN, OTHER_SIMULATOR, PUBLISHED, Kind
from kodi_ramanah_2020.sample import Sample, cell, published_cell, slug
from sbi_clustermass.baselines import Prediction
from sbi_clustermass.diagnostics.residuals import mean_of
from sbi_clustermass.diagnostics.validation.scores import MASSIVE, MIDDLE, OUTLIER, Scores, within
from sbi_clustermass.posterior.plots import masses
from sbi_clustermass.report import Picture, Section, Table
from sbi_clustermass.report.style import ORANGE

_BINS = 13


@final
@dataclass(frozen=True, eq=False)
class Predictions:
    """Scores of samples."""

    samples: tuple[Sample, ...]
    scores: tuple[Scores, ...]

    def section(self) -> Section:
        """Return the section with a table of all samples and the paper's numbers, and a picture per sample."""
        text = [
            "Posteriors trained on flat masses, tested on clusters that follow the mass function, as in the paper. "
            "That promises no calibration, because the test set has another prior than the training set.",
            "Pure clusters are cut at their virial radius, which goes with mass: their numbers owe much to the "
            "outermost galaxies and to how many there are, and no survey sees such a cut.",
        ]
        pictures = [_picture(sample) for sample in self.samples]
        return Section("Predictions against truth (figure 5)", text, tables=[self._table()], pictures=pictures)

    def _table(self) -> Table:
        kinds: list[Kind] = [kind for kind in PUBLISHED if any(sample.kind == kind for sample in self.samples)]
        columns = [*map(_column, self.samples, self.scores), *map(_published, kinds)]
        names = [*(sample.name for sample in self.samples), *(f"paper, {kind}" for kind in kinds)]
        labels = (
            "mean residual [dex]",
            "scatter [dex]",
            f"scatter, {MIDDLE[0]:g} to {MIDDLE[1]:g} [dex]",
            f"mean |residual|, {MASSIVE[0]:g} to {MASSIVE[1]:g} [dex]",
            f"posterior std, {MASSIVE[0]:g} to {MASSIVE[1]:g} [dex]",
            f"beyond {OUTLIER:g} dex [%]",
            "clusters: all, intermediate, massive",
        )
        note = (
            f"{OTHER_SIMULATOR} {OTHER_SIGN} Errors are Monte Carlo, with clusters taken as independent, though "
            "three lines of sight go through each halo."
        )
        rows = zip(labels, *columns, strict=True)
        return Table("Residuals, log10(predicted/true)", ("", *names), tuple(rows), note)


def predictions(samples: Sequence[Sample]) -> Predictions:
    """Score samples as section 5 of the paper does; the point prediction is the posterior mean."""
    return Predictions(tuple(samples), tuple(_scores(sample) for sample in samples))


def _scores(sample: Sample) -> Scores:
    return Scores.from_prediction(Prediction.from_posteriors(sample.posteriors), sample.log10_true, seconds=0.0)


def _column(sample: Sample, scores: Scores) -> tuple[str, ...]:
    massive = within(sample.log10_true, MASSIVE)
    numbers = (scores.mean, scores.scatter, scores.middle, scores.massive, mean_of(sample.posteriors.std[massive]))
    outliers = "–" if scores.outliers is None else f"{scores.outliers.percent:.2f}"
    counts = len(massive), int(within(sample.log10_true, MIDDLE).sum()), int(massive.sum())
    return (*map(cell, numbers), outliers, ", ".join(map(str, counts)))


def _published(kind: Kind) -> tuple[str, ...]:
    paper = PUBLISHED[kind]
    numbers = (paper.mean, paper.scatter, paper.intermediate, paper.massive)
    n_massive = "around 50" if kind == "contaminated" else "–"
    return (*map(published_cell, numbers), f"about {paper.width:.2f}", "–", f"20 000, –, {n_massive}")


def _picture(sample: Sample) -> Picture:
    figure = masses(sample.posteriors, sample.log10_true)
    for axes in figure.axes:  # thousands of dots would hide the bands
        axes.lines[0].set(alpha=min(0.35, 3000 / len(sample.log10_true)), zorder=0)
    _add_mean_absolute(figure, sample)
    caption = (
        f"{sample.name}: inferred against true mass. Stars: mean of the posteriors' medians in bins of true mass; "
        "bands: mean 68 % and 95 % ranges; below, residuals with the mean absolute residual (dash-dotted)."
    )
    alt = f"{sample.name}: stars and shaded bands along the diagonal of inferred against true mass, residuals below."
    return Picture(f"figure5-{slug(sample.name)}", figure, alt, caption)


def _add_mean_absolute(figure: Figure, sample: Sample) -> None:
    """Draw lines at plus and minus the mean absolute residual in bins of true mass, as in the paper."""
    true, absolute = sample.log10_true, np.abs(sample.residual)
    edges = np.linspace(sample.posteriors.grid[0], sample.posteriors.grid[-1], _BINS + 1)
    bins = [np.flatnonzero((true >= low) & (true < high)) for low, high in pairwise(edges)]
    bins = [rows for rows in bins if len(rows) >= 5]
    centre = [true[rows].mean() for rows in bins]
    size = np.array([absolute[rows].mean() for rows in bins])
    bottom = figure.axes[1]
    bottom.plot(centre, size, "-.", color=ORANGE, lw=1.2, label="mean |residual|")
    bottom.plot(centre, -size, "-.", color=ORANGE, lw=1.2)
    bottom.legend(handles=bottom.lines[-2:-1], loc="upper right", fontsize=8)

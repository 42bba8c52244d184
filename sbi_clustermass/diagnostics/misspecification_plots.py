"""Pictures of alarm rates and of robustness.

Masses are M200c [h^-1 Msun].
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sbi_clustermass.report.style import BLUE, GREEN, GREY, ORANGE

if TYPE_CHECKING:
    from sbi_clustermass.diagnostics.false_alarms import AlarmRates
    from sbi_clustermass.diagnostics.robustness import Change

_MARKS = "os^vD"
_COLOURS = (BLUE, GREEN, ORANGE, GREY)


def alarms(rates: "AlarmRates") -> Figure:
    """Share of clusters on which an alarm fires: a bar for each corruption, with its tests as marks.

    Corruptions without posteriors are omitted.
    """
    rows = [row for row in rates.rows if row.n][::-1]
    figure = Figure(figsize=(7.2, 0.9 + 0.27 * len(rows)), layout="constrained")
    axes, y = figure.subplots(), np.arange(len(rows))
    axes.barh(y, [r.any.value for r in rows], xerr=[r.any.error for r in rows], color=BLUE, alpha=0.3, label="alarm")
    for i, test in enumerate(rates.tests):
        values, errors = zip(*((r.fired[i].value, r.fired[i].error) for r in rows), strict=True)
        mark, colour = _MARKS[i % len(_MARKS)], _COLOURS[i % len(_COLOURS)]
        axes.errorbar(values, y, xerr=errors, ls="", ms=4, lw=1, label=test, marker=mark, color=colour)
    axes.axvline(rates.rate, color="k", ls="--", lw=1, label="stated rate of false alarms")
    axes.set_yticks(y, [row.name for row in rows], fontsize=8)
    axes.set(xlabel="share of clusters", xlim=(0, 1.02), ylim=(-0.7, len(rows) - 0.3))
    axes.legend(loc="lower right", fontsize=8)
    return figure


def robustness(changes: Sequence["Change"]) -> Figure:
    """Shift of the posterior mean above, ratio of widths below, a column for each kind of change."""
    families = list(dict.fromkeys(each.family for each in changes))
    figure = Figure(figsize=(1.2 + 1.9 * len(families), 4.6), layout="constrained")
    grid = figure.subplots(2, len(families), sharey="row", squeeze=False)
    for column, family in enumerate(families):
        rows = [each for each in changes if each.family == family]
        _sizes(grid[0, column], rows, "shift", level=0.0)
        _sizes(grid[1, column], rows, "width", level=1.0)
        grid[0, column].set_title(family, fontsize=9)
        grid[0, column].tick_params(labelbottom=False)
    grid[0, 0].set_ylabel("shift of the mean [dex]")
    grid[1, 0].set_ylabel("width, after / before")
    return figure


def _sizes(axes: Axes, rows: Sequence["Change"], what: str, *, level: float) -> None:
    measured = [getattr(row, what) for row in rows]
    x = np.arange(len(rows))
    axes.errorbar(x, [m.value for m in measured], yerr=[m.error for m in measured], fmt="o-", ms=4, color=BLUE)
    axes.axhline(level, color="k", ls="--", lw=1)
    axes.set_xticks(x, [row.label for row in rows], rotation=45, ha="right", fontsize=8)
    axes.margins(x=0.15)

"""Pictures of calibration: PIT values, coverage, and predicted errors against residuals.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sbi_clustermass.diagnostics.calibration import PitHistogram, central_level, curve_band, pit_histogram
from sbi_clustermass.diagnostics.reliability import SigmaBin, reliability
from sbi_clustermass.diagnostics.test_sets import COVERAGE_TOLERANCE, HeldOut
from sbi_clustermass.report.content import Picture
from sbi_clustermass.report.style import BLUE, GREEN, GREY, ORANGE

_LEVELS = np.linspace(0, 1, 401)


def pit(histogram: PitHistogram) -> Figure:
    """Histogram of PIT values, with the expected range of calibrated counts."""
    figure = Figure(figsize=(5.4, 3.6), layout="constrained")
    axes = figure.subplots()
    expected = histogram.expected
    axes.stairs(histogram.counts / expected, histogram.edges, fill=True, color=BLUE, alpha=0.55, label="test clusters")
    low, high = histogram.low / expected, histogram.high / expected
    axes.axhspan(low, high, color=GREY, alpha=0.3, lw=0, label="all bins, 95 % of calibrated sets")
    axes.axhline(1, color="k", ls="--", lw=1)
    top = 1.35 * max(float(histogram.counts.max()) / expected, high)
    axes.set(xlabel="PIT: share of the posterior below the true mass", ylabel="density", xlim=(0, 1), ylim=(0, top))
    axes.legend(fontsize=8, loc="upper center", ncols=2)
    return figure


def coverage_curve(clusters: HeldOut) -> Figure:
    """Coverage against its level by central interval and by highest density, and the difference in points below.

    The grey band contains the whole curve of 95 % of calibrated test sets; dotted lines are the tolerance if
    calibration is promised.
    """
    figure = Figure(figsize=(5.0, 6.0), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    truth, posteriors = clusters.log10_mass, clusters.posteriors
    kinds = (
        ("central interval", central_level(posteriors, truth), BLUE, "-"),
        ("highest density", posteriors.hdr_level(truth), ORANGE, "--"),
    )
    _bands(top, bottom, 100 * curve_band(len(clusters)))
    for name, levels, colour, line in kinds:
        share = np.searchsorted(np.sort(levels), _LEVELS, side="right") / len(levels)
        top.plot(100 * _LEVELS, 100 * share, line, color=colour, lw=1.6, label=name)
        bottom.plot(100 * _LEVELS, 100 * (share - _LEVELS), line, color=colour, lw=1.4)
    if clusters.drawn_from_prior:
        for sign in (-1, 1):
            bottom.axhline(sign * 100 * COVERAGE_TOLERANCE, color=GREEN, ls=":", lw=1.4)
        top.plot([], [], ":", color=GREEN, label=f"promise: within {100 * COVERAGE_TOLERANCE:g} points")
    top.set(ylabel="true masses inside [%]", xlim=(0, 100), ylim=(0, 100))
    bottom.set(xlabel="probability of the interval [%]", ylabel="difference [points]")
    top.legend(fontsize=8, loc="upper left")
    return figure


def _bands(top: Axes, bottom: Axes, half: float) -> None:
    x = 100 * _LEVELS
    label = "95 % of calibrated sets"
    top.fill_between(x, np.clip(x - half, 0, 100), np.clip(x + half, 0, 100), color=GREY, alpha=0.3, lw=0, label=label)
    top.plot([0, 100], [0, 100], color="k", lw=0.8)
    bottom.fill_between(x, -half, half, color=GREY, alpha=0.3, lw=0)
    bottom.axhline(0, color="k", lw=0.8)


def reliability_diagram(bins: Sequence[SigmaBin]) -> Figure:
    """Root mean square residual against predicted error, in bins of the latter."""
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axes = figure.subplots()
    predicted = np.array([each.predicted for each in bins])
    found, error = (np.array([getattr(each.found, name) for each in bins]) for name in ("value", "error"))
    low = 0.85 * min(predicted.min(), (found - error).min())
    high = 1.1 * max(predicted.max(), (found + error).max())
    span = np.array([max(low, 0.0), high])
    axes.plot(span, span, "k--", lw=1, label="calibrated")
    axes.errorbar(predicted, found, error, fmt="o", ms=5, color=BLUE, capsize=2, label="test clusters")
    axes.set(
        xlabel="predicted error, rms posterior standard deviation [dex]",
        ylabel="rms residual [dex]",
        xlim=span,
        ylim=span,
        aspect="equal",
    )
    axes.text(0.97, 0.05, "errors too wide", ha="right", color=GREY, fontsize=8, transform=axes.transAxes)
    axes.text(0.03, 0.80, "errors too narrow", ha="left", color=GREY, fontsize=8, transform=axes.transAxes)
    axes.legend(fontsize=8, loc="upper left")
    return figure


def calibration_pictures(clusters: HeldOut, *, name: str = "calibration") -> tuple[Picture, ...]:
    """PIT histogram, coverage curve and reliability diagram.

    Args:
        clusters: Posteriors of clusters of known mass.
        name: Prefix of the pictures' file names.

    Raises:
        ValueError: There are too few clusters for the reliability diagram.
    """
    histogram = pit_histogram(clusters.posteriors, clusters.log10_mass)
    promise = (
        "" if clusters.drawn_from_prior else " Not promised: the test masses were drawn from another distribution."
    )
    n = f"{len(clusters)} test clusters"
    outside = f"{histogram.outside} of {len(histogram.counts)} bins lie outside the range of calibrated posteriors"
    return (
        Picture(
            f"{name}_pit",
            pit(histogram),
            f"Histogram of the PIT values of {n}; {outside}.",
            f"Flat when calibrated; a valley: too narrow; a hill: too wide; a slope: off.{promise}",
        ),
        Picture(
            f"{name}_coverage",
            coverage_curve(clusters),
            f"Share of {n} whose true mass lies in an interval, against its probability, and the difference below.",
            f"On the diagonal when calibrated; below it intervals are too narrow.{promise}",
        ),
        Picture(
            f"{name}_reliability",
            reliability_diagram(reliability(clusters)),
            f"Root mean square residual of {n} against their predicted error, in bins of the latter.",
            f"On the diagonal when predicted errors are right, for every size of error.{promise}",
        ),
    )

"""Picture of a comparison between flows and embeddings."""

from matplotlib.figure import Figure

from sbi_clustermass.diagnostics.comparison.table import Comparison
from sbi_clustermass.report.style import BLUE


def comparison(found: Comparison) -> Figure:
    """Difference of each combination from the exact posterior, or from the best combination [nats]."""
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

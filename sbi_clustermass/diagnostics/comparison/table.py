"""The table of a comparison, as numbers with units and as text.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; log densities are natural [nats].
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, final

import numpy as np

from clustermocks.io.atomic import replacing
from sbi_clustermass.diagnostics.comparison.score import Entry, Failure, PosteriorScore
from sbi_clustermass.diagnostics.residuals import Measured, mean_of

if TYPE_CHECKING:
    from astropy.table import Table

_UNITS = {"log_prob": "", "below_best": "", "gap": "", "residual_mean": "dex", "residual_scatter": "dex"}
_MEASURED = (*_UNITS, "coverage_error")
_HEADER = (
    *("flow+embedding", "log q [nats]", "below best", "gap to exact", "mean res. [dex]", "scatter [dex]"),
    *("68 % error", "weights", "updates", "updates/s", "training [s]", "ms/cluster", "rate x batch, patience"),
)


@final
@dataclass(frozen=True)
class Row:
    """One combination in numbers.

    Attributes:
        entry: The trained combination and its scores.
        log_prob: Mean natural log posterior density at the true mass [nats].
        below_best: Difference from the best combination [nats], with the error of the paired difference.
        gap: Difference from the exact posterior [nats], with such an error; None if that is unknown.
    """

    entry: Entry
    log_prob: Measured
    below_best: Measured
    gap: Measured | None


@final
@dataclass(frozen=True)
class Comparison:
    """All combinations of a setup.

    Attributes:
        results: Entry or failure of each combination.
        exact: Scores of the exact posteriors, if known.
    """

    results: tuple[Entry | Failure, ...]
    exact: PosteriorScore | None = None

    @classmethod
    def joined(cls, *parts: Self) -> Self:
        """Join comparisons on the same test clusters, such as those with several training rules."""
        return cls(sum((part.results for part in parts), ()), parts[0].exact)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Trained combinations, best first."""
        entries = [each for each in self.results if isinstance(each, Entry)]
        entries.sort(key=lambda entry: -entry.score.log_prob.mean())
        rows = []
        for entry in entries:
            log_prob = entry.score.log_prob
            gap = None if self.exact is None else mean_of(self.exact.log_prob - log_prob)
            rows.append(Row(entry, mean_of(log_prob), mean_of(entries[0].score.log_prob - log_prob), gap))
        return tuple(rows)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Combinations that failed."""
        return tuple(each for each in self.results if isinstance(each, Failure))

    def markdown(self) -> str:
        """Format as a padded Markdown table, with failures below it."""
        cells = [_HEADER, *self._cells()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells]
        rule = "|-" + "-|-".join("-" * width for width in widths) + "-|"
        failed = [f"{failure.name} failed. {failure.reason}" for failure in self.failures]
        return "\n".join([lines[0], rule, *lines[1:], *[f"\n{line}" for line in failed]])

    def _cells(self) -> Iterator[tuple[str, ...]]:
        if self.exact is not None:
            yield "exact posterior", str(mean_of(self.exact.log_prob)), "", "", *_quality(self.exact), *[""] * 6
        for row in self.rows:
            entry, gap = row.entry, "" if row.gap is None else str(row.gap)
            rate, speed = f"{entry.updates / entry.training_seconds:.1f}", f"{1e3 * entry.inference_seconds:.2f}"
            costs = f"{entry.weights}", f"{entry.updates}", rate, f"{entry.training_seconds:.0f}", speed, entry.rule
            yield entry.name, str(row.log_prob), str(row.below_best), gap, *_quality(entry.score), *costs

    def as_table(self) -> "Table":
        """Convert to a table with units: one row per combination, failures included, with standard errors."""
        from astropy.table import Column, Table

        table = Table(rows=[*map(_numbers, self.rows), *map(_empty, self.failures)])
        for name, unit in _UNITS.items():
            for column in (name, f"{name}_error"):
                table[column] = Column(table[column], unit=unit)
        return table

    def write(self, folder: Path) -> None:
        """Write comparison.md and comparison.ecsv, each whole or not at all."""
        with replacing(folder / "comparison.md") as temporary:
            temporary.write_text(self.markdown() + "\n", encoding="utf-8")
        with replacing(folder / "comparison.ecsv") as temporary:
            self.as_table().write(temporary, format="ascii.ecsv", overwrite=True)


def _quality(score: PosteriorScore) -> tuple[str, str, str]:
    return str(score.residual_mean), str(score.residual_scatter), str(score.coverage_error)


def _numbers(row: Row) -> dict[str, str | float | int]:
    entry, score = row.entry, row.entry.score
    gap = row.gap or Measured(np.nan, np.nan)
    measured = (row.log_prob, row.below_best, gap, score.residual_mean, score.residual_scatter, score.coverage_error)
    columns = {name: each.value for name, each in zip(_MEASURED, measured, strict=True)}
    errors = {f"{name}_error": each.error for name, each in zip(_MEASURED, measured, strict=True)}
    costs = {
        "weights": entry.weights,
        "updates": entry.updates,
        "updates_per_second": entry.updates / entry.training_seconds,
        "training_seconds": entry.training_seconds,
        "inference_seconds": entry.inference_seconds,
        "rule": entry.rule,
    }
    return {"flow": entry.flow, "embedding": entry.embedding, **columns, **errors, **costs, "failed": ""}


def _empty(failure: Failure) -> dict[str, str | float | int]:
    columns = {name: np.nan for each in _MEASURED for name in (each, f"{each}_error")}
    costs = {"weights": 0, "updates": 0, "updates_per_second": np.nan, "training_seconds": np.nan}
    names = {"flow": failure.flow, "embedding": failure.embedding}
    return {**names, **columns, **costs, "inference_seconds": np.nan, "rule": "", "failed": failure.reason}

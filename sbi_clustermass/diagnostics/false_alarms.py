"""Detection rates and false-alarm rates of an alarm, with Monte Carlo errors.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from clustermocks import Catalogue
from sbi_clustermass.diagnostics.corruptions import CORRUPTIONS, Corruption
from sbi_clustermass.diagnostics.residuals import Measured, mean_of, share_of
from sbi_clustermass.estimator.misspecification.alarm import Alarm, bonferroni
from sbi_clustermass.report.content import Table

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

HELD_OUT = "held-out mocks, as they are"
_DASH = "–"


@final
@dataclass(frozen=True)
class AlarmRate:
    """How often the tests fire on clusters with one corruption.

    Attributes:
        name: Name of the corruption.
        n: Number of clusters with a posterior.
        refused: Share of clusters with too few galaxies for a posterior [1].
        fired: Share on which each test fires, by its own p-value [1].
        any: Share on which the alarm fires, at the same rate [1].
        residual: Mean residual log10(predicted/true) [dex], the cost of ignoring the alarm; None without posteriors.
        silent_residual: Mean residual of the clusters without an alarm [dex].
    """

    name: str
    n: int
    refused: float
    fired: tuple[Measured, ...]
    any: Measured
    residual: Measured | None
    silent_residual: Measured | None


@final
@dataclass(frozen=True)
class AlarmRates:
    """Rates of all corruptions, held-out mocks first.

    Attributes:
        rate: Stated rate of false alarms [1].
        tests: Names of the tests.
        rows: Rates, in the order of the table.
    """

    rate: float
    tests: tuple[str, ...]
    rows: tuple[AlarmRate, ...]

    def table(self) -> Table:
        """Format the rates as a table."""
        header = ("clusters", "n", "refused", *self.tests, "alarm", "mean residual [dex]", "where silent [dex]")
        rows = tuple(_cells(row, len(self.tests)) for row in self.rows)
        note = (
            f"Share of clusters on which a test fires at a false-alarm rate of {self.rate:.1%}, with Monte Carlo "
            "errors. The alarm fires where the least p-value times the number of tests is below the rate. Refused: "
            "too few galaxies were left. Mean residual: log10(predicted/true), of all answers and of those without "
            "an alarm."
        )
        return Table("What the alarm fires on", header, rows, note)


def alarm_rates(
    alarm: Alarm,
    estimator: "MassEstimator",
    held_out: Catalogue,
    *,
    rate: float = 0.01,
    corruptions: Mapping[str, Corruption | Catalogue] | None = None,
    seed: int = 1,
) -> AlarmRates:
    """Measure how often an alarm fires on held-out mocks, and on the same mocks after each corruption.

    Args:
        alarm: Alarm, fitted to other mocks.
        estimator: Estimator with which it was fitted.
        held_out: Mocks unknown to both, drawn like the training set.
        rate: Stated rate of false alarms [1].
        corruptions: Functions of the held-out mocks and a seed, or whole catalogues, by name; `CORRUPTIONS` by default.
        seed: Seed of the corruptions.

    Raises:
        ValueError: `rate` is not between 0 and 1.
    """
    if not 0 < rate < 1:
        raise ValueError(f"alarm_rates: rate must lie between 0 and 1, found {rate!r}.")
    chosen = CORRUPTIONS if corruptions is None else corruptions
    rows = [_measure(HELD_OUT, alarm, estimator, held_out, rate=rate, asked=len(held_out))]
    for name, corruption in chosen.items():
        whole = isinstance(corruption, Catalogue)
        changed = corruption if whole else corruption(held_out, seed)
        asked = changed.attempts.num_rows if whole else len(held_out)
        rows.append(_measure(name, alarm, estimator, changed, rate=rate, asked=asked))
    return AlarmRates(rate, alarm.tests, tuple(rows))


def _measure(
    name: str, alarm: Alarm, estimator: "MassEstimator", clusters: Catalogue, *, rate: float, asked: int
) -> AlarmRate:
    refused = 1 - len(clusters) / asked if asked else 1.0
    if not len(clusters):
        return AlarmRate(name, 0, refused, (), Measured(np.nan, np.nan), None, None)
    posteriors = estimator.posterior(clusters)
    p_values = alarm.p_values(estimator.network, clusters, posteriors)
    fired = bonferroni(p_values) <= rate
    residual = posteriors.mean - clusters.log10_mass
    return AlarmRate(
        name, len(clusters), refused, tuple(share_of(p <= rate) for p in p_values), share_of(fired),
        _mean(residual), _mean(residual[~fired]),
    )  # fmt: skip


def _mean(values: np.ndarray) -> Measured | None:
    return mean_of(values) if len(values) > 1 else None


def _cells(row: AlarmRate, n_tests: int) -> tuple[str, ...]:
    fired = [str(each) for each in (*row.fired, row.any)] if row.n else [_DASH] * (n_tests + 1)
    costs = [_DASH if each is None else f"{each:+.3f}" for each in (row.residual, row.silent_residual)]
    return (row.name, str(row.n), f"{row.refused:.1%}", *fired, *costs)

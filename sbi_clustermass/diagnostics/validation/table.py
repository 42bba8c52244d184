"""The table of all methods."""

from collections.abc import Sequence

from sbi_clustermass.diagnostics.residuals import Measured
from sbi_clustermass.diagnostics.validation.evaluate import Result
from sbi_clustermass.diagnostics.validation.scores import Scores
from sbi_clustermass.report import Table

REFERENCE = "m_sigma"  # the published method: the inverted forward relation
_HEADER = (
    *("method", "prior", "mean [dex]", "scatter [dex]", "14 to 15 [dex]", "|res.| 14.8 to 15.2", "beyond .3 dex [%]"),
    *("times better than M-sigma", "log q [nats]", "in 68 % [%]", "answered [%]", "ms/cluster"),
)
_NOTE = (
    "Residuals are log10(M_predicted / M_true), scatter their standard deviation, points the posterior means; errors "
    "are those of a finite test set. Times better: scatter of the inverted M-sigma relation over this one, for "
    "14 <= log10 M <= 15. log q: mean natural log density (per dex) of the true mass."
)


def validation_table(results: Sequence[Result], *, title: str, note: str = "") -> Table:
    """Format results as a table: one row per method, by increasing scatter; failures in the note, with reasons.

    Args:
        results: Results of `score_estimator` and `score_baselines`.
        title: Title, which names the clusters.
        note: Additional text below the table.
    """
    scored = sorted((each for each in results if each.scores), key=lambda each: _scatter(each.scores))
    reference = next((each.scores.middle for each in scored if each.scores and each.name == REFERENCE), None)
    rows = [_row(each, reference) for each in scored]
    failed = [f"{each.name} failed: {each.failure}" for each in results if each.scores is None]
    return Table(title, _HEADER, tuple(rows), " ".join(filter(None, [_NOTE, note, *failed])))


def _scatter(scores: Scores | None) -> float:
    return scores.scatter.value if scores and scores.scatter else float("inf")


def _row(result: Result, reference: Measured | None) -> tuple[str, ...]:
    s = result.scores
    if s is None:
        raise ValueError(f"{result.name} has no scores.")
    times = f"{reference.value / s.middle.value:.2f}" if reference and s.middle else ""
    return (
        *(result.name, result.prior, _text(s.mean), _text(s.scatter), _text(s.middle), _text(s.massive)),
        *(_percent(s.outliers), times, _text(s.log_prob), _percent(s.coverage)),
        *(f"{100 * s.answered:.1f}", f"{1e3 * s.seconds:.2f}"),
    )


def _text(each: Measured | None) -> str:
    return "" if each is None else str(each)


def _percent(each: Measured | None) -> str:
    return "" if each is None else f"{each.percent:.1f}"

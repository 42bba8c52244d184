"""Tables of calibration, for the terminal and the report. Marks appear only where calibration is promised.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; `log_` is natural.
"""

from collections.abc import Iterator, Sequence

from sbi_clustermass.diagnostics.calibration import Coverage, coverages, largest_deviation, pit_histogram
from sbi_clustermass.diagnostics.reliability import (
    Bin,
    SigmaBin,
    by_posterior_mean,
    by_richness,
    reliability,
    standardised as standardised_residual,
)
from sbi_clustermass.diagnostics.residuals import residuals
from sbi_clustermass.diagnostics.scoring_rules import crps, information_gain, log_score
from sbi_clustermass.diagnostics.simulation_based_calibration import sbc, tarp
from sbi_clustermass.diagnostics.test_sets import COVERAGE_TOLERANCE, MEAN_TOLERANCE, HeldOut, mark
from sbi_clustermass.report.content import Table

_PROMISED = (
    "Test clusters were drawn from the prior that the posteriors carry, so that calibration is promised. "
    f"Passes: within {100 * COVERAGE_TOLERANCE:g} points or {MEAN_TOLERANCE:g} dex, known to half of that at 2 errors. "
    "Fails: off by more than that and 2 errors. Between the two there are too few clusters to tell."
)
_NOT_PROMISED = (
    "No marks: test clusters were drawn from another distribution of masses than the prior that the posteriors carry, "
    "and calibration is not promised there, however good the posteriors are."
)
_SHARES = "Shares are of true masses inside the central interval."
_DASH = "–"


def calibration_tables(
    clusters: HeldOut, *, title: str = "", bins: int = 5, samples: int = 1000, seed: int = 1
) -> tuple[Table, ...]:
    """Coverage; residuals, scores, SBC and TARP; bins of posterior mean and of richness; reliability of sigma.

    Numbers have Monte Carlo errors. The column of marks is present only if calibration is promised, the bins of
    richness only if it is known.

    Args:
        clusters: Posteriors of clusters of known mass.
        title: Prefix of each title, such as the name of the estimator.
        bins: Number of bins of posterior mean and of richness.
        samples: Samples of each posterior, for SBC and TARP.
        seed: Seed of these samples.

    Raises:
        ValueError: There are fewer than 100 clusters.
    """
    start = f"{title}: " if title else ""
    tables = [
        _coverage(clusters, f"{start}coverage of {len(clusters)} test clusters"),
        _summary(clusters, f"{start}residuals, scores and uniformity", samples, seed),
        _bins(
            by_posterior_mean(clusters, bins=bins), f"{start}by posterior mean", "posterior mean [dex]", ".2f", _SHARES
        ),
    ]
    if clusters.n_galaxies is not None:
        note = f"{_SHARES} In bins of richness, calibration is promised only for posteriors that use it."
        tables.append(_bins(by_richness(clusters, bins=bins), f"{start}by richness", "galaxies", ".0f", note))
    return (*tables, _reliability(reliability(clusters), f"{start}predicted error against residual"))


def _note(clusters: HeldOut) -> str:
    return _PROMISED if clusters.drawn_from_prior else _NOT_PROMISED


def _coverage(clusters: HeldOut, title: str) -> Table:
    header = ("interval [%]", "central [%]", "highest density [%]")
    found = coverages(clusters.posteriors, clusters.log10_mass)
    rows = [(f"{100 * each.level:g}", f"{each.central.percent:.1f}", f"{each.highest.percent:.1f}") for each in found]
    if clusters.drawn_from_prior:
        header = (*header[:2], "mark", header[2], "mark")
        rows = [_marked(each) for each in found]
    return Table(title, header, tuple(rows), _note(clusters))


def _marked(found: Coverage) -> tuple[str, ...]:
    kinds = [(each, mark(each, found.level, COVERAGE_TOLERANCE)) for each in (found.central, found.highest)]
    cells = (cell for each, verdict in kinds for cell in (f"{each.percent:.1f}", str(verdict)))
    return (f"{100 * found.level:g}", *cells)


def _summary(clusters: HeldOut, title: str, samples: int, seed: int) -> Table:
    mean, _ = residuals(clusters.posteriors.mean, clusters.log10_mass)
    rows = [*_residual_rows(clusters), *_score_rows(clusters), *_uniformity_rows(clusters, samples, seed)]
    header = ("", "found", "if calibrated")
    if clusters.drawn_from_prior:
        header = (*header, "mark")
        verdict = str(mark(mean, 0.0, MEAN_TOLERANCE))
        rows = [(*row, verdict if i == 0 else "") for i, row in enumerate(rows)]
    return Table(title, header, tuple(rows), _note(clusters))


def _residual_rows(clusters: HeldOut) -> Iterator[tuple[str, str, str]]:
    mean, scatter = residuals(clusters.posteriors.mean, clusters.log10_mass)
    shift, width = standardised_residual(clusters)
    yield "mean residual [dex]", f"{mean:.4f}", "0"
    yield "scatter of the residual [dex]", f"{scatter:.4f}", _DASH
    yield "mean of residual / predicted error", str(shift), "0"
    yield "scatter of residual / predicted error", str(width), "1"


def _score_rows(clusters: HeldOut) -> Iterator[tuple[str, str, str]]:
    given = clusters.posteriors, clusters.log10_mass
    yield "log density at the truth [nats]", str(log_score(*given)), _DASH
    yield "information gained over the prior [nats]", str(information_gain(*given)), _DASH
    yield "CRPS [dex]", f"{crps(*given):.4f}", _DASH


def _uniformity_rows(clusters: HeldOut, samples: int, seed: int) -> Iterator[tuple[str, str, str]]:
    given = clusters.posteriors, clusters.log10_mass
    histogram, (deviation, pvalue) = pit_histogram(*given), largest_deviation(clusters.posteriors.pit(given[1]))
    ranks, regions = sbc(*given, samples=samples, seed=seed), tarp(*given, samples=samples, seed=seed)
    yield "PIT bins outside their range", f"{histogram.outside} of {len(histogram.counts)}", "0 in 95 % of cases"
    yield "PIT, largest deviation from uniform", f"{deviation:.4f}, p = {pvalue:.2g}", "p uniform"
    yield "SBC ranks, Kolmogorov-Smirnov", f"p = {ranks.ks_pvalue:.2g}", "p uniform"
    yield "SBC ranks, C2ST against uniform", str(ranks.c2st_ranks), "0.5"
    yield "SBC masses, C2ST against samples", str(ranks.c2st_masses), "0.5"
    yield "TARP, area above the diagonal", f"{regions.area:.4f}", "0"
    yield "TARP, Kolmogorov-Smirnov", f"p = {regions.ks_pvalue:.2g}", "p uniform"


def _bins(bins: Sequence[Bin], title: str, name: str, form: str, note: str) -> Table:
    header = (name, "clusters", "in 68 % [%]", "in 95 % [%]", "mean residual [dex]", "scatter [dex]")
    rows = tuple(
        (
            f"{each.low:{form}} to {each.high:{form}}",
            str(each.n),
            *(f"{share.percent:.1f}" for share in (each.coverage_68, each.coverage_95)),
            *(str(number) for number in (each.mean, each.scatter)),
        )
        for each in bins
    )
    return Table(title, header, rows, note)


def _reliability(bins: Sequence[SigmaBin], title: str) -> Table:
    header = ("predicted [dex]", "clusters", "rms predicted [dex]", "rms residual [dex]", "residual / predicted")
    rows = tuple(
        (f"{each.low:.3f} to {each.high:.3f}", str(each.n), f"{each.predicted:.3f}", str(each.found), str(each.ratio))
        for each in bins
    )
    return Table(title, header, rows, "The ratio is 1 when calibrated: below, errors are too wide; above, too narrow.")

"""Accuracy of the shipped estimator on mocks like its training set, in parts of them, and under the mass function.

`python benchmarks/shipped.py [--model FOLDER]` prints the tables of its card (some minutes of one core).
Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import argparse
import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from mocks_to_ship import FLAT, PHYSICS, SURVEYS, drawn
from parameter_coverage import table
from rich.console import Console
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from clustermocks import Catalogue, HaloMassFunction
from clustermocks.mocks.chunk import DRAW, GROUP
from sbi_clustermass.diagnostics import mean_of, residuals
from sbi_clustermass.diagnostics.calibration import central_level
from sbi_clustermass.diagnostics.test_sets import reweighted
from sbi_clustermass.estimator.hub import resolve_model
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.misspecification.alarm import Alarm
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.report import Section, Table

RATE = 0.01
LEVELS = (0.5, 0.68, 0.9, 0.95)
_SEED = 9001  # no training set's
_FUNCTION = HaloMassFunction(low=FLAT.low, high=FLAT.high)
_MIDDLE = (14.0, 15.0)
_THIRDS = {
    "redshift": lambda mocks: mocks.column("redshift"),
    "field [h^-1 Mpc]": lambda mocks: mocks.column("aperture"),
    "galaxies per volume [h^3 Mpc^-3]": lambda mocks: mocks.column("tracer_density"),
    "slope of completeness": lambda mocks: mocks.column("radial_slope"),
    "velocity error [km/s]": lambda mocks: mocks.column("velocity_error"),
    "galaxies": lambda mocks: mocks.n_galaxies,
}
_NOTE = (
    "Residuals are log10(M_inferred / M_true), scatter their standard deviation, point estimates the posterior means. "
    "Error bars are promised to be correct in the first rows, whose mocks are drawn from the prior under which masses "
    "are inferred, and in parts by what the network is told or sees: redshift, field, number of galaxies, stated "
    "errors and cleaning. How dense and how complete the galaxies are it is not told. Errors are those of "
    f"surveys of {GROUP} clusters that share their settings. Unlike any mock: share on which the alarm fires at "
    f"{RATE:.0%}."
)
_BUDGET_NOTE = (
    "Standard deviation of the residuals, and how much of it goes with what is hidden from the network: the physics of "
    "galaxies (`PhysicsPrior`: velocity bias, anisotropy, concentration, richness, mergers, infall) and the survey "
    "(`SurveyPrior`: depth, targeting, completeness, errors of the centre). Each part is the standard deviation that a "
    "quadratic regression on the draws predicts for surveys to which it was not fitted; what no draw explains is "
    "noise: few galaxies, projection, orbits and interlopers of each cluster."
)
_RICHNESS = ((5, 15), (15, 50), (50, 10_000))
_HEADER = ("mocks", "clusters", "mean [dex]", "scatter [dex]", "mean, 14 to 15", "scatter, 14 to 15",
           *(f"in {level:.0%} [%]" for level in LEVELS), "unlike any mock [%]")  # fmt: skip


def sections(estimator: MassEstimator, n: int) -> list[Section]:
    """Section of the card with everything that is measured.

    Args:
        estimator: Estimator with an alarm.
        n: Number of mocks, before the richness cut; four times as many of the mass function.
    """
    mocks, abundant = drawn(n, _SEED), drawn(4 * n, _SEED + 10, _FUNCTION)
    found = estimator.posterior(mocks)
    unlike = _alarm(estimator).p_value(estimator.network, mocks, found) <= RATE
    rows = [_row("as trained on", mocks, found, unlike)]
    rows += [_row(name, mocks.select(part), found[part], unlike[part]) for name, part in _parts(mocks)]
    theirs = estimator.posterior(abundant)
    fires = _alarm(estimator).p_value(estimator.network, abundant, theirs) <= RATE
    rows.append(_row("masses of the mass function", abundant, reweighted(theirs, _FUNCTION), fires))
    tables = [Table("On fresh mocks", _HEADER, tuple(rows), _NOTE), _budget(mocks, found), table(estimator, mocks)]
    return [Section("How good it is", tables=tables)]


def in_words(budget: Table) -> str:
    """The table of what an error is made of as a sentence for `--explain`."""
    rows = [dict(zip(budget.header, row, strict=True)) for row in budget.rows]
    parts = (
        f"with {row['galaxies']} galaxies {row['scatter']} dex, of which noise {row['noise']}, not knowing galaxies "
        f"{row['physics of galaxies']}, not knowing the survey {row['survey']}"
        for row in rows
    )
    return f"scatter between 10^14 and 10^15, parts in quadrature: {'; '.join(parts)}"


def _budget(mocks: Catalogue, posteriors: MassPosteriors) -> Table:
    """Table of what the width of a posterior is made of, for clusters of 10^14 to 10^15."""
    off, n, rows = posteriors.mean - mocks.log10_mass, mocks.n_galaxies, []
    middle = (mocks.log10_mass >= _MIDDLE[0]) & (mocks.log10_mass < _MIDDLE[1])
    for fewest, most in _RICHNESS:
        some = middle & (n >= fewest) & (n < most)
        parts = [_explained(mocks.select(some), off[some], tuple(prior.laws)) for prior in (PHYSICS, SURVEYS)]
        noise = np.sqrt(max(np.var(off[some]) - sum(part**2 for part in parts), 0.0))
        galaxies = f"{fewest} to {most - 1}" if most < 10_000 else f"{fewest} or more"
        widths = (posteriors.std[some].mean(), off[some].std(), noise, *parts)
        rows.append((galaxies, str(some.sum()), *(f"{width:.3f}" for width in widths)))
    header = ("galaxies", "clusters", "stated width [dex]", "scatter", "noise", "physics of galaxies", "survey")
    return Table("What the error of a mass is made of, 10^14 to 10^15", header, tuple(rows), _BUDGET_NOTE)


def _explained(mocks: Catalogue, off: np.ndarray, names: tuple[str, ...]) -> float:
    """Standard deviation of residuals [dex] that hidden draws explain, judged on other surveys."""
    draws = np.stack([np.asarray(mocks.column(name), float) for name in names], 1)
    model = make_pipeline(StandardScaler(), PolynomialFeatures(2), StandardScaler(), RidgeCV(np.logspace(0, 5, 11)))
    folds = GroupKFold(10)
    found = cross_val_predict(model, draws, off, cv=folds, groups=mocks.column(DRAW))
    return float(np.sqrt(max(np.var(off) - np.var(off - found), 0.0)))


def _parts(mocks: Catalogue) -> Iterator[tuple[str, np.ndarray]]:
    """Names and rows of parts of the mocks: thirds by a quantity, and cleaned ones, stated or not."""
    for name, values in _THIRDS.items():
        order = np.argsort(values(mocks), kind="stable")
        for third in np.array_split(order, 3):
            some = values(mocks)[third]
            yield f"{name}: {some.min():.3g} to {some.max():.3g}", third
    cleaned, stated = mocks.column("cleaning") != "none", mocks.column("stated")
    yield "interlopers kept", np.flatnonzero(~cleaned)
    yield "interlopers removed, as stated", np.flatnonzero(cleaned & stated)
    yield "interlopers removed, unsaid", np.flatnonzero(cleaned & ~stated)


def _row(name: str, mocks: Catalogue, posteriors: MassPosteriors, unlike: np.ndarray) -> tuple[str, ...]:
    truth, survey = mocks.log10_mass, mocks.column(DRAW)
    middle = (truth >= _MIDDLE[0]) & (truth < _MIDDLE[1])
    level = central_level(posteriors, truth)
    scatter = [residuals(posteriors.mean[some], truth[some])[1] for some in (..., middle)]
    off = posteriors.mean - truth
    means = [mean_of(off[some], survey[some]) for some in (..., middle)]
    shares = [mean_of((level <= each).astype(float), survey).percent for each in LEVELS]
    found = (means[0], scatter[0], means[1], scatter[1])
    return (
        name,
        str(len(mocks)),
        *map(str, found),
        *(f"{s:.1f}" for s in shares),
        f"{mean_of(unlike * 1.0).percent:.1f}",
    )


def _alarm(estimator: MassEstimator) -> Alarm:
    if estimator.alarm is None:
        raise ValueError("the estimator has no alarm.")
    return estimator.alarm


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="Folder or URL of an estimator; the shipped one by default.")
    parser.add_argument("--n", type=int, default=30_000, help="Mocks, before the richness cut.")
    chosen = parser.parse_args()
    for section in sections(MassEstimator.load(resolve_model(chosen.model), device="cpu"), chosen.n):
        for each in section.tables:
            Console(width=220).print(each.rich())

"""Accuracy of the shipped estimator: on mocks like its training set, on parts of its surveys, and on others.

`python benchmarks/shipped.py [--model FOLDER]` prints the table of its card (a few minutes of one core).
Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import argparse
import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from mocks_to_ship import FLAT, OBSERVATION, SURVEYS, drawn
from rich.console import Console

from clustermocks import Catalogue, HaloMassFunction, SurveyPrior
from sbi_clustermass.diagnostics import Measured, coverages, mean_of, residuals
from sbi_clustermass.diagnostics.test_sets import reweighted
from sbi_clustermass.estimator.hub import resolve_model
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.misspecification.alarm import Alarm
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.report import Section, Table

RATE = 0.01
_SEED = 9001  # no training set's
_FUNCTION = HaloMassFunction(low=FLAT.low, high=FLAT.high)
_MIDDLE = (14.0, 15.0)
_PARTS = {
    "field of 1.6 h^-1 Mpc": {"aperture": 1.6},
    "fields of .3 to .6 h^-1 Mpc": {"aperture": (0.3, 0.6)},
    "completeness falls outwards": {"radial_slope": (-1.0, -0.5)},
    "completeness rises outwards": {"radial_slope": (0.5, 1.0)},
    "interlopers kept": {"cleaned": 0},
    "interlopers removed": {"cleaned": 1},
    "few galaxies per volume": {"tracer_density": (0.0007, 0.004)},
    "many galaxies per volume": {"tracer_density": (0.02, 0.1)},
}
_REDSHIFTS = (0.03, 0.25, 0.5)
_MASSES_NOTE = (
    "Residuals are log10(M_inferred / M_true), scatter their standard deviation, point estimates the posterior means. "
    "Error bars are promised to be correct in the first two rows, which are drawn from the prior under which masses "
    "are inferred. The next rows are parts of the surveys that the mocks stand for: the part is no input of the "
    "network, so that its errors are wider or narrower than they could be. Rows of other redshifts "
    "show the effect of a wrong model. Unlike any mock: share on which the alarm fires at "
    f"{RATE:.0%}."
)
_HEADER = ("mocks", "clusters", "mean [dex]", "scatter [dex]", "mean, 14 to 15", "scatter, 14 to 15", "in 68 % [%]",
           "in 95 % [%]", "unlike any mock [%]")  # fmt: skip


def sections(estimator: MassEstimator, n: int) -> list[Section]:
    """Section of the card with everything that is measured.

    Args:
        estimator: Estimator with an alarm.
        n: Number of mocks of each kind, before the richness cut.
    """
    return [Section("How good it is", tables=[_masses(estimator, n)])]


def _masses(estimator: MassEstimator, n: int) -> Table:
    rows = []
    for name, mocks, under in _kinds(n):
        posteriors = estimator.posterior(mocks)
        unlike = _alarm(estimator).p_value(estimator.network, mocks, posteriors) <= RATE
        posteriors = posteriors if under is None else reweighted(posteriors, under)
        rows.append((name, str(len(mocks)), *_scores(posteriors, mocks.log10_mass), _percent(mean_of(unlike * 1.0))))
    return Table("On fresh mocks", _HEADER, tuple(rows), _MASSES_NOTE)


def _kinds(n: int) -> Iterator[tuple[str, Catalogue, HaloMassFunction | None]]:
    """Mocks by name, and the prior under which their masses are inferred, if it is not that of the estimator."""
    yield "as trained on", drawn(n, _SEED), None
    yield "masses of the mass function", drawn(4 * n, _SEED + 10, _FUNCTION), _FUNCTION
    for number, (name, part) in enumerate(_PARTS.items()):
        yield name, drawn(n, _SEED + 20 + number, surveys=SURVEYS.narrowed(**part)), None
    for redshift in _REDSHIFTS:
        there = SurveyPrior().narrowed(redshift=redshift, v_cut=OBSERVATION.v_cut, aperture=SURVEYS.aperture)
        yield f"redshift {redshift:g}", drawn(n, _SEED + 40, surveys=there), None


def _scores(posteriors: MassPosteriors, truth: np.ndarray) -> tuple[str, ...]:
    middle = (truth >= _MIDDLE[0]) & (truth < _MIDDLE[1])
    found = (*residuals(posteriors.mean, truth), *residuals(posteriors.mean[middle], truth[middle]))
    shares = [each.central for each in coverages(posteriors, truth, (0.68, 0.95))]
    return (*map(str, found), *map(_percent, shares))


def _alarm(estimator: MassEstimator) -> Alarm:
    if estimator.alarm is None:
        raise ValueError("the estimator has no alarm.")
    return estimator.alarm


def _percent(share: Measured) -> str:
    return f"{share.percent:.1f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="Folder or URL of an estimator; the shipped one by default.")
    parser.add_argument("--n", type=int, default=6000, help="Mocks of each kind, before the richness cut.")
    chosen = parser.parse_args()
    for section in sections(MassEstimator.load(resolve_model(chosen.model), device="cpu"), chosen.n):
        for each in section.tables:
            Console(width=190).print(each.rich())

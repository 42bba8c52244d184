"""Accuracy of the shipped estimator: on mocks like its training set, on others, and on tables that were treated.

`python benchmarks/shipped.py [--model FOLDER]` prints the tables of its card (a few minutes of one core).
Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from mocks_to_ship import FLAT, MODEL, REACH, denser, drawn, prepared
from rich.console import Console

from clustermocks import Catalogue, HaloMassFunction, HaloModel
from clustermocks.perturbations import cleaned, thinned
from sbi_clustermass.diagnostics import Measured, coverages, mean_of, residuals
from sbi_clustermass.diagnostics.test_sets import reweighted
from sbi_clustermass.estimator.hub import resolve_model
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.misspecification.alarm import Alarm
from sbi_clustermass.estimator.misspecification.preprocessing_checks import RATES
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.report import Section, Table

RATE = 0.01
_SEED = 9001  # no training set's
_FUNCTION = HaloMassFunction(low=FLAT.low, high=FLAT.high)
_MIDDLE = (14.0, 15.0)
_MASSES_NOTE = (
    "Residuals are log10(M_inferred / M_true), scatter their standard deviation, point estimates the posterior means. "
    "Error bars are promised to be correct in the first two rows, which are drawn from the prior under which masses "
    "are inferred; the other rows show the effect of a wrong model. Unlike any mock: share on which the alarm fires at "
    f"{RATE:.0%}."
)
_HEADER = ("mocks", "clusters", "mean [dex]", "scatter [dex]", "mean, 14 to 15", "scatter, 14 to 15", "in 68 % [%]",
           "in 95 % [%]", "unlike any mock [%]")  # fmt: skip
_PREPARED_HEADER = ("treatment", "clusters", "sparse [%]", "cleaned [%]", "cut [%]", "mean residual [dex]")
_PREPARED_NOTE = (
    f"Share of clusters on which each check warns. Its rate is set to {RATES[0]:.0%} of complete mocks for the first "
    f"check, and to {RATES[1]:.0%} of mocks as trained on for the others. Rows below the second are for masses above "
    "10^14. Sparse: bright galaxies only, or redshifts for some; cleaned: too few galaxies faster than twice the "
    f"dispersion; cut: too few beyond the velocity cut, in tables that reach to {REACH:.0f} km/s. The last column is "
    "the effect on the mass."
)


def sections(estimator: MassEstimator, n: int) -> list[Section]:
    """Section of the card with everything that is measured.

    Args:
        estimator: Estimator with an alarm that has learnt how tables are prepared.
        n: Number of mocks of each kind.
    """
    return [Section("How good it is", tables=[_masses(estimator, n), _prepared(estimator, n)])]


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
    yield "masses of the mass function", drawn(2 * n, _SEED + 10, _FUNCTION), _FUNCTION
    yield "all galaxies have velocities", _flat(MODEL, n, 20), None
    for factor in (3.0, 5.0):
        yield f"{factor:g} times the galaxies, all with velocities", _flat(denser(factor, MODEL), n, 30), None
    for redshift in (0.03, 0.25):
        there = replace(MODEL, observation=replace(MODEL.observation, redshift=redshift))
        yield f"redshift {redshift:g}", drawn(n, _SEED + 40, plain=there), None


def _flat(model: HaloModel, n: int, seed: int) -> Catalogue:
    return model.simulate(FLAT.draw(n, _SEED + seed), seed=_SEED + seed)


def _scores(posteriors: MassPosteriors, truth: np.ndarray) -> tuple[str, ...]:
    middle = (truth >= _MIDDLE[0]) & (truth < _MIDDLE[1])
    found = (*residuals(posteriors.mean, truth), *residuals(posteriors.mean[middle], truth[middle]))
    shares = [each.central for each in coverages(posteriors, truth, (0.68, 0.95))]
    return (*map(str, found), *map(_percent, shares))


def _prepared(estimator: MassEstimator, n: int) -> Table:
    complete, observed = prepared(n, _SEED + 60)
    cases: dict[str, Callable[[], Catalogue]] = {
        "nothing; all galaxies have velocities": lambda: complete,
        "nothing; as trained on": lambda: observed,
        "half of the galaxies": lambda: thinned(_massive(complete), 0.5, 1),
        "a third of the galaxies": lambda: thinned(_massive(complete), 1 / 3, 1),
        "a fifth of the galaxies": lambda: thinned(_massive(complete), 0.2, 1),
        "cleaned, 3-sigma clipping": lambda: cleaned(_massive(complete), "clipping"),
        "cleaned, caustic": lambda: cleaned(_massive(complete), "caustics"),
    }
    rows = tuple((name, *_flags(estimator, make())) for name, make in cases.items())
    return Table("Earlier treatment of a table", _PREPARED_HEADER, rows, _PREPARED_NOTE)


def _massive(mocks: Catalogue) -> Catalogue:
    """Select masses above 10^14: 1500 clusters at most, since caustics take long."""
    return mocks.select(np.flatnonzero(mocks.log10_mass > 14)[:1500])


def _flags(estimator: MassEstimator, mocks: Catalogue) -> tuple[str, ...]:
    posteriors = estimator.posterior(mocks)
    preparation = _alarm(estimator).preprocessing_checks
    if preparation is None:
        raise ValueError("the estimator does not know how tables are prepared: make it by benchmarks/ship.py.")
    p_values = preparation.p_values(mocks, posteriors)
    shares = [
        _percent(mean_of((each <= rate) * 1.0)) if np.isfinite(each).all() else ""
        for each, rate in zip(p_values, RATES, strict=True)
    ]
    return str(len(mocks)), *shares, str(mean_of(posteriors.mean - mocks.log10_mass))


def _alarm(estimator: MassEstimator) -> Alarm:
    if estimator.alarm is None:
        raise ValueError("the estimator has no alarm.")
    return estimator.alarm


def _percent(share: Measured) -> str:
    return f"{share.percent:.1f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="Folder or URL of an estimator; the shipped one by default.")
    parser.add_argument("--n", type=int, default=2000, help="Mocks of each kind.")
    chosen = parser.parse_args()
    for section in sections(MassEstimator.load(resolve_model(chosen.model), device="cpu"), chosen.n):
        for each in section.tables:
            Console(width=190).print(each.rich())

"""Coverage and log scores of trained flows before and after recalibration.

    python benchmarks/recalibration.py [ho2019] [realistic] [--seed 1] [--out runs/validation]

The estimators are those that validation.py trained, from its --out. The map is fitted to 6000 held-out clusters, flat
in log10 mass as the training set, and applied to the 20 000 test clusters before they are reweighted to their own
prior, the mass function, for which calibration is promised.
"""

import argparse
from pathlib import Path

from validation import BEST, PAPER, SETTINGS, Sets, some

from clustermocks import HaloMassFunction
from sbi_clustermass import MassEstimator, MassPosteriors
from sbi_clustermass.diagnostics import HeldOut, coverages, log_score
from sbi_clustermass.posterior import Recalibration
from sbi_clustermass.report import Table

NAMES = (PAPER, f"{PAPER}(.15)", "nsf+deep_sets", BEST, f"{BEST}, three networks")
VALIDATION_SET = 6000


def row(name: str, clusters: HeldOut) -> tuple[str, ...]:
    """Coverage at each level [%] and the log score [nats]."""
    given = clusters.posteriors, clusters.log10_mass
    return (name, *(f"{each.central.percent:.1f}" for each in coverages(*given)), str(log_score(*given)))


def table(sets: Sets) -> Table:
    """Two rows an estimator: as trained, and recalibrated."""
    setting, test_set = sets.setting, sets.test_set()
    validation_set = some(sets.flat(3, 12_000), VALIDATION_SET)
    masses, rows = HaloMassFunction(low=setting.low, high=setting.high), []
    for name in NAMES:
        estimator = MassEstimator.load(sets.folder / name)
        found = Recalibration.fit(estimator.posterior(validation_set), validation_set.log10_mass)
        before = estimator.posterior(test_set)

        def under(posteriors: MassPosteriors) -> HeldOut:
            return HeldOut.from_catalogue(posteriors, test_set, drawn_from_prior=False).under(masses)

        rows += [row(name, under(before)), row(f"{name}, recalibrated", under(found.apply(before)))]
        print(f"{name}: {found}", flush=True)
    header = ("", "50 %", "68 %", "90 %", "95 %", "99 %", "log q [nats]")
    return Table(
        "Recalibration", header, tuple(rows), f"{len(validation_set)} clusters to fit, {len(test_set)} to test"
    )


def main() -> None:
    """Print a table for each setting."""
    parser = argparse.ArgumentParser(description="Coverage before and after recalibration.")
    parser.add_argument("settings", nargs="*", default=[*SETTINGS], help=", ".join(SETTINGS))
    parser.add_argument("--seed", type=int, default=1, help="of clusters, as validation.py was given it")
    parser.add_argument("--out", type=Path, default=Path("runs/validation"), help="where validation.py wrote")
    given = parser.parse_args()
    for name in given.settings:
        sets = Sets(SETTINGS[name], given.out / name, given.seed, 1)
        print(f"\n{name}\n{table(sets).markdown()}", flush=True)


if __name__ == "__main__":
    main()

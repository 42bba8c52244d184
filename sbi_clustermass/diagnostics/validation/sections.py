"""Sections of the report on a validation.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from clustermocks import Catalogue, HaloModel
from sbi_clustermass.diagnostics.calibration_plots import calibration_pictures
from sbi_clustermass.diagnostics.calibration_tables import calibration_tables
from sbi_clustermass.diagnostics.test_sets import HeldOut, Mark, MassDistribution
from sbi_clustermass.diagnostics.validation.evaluate import Result
from sbi_clustermass.diagnostics.validation.table import validation_table
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.report import Picture, Section

if TYPE_CHECKING:
    from sbi_clustermass.diagnostics.false_alarms import AlarmRates
    from sbi_clustermass.diagnostics.robustness import Change

_ALARM_RATE = 0.01
_POSITIONS_AND_NUMBERS = (
    "`aperture` sees projected distances only, `richness` the number of galaxies only. A method that sees velocities "
    "but scatters hardly less than these two may not use the velocities: members of a pure sample end at the virial "
    "radius, and mocks are more complete than any survey."
)


def rivals_section(results: Sequence[Result], *, test_set: Catalogue) -> Section:
    """Build the section with the table of all methods."""
    title = f"{len(test_set)} test clusters of {test_set.observation.min_galaxies} galaxies or more"
    return Section(
        "Flows and their rivals, on the same clusters",
        text=(_POSITIONS_AND_NUMBERS,),
        tables=(validation_table(results, title=title),),
    )


def calibration_section(
    name: str, posteriors: MassPosteriors, test_set: Catalogue, *, masses: MassDistribution | None = None
) -> Section:
    """Build the section on an estimator's calibration: tables and pictures, with marks if calibration is promised.

    Args:
        name: Name of the estimator.
        posteriors: Posteriors of the test clusters under the training prior.
        test_set: Test clusters.
        masses: Distribution from which their masses were drawn; None if it is that of the training masses.
    """
    own = HeldOut.from_catalogue(posteriors, test_set, drawn_from_prior=masses is None)
    if masses is None:
        return _calibration(name, own, calibration_tables(own))
    plain = calibration_tables(own, title="published protocol (training prior on this test set)")[:2]
    held_out = own.under(masses)
    return _calibration(name, held_out, (*calibration_tables(held_out, title="under the test set's prior"), *plain))


def _calibration(name: str, clusters: HeldOut, tables: Sequence) -> Section:
    pictures = calibration_pictures(clusters, name=_file_name(name))
    failed = [row[0] for row in tables[0].rows if str(Mark.FAILS) in row]  # of coverage, if marked
    warnings = (f"Coverage fails at {', '.join(failed)} %: the error bars of {name} are not true.",) if failed else ()
    title = f"Are the error bars of {name} true?"
    return Section(title, warnings=warnings, tables=tables, pictures=pictures)


def trust_section(
    name: str, estimator: MassEstimator, held_out: Catalogue, *, seed: int = 1, model: HaloModel | None = None
) -> Section:
    """Build the section on trust: what the alarm fires on, and how masses change with the data and with the mocks.

    Args:
        name: Name of the estimator.
        estimator: A trained estimator.
        held_out: Mocks drawn like its training set, but not in it: the alarm is fitted to two thirds and tested on the
            rest. At least 1500; a few thousand to measure a rate of 1 %.
        seed: Seed of the split and of the changes.
        model: Model of the mocks, to be changed; None omits the changes that need new mocks.
    """
    from sbi_clustermass.diagnostics.false_alarms import alarm_rates
    from sbi_clustermass.diagnostics.robustness import robustness, robustness_table, simulator_robustness
    from sbi_clustermass.estimator.misspecification.alarm import Alarm

    known, tested = held_out.split(2 / 3, seed=seed)
    alarm = Alarm.fit(estimator.network, estimator.posterior, known, seed=seed)
    changes = robustness(estimator, tested, seed=seed)
    if model is not None:
        changes = (*changes, *simulator_robustness(estimator, tested.log10_mass, model=model, seed=seed))
    rates = alarm_rates(alarm, estimator, tested, rate=_ALARM_RATE, seed=seed)
    return Section(
        f"When not to trust {name}",
        tables=(rates.table(), robustness_table(changes)),
        pictures=_trust_pictures(_file_name(name), rates, changes),
    )


def _trust_pictures(name: str, rates: "AlarmRates", changes: Sequence["Change"]) -> tuple[Picture, ...]:
    from sbi_clustermass.diagnostics import misspecification_plots as plots
    from sbi_clustermass.diagnostics.robustness import FAMILIES

    data = {family.name for family in FAMILIES}
    origins = {
        ("robustness", "the data"): [each for each in changes if each.family in data],
        ("simulators", "the simulator"): [each for each in changes if each.family not in data],
    }
    return (
        Picture(
            f"alarms-{name}",
            plots.alarms(rates),
            "Share of clusters on which the alarm and each of its tests fire, for each way to spoil the data.",
            f"At a false-alarm rate of {_ALARM_RATE:.0%} on unspoilt mocks, in the first row.",
        ),
        *(
            Picture(
                f"{what}-{name}",
                plots.robustness(some),
                f"Shift of the posterior mean and ratio of widths, against the size of each change of {of}.",
                "The same clusters before and after.",
            )
            for (what, of), some in origins.items()
            if some
        ),
    )


def inside(clusters: Catalogue, support: tuple[float, float]) -> Catalogue:
    """Select clusters with masses inside a support; posteriors are undefined for others."""
    masses = clusters.log10_mass
    if not np.isfinite(masses).all():
        raise ValueError("the test set holds clusters of unknown mass; validation needs known ones.")
    kept = clusters.select((masses >= support[0]) & (masses <= support[1]))
    if not len(kept):
        raise ValueError(f"no test cluster has a mass between {support[0]} and {support[1]}, the estimator's support.")
    return kept


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_+-." else "_" for letter in name)

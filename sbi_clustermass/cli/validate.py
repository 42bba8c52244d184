"""`clustermass validate`: parse, call the functions of `validation`, print."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sbi_clustermass.cli.options import Device, FilePath, Flat, Seed, names
from sbi_clustermass.cli.printing import Printing

if TYPE_CHECKING:
    from clustermocks import Catalogue
    from sbi_clustermass.baselines import Baseline
    from sbi_clustermass.diagnostics.test_sets import MassDistribution

_DRAWN = {"training": "as the training masses", "mass-function": "from the mass function"}


def validate(
    *models: Annotated[FilePath, Parameter(required=True)],
    test: FilePath,
    out: FilePath,
    drawn: str = "training",
    mocks: FilePath | None = None,
    baselines: str = "all",
    held_out: FilePath | None = None,
    seed: Seed = 1,
    device: Device = "auto",
    printing: Annotated[Printing, Flat] = Printing(),
) -> None:
    """Score estimators and their rivals on mock clusters of known mass, and test whether their error bars are true.

    The command prints one table of all methods, and writes all tables and pictures as results.md and for the report.

    Args:
        models: Folders of trained estimators; the word default stands for the one that ships.
        test: Mocks of known mass that no estimator was trained on.
        out: Folder for the results; `clustermass report` shows those in RUN/validation.
        drawn: How the masses of the test were drawn: training (as those of the training set) or mass-function (Tinker
            et al. 2008). It decides under which prior the error bars should be true.
        mocks: Mocks to which the rivals are fitted; without them only estimators are scored.
        baselines: Rivals: all, or names separated by commas.
        held_out: Mocks drawn like the training set, but not in it. They show which clusters set off the alarm, and how
            robust the masses are.
        printing: How to print.
    """
    from clustermocks import Catalogue
    from clustermocks.io.atomic import replacing
    from clustermocks.io.lock import claimed
    from clustermocks.io.registry import lookup
    from sbi_clustermass.diagnostics.validation import Validation
    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.report import markdown, save_sections

    lookup("way to draw masses", drawn, _DRAWN)
    clusters = Catalogue.from_parquet(test)
    validation = Validation(
        estimators=_named([MassEstimator.load(model, device=device) for model in models], models),
        test_set=clusters,
        masses=_mass_function(clusters) if drawn == "mass-function" else None,
        train_set=None if mocks is None else Catalogue.from_parquet(mocks),
        baselines={} if mocks is None else _rivals(baselines),
        held_out=None if held_out is None else Catalogue.from_parquet(held_out),
        seed=seed,
    )
    with claimed(out):
        sections = validation.sections(announce=lambda what: printing.note(f"{what} ..."))
        sections[0] = replace(sections[0], commands=(join(["clustermass", *sys.argv[1:]]),))
        for table in sections[0].tables:
            printing.table(table.rich())
        save_sections(out, sections)
        with replacing(out / "results.md") as temporary:
            temporary.write_text(markdown(sections), encoding="utf-8")
    text = f"Wrote {out}/: results.md, sections.json and {sum(len(s.pictures) for s in sections)} pictures."
    printing.wrote(out, text=text, tables=[asdict(table) for table in sections[0].tables])


def _named(estimators: list, models: Sequence[Path]) -> dict:
    names = [model.resolve().name for model in models]
    if len(set(names)) < len(names):
        raise ValueError(f"models need different folder names, found {', '.join(names)}.")
    return dict(zip(names, estimators, strict=True))


def _rivals(chosen: str) -> Mapping[str, "Baseline"]:
    from clustermocks.io.registry import lookup
    from sbi_clustermass.baselines import RIVALS

    if chosen == "all":
        return RIVALS
    return {name: lookup("baseline", name, RIVALS) for name in names(chosen)}


def _mass_function(clusters: "Catalogue") -> "MassDistribution":
    """Return the mass function over the range of the attempted masses of the test set."""
    from clustermocks import HaloMassFunction
    from sbi_clustermass.training.training_set import attempted_range

    low, high = attempted_range(clusters)
    return HaloMassFunction(low=low, high=high, redshift=clusters.observation.redshift, cosmology=clusters.cosmology)

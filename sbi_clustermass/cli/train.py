"""`clustermass train`: parse, call `run_training` or `train_for`, print."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from sbi_clustermass.cli.interruption import continuing
from sbi_clustermass.cli.options import FilePath, Flat, Jobs
from sbi_clustermass.cli.printing import Printing
from sbi_clustermass.cli.progress import console_stage
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.observations.tables.options import TableOptions

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.tailored import Choices

_N = 40_000


def train(
    mocks: FilePath | None = None,
    /,
    *,
    out: FilePath | None = None,
    options: Annotated[TrainingOptions, Flat] = TrainingOptions(),
    checkpoint: FilePath | None = None,
    data: Annotated[list[FilePath] | None, Parameter(name="--for")] = None,
    dry_run: bool = False,
    n: Annotated[int, Parameter(validator=Number(gte=1000))] = _N,
    n_jobs: Jobs = 2,
    table: Annotated[TableOptions, Flat] = TableOptions(),
    printing: Annotated[Printing, Flat] = Printing(),
) -> None:
    """Train a flow on mock clusters until its loss on held-out mocks no longer improves.

    The mocks are a catalogue (`clustermass train mocks.parquet --out runs/mine`; a folder may be larger than memory),
    or they are made for the clusters of a table (`clustermass train --for galaxies.csv --out runs/mine`). In the second
    case the command examines redshifts, fields and velocity errors, says which mocks it chooses and why, simulates them
    and trains. The same command continues an interrupted training and leaves a finished one as it is.

    Args:
        mocks: Catalogue that `clustermass simulate` wrote, a file or a folder; not with --for.
        out: Folder for the trained estimator.
        options: Settings of the training.
        checkpoint: Folder for the training's state; by default in OUT.
        data: Table of galaxies, one cluster or many, for which to simulate mocks and train; may be repeated. All
            options below are for such tables.
        dry_run: Whether to print what would be chosen, and stop.
        n: Number of mocks to simulate.
        table: Facts about the tables.
        printing: How to print.
    """
    _check(mocks, data, {"dry_run": dry_run, "n": n != _N}, table)
    if not data:
        _train_on(mocks, out, options, checkpoint, printing)
        return
    choices = _chosen(data, table, options, n, printing.text if dry_run else printing.note)
    if dry_run:
        printing.facts({"wrote": [], "chosen": {choice.what: choice.value for choice in choices.because}})
    else:
        _train_for(choices, _folder(out), options, printing, n_jobs=n_jobs, checkpoint=checkpoint)


def _check(mocks: Path | None, data: list[Path] | None, given: dict[str, object], table: TableOptions) -> None:
    """Refuse mocks together with --for, and options of --for without it."""
    if data and mocks is not None:
        raise ValueError(f"train takes mocks or --for, not both: {mocks} and {data[0]}.")
    default = TableOptions()
    named = [name for name, value in given.items() if value]
    named += [each.name for each in fields(table) if getattr(table, each.name) != getattr(default, each.name)]
    if named and not data:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in named).replace("--columns", "--column")
        raise ValueError(
            f"train: without --for TABLE there is nothing that {options} could change.\n"
            "  try:    leave that out, or give the table of galaxies by --for"
        )


def _train_on(
    mocks: Path | None, out: Path | None, options: TrainingOptions, checkpoint: Path | None, printing: Printing
) -> None:
    from sbi_clustermass.estimator.finished import training_identity
    from sbi_clustermass.estimator.training_run import run_training

    if mocks is None:
        raise ValueError("train needs mocks (from `clustermass simulate`), or --for TABLE, which simulates its own.")
    folder = _folder(out)
    if _finished(folder, lambda: training_identity(options, mocks), printing):
        return
    with continuing(f"The same command goes on with the training in {folder}/."):
        estimator = run_training(options, mocks, folder, console_stage(printing.notes), checkpoint=checkpoint)
    _print_result(estimator, folder, printing)


def _finished(out: Path, identity: Callable[[], dict[str, str]], printing: Printing) -> bool:
    """Say so if the folder holds this training, finished."""
    from sbi_clustermass.estimator.finished import RECORD, finished_training

    estimator = finished_training(out, identity(), device="cpu") if (out / RECORD).is_file() else None
    if estimator is not None:
        what = f"{out}/ already holds the estimator that this command trains: nothing was done."
        printing.text(f"{what} To train anew, give another --out.")
        printing.facts({"wrote": [], "estimator": out, **_losses(estimator)})
    return estimator is not None


def _chosen(
    data: list[Path], table: TableOptions, options: TrainingOptions, n: int, say: Callable[[str], None]
) -> "Choices":
    """Measure the tables, choose settings, and print them with their reasons."""
    from sbi_clustermass.tailored import choose, measure_tables

    survey = measure_tables(data, table, min_galaxies=options.min_galaxies)
    choices = choose(survey, options, n=n)
    say(f"An estimator for {', '.join(path.name for path in data)}")
    for what, value, why in choices.because:
        say(f"  {what:<21}{value}: {why}")
    for warning in choices.cautions:
        say(f"  {'warning':<21}{warning}")
    return choices


def _train_for(
    choices: "Choices", out: Path, options: TrainingOptions, printing: Printing, *, n_jobs: int, checkpoint: Path | None
) -> None:
    from sbi_clustermass.tailored import train_for
    from sbi_clustermass.tailored.run import tailored_identity

    if _finished(out, lambda: tailored_identity(choices, options), printing):
        return
    stage = console_stage(printing.notes)
    with continuing(f"The same command goes on with {out}/."):
        estimator = train_for(choices, out, stage, options=options, n_jobs=n_jobs, checkpoint=checkpoint)
    _print_result(estimator, out, printing)
    printing.text(f"What was chosen and why: {out / 'choices.md'}; the mocks: {out / 'mocks'}/.")


def _folder(out: Path | None) -> Path:
    if out is None:
        raise ValueError("train needs a folder for the estimator: --out runs/mine, say.")
    return out


def _losses(estimator: "MassEstimator") -> dict[str, float]:
    record = estimator.history
    best = {"best_update": record.best_update, "validation_loss": min(record.validation_loss)}
    return {"updates": record.updates[-1], **best}


def _print_result(estimator: "MassEstimator", out: Path, printing: Printing) -> None:
    from sbi_clustermass.estimator.training_run import HISTORY, PICTURE

    found = _losses(estimator)
    best = f"best of {found['updates']} weight updates at {found['best_update']}"
    text = f"Wrote {out}/: {best}, validation loss {found['validation_loss']:.4f}."
    text = f"{text}\nIts history: {out / HISTORY}, {out / PICTURE}."
    printing.wrote(out, text=text, estimator=out, **found)

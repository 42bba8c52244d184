"""`clustermass train`: parse, call `run_training` or `train_for`, print."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from sbi_clustermass.cli.options import FilePath, Flat, Jobs
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
) -> None:
    """Train a flow on mock clusters, until it gets no better on some that are held back.

    Either on a catalogue of mocks (`clustermass train mocks.parquet --out runs/mine`; a folder may be larger than
    memory), or for the clusters of a table (`clustermass train --for galaxies.csv --out runs/mine`): it then looks at
    their redshifts, fields and velocity errors, says to what it narrows the mocks and why, simulates and trains. The
    same command goes on with an interrupted one.

    Args:
        mocks: Catalogue from `clustermass simulate`, file or folder; not with --for.
        out: Folder for the trained estimator.
        options: Settings of the training.
        checkpoint: Folder for the training's state; by default in OUT.
        data: Table of galaxies, one cluster or many, for which to simulate mocks and train; may be repeated. All
            options below are for such tables.
        dry_run: Whether to say what would be chosen, and stop.
        n: Mocks to simulate.
        table: Facts about the tables.
    """
    _check(mocks, data, {"dry_run": dry_run, "n": n != _N}, table)
    console = Console()
    if not data:
        _train_on(mocks, out, options, checkpoint, console)
        return
    choices = _chosen(data, table, options, n)
    if not dry_run:
        _train_for(choices, _folder(out), options, console, n_jobs=n_jobs, checkpoint=checkpoint)


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
    mocks: Path | None, out: Path | None, options: TrainingOptions, checkpoint: Path | None, console: Console
) -> None:
    from sbi_clustermass.estimator.training_run import run_training

    if mocks is None:
        raise ValueError("train needs mocks (from `clustermass simulate`), or --for TABLE, which simulates its own.")
    folder = _folder(out)
    _print_result(run_training(options, mocks, folder, console_stage(console), checkpoint=checkpoint), folder, console)


def _chosen(data: list[Path], table: TableOptions, options: TrainingOptions, n: int) -> "Choices":
    """Measure the tables, choose settings, and print them with their reasons."""
    from sbi_clustermass.tailored import choose, measure_tables

    survey = measure_tables(data, table, min_galaxies=options.min_galaxies)
    choices = choose(survey, options, n=n)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"An estimator for {', '.join(path.name for path in data)}", markup=False)
    for what, value, why in choices.because:
        console.print(f"  {what:<21}{value}: {why}", markup=False)
    for warning in choices.cautions:
        console.print(f"  {'warning':<21}{warning}", markup=False)
    return choices


def _train_for(
    choices: "Choices", out: Path, options: TrainingOptions, console: Console, *, n_jobs: int, checkpoint: Path | None
) -> None:
    from sbi_clustermass.tailored import train_for

    stage = console_stage(console)
    estimator = train_for(choices, out, stage, options=options, n_jobs=n_jobs, checkpoint=checkpoint)
    _print_result(estimator, out, console)
    console.print(f"What was chosen and why: {out / 'choices.md'}; the mocks: {out / 'mocks'}/.", soft_wrap=True)


def _folder(out: Path | None) -> Path:
    if out is None:
        raise ValueError("train needs a folder for the estimator: --out runs/mine, say.")
    return out


def _print_result(estimator: "MassEstimator", out: Path, console: Console) -> None:
    from sbi_clustermass.estimator.training_run import HISTORY, PICTURE

    record = estimator.history
    found = f"best of {record.updates[-1]} weight updates at {record.best_update}"
    console.print(f"Wrote {out}/: {found}, validation loss {min(record.validation_loss):.4f}.", soft_wrap=True)
    console.print(f"Its history: {out / HISTORY}, {out / PICTURE}.", soft_wrap=True)

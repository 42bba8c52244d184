"""`clustermass train`: parse, call `run_training` or `train_for`, print."""

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from sbi_clustermass.cli.options import Flat, Jobs
from sbi_clustermass.cli.progress import console_stage
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.observations.tables.options import TableOptions

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.report import Section
    from sbi_clustermass.tailored import Choices, Wishes

_N = 40_000


def train(
    mocks: Path | None = None,
    /,
    *,
    out: Path | None = None,
    options: Annotated[TrainingOptions, Flat] = TrainingOptions(),
    checkpoint: Path | None = None,
    data: Annotated[list[Path] | None, Parameter(name="--for")] = None,
    dry_run: bool = False,
    n: Annotated[int, Parameter(validator=Number(gte=1000))] = _N,
    fibre_collision: Annotated[float, Parameter(validator=Number(gte=0))] = 0.0,
    n_jobs: Jobs = 2,
    table: Annotated[TableOptions, Flat] = TableOptions(),
) -> None:
    """Train a flow on mock clusters, until it gets no better on some that are held back.

    Either on a catalogue of mocks (`clustermass train mocks.parquet --out runs/mine`; a folder may be larger than
    memory), or for the clusters of a table (`clustermass train --for galaxies.csv --out runs/mine`): it then looks at
    their redshifts, fields, numbers of galaxies and velocity errors, says what it chooses and why, simulates and
    trains. The same command goes on with an interrupted one.

    Args:
        mocks: Catalogue from `clustermass simulate`, file or folder; not with --for.
        out: Folder for the trained estimator.
        options: Settings of the training.
        checkpoint: Folder for the training's state; by default in OUT.
        data: Table of galaxies, one cluster or many, for which to simulate mocks and train; may be repeated. All
            options below are for such tables.
        dry_run: Whether to say what would be chosen, and stop.
        n: Mocks to simulate.
        fibre_collision: Least angle between two redshifts [arcsec]; 55 for SDSS.
        table: Facts about the tables.
    """
    _check(mocks, data, {"dry_run": dry_run, "n": n != _N, "fibre_collision": fibre_collision}, table)
    console = Console()
    if not data:
        _train_on(mocks, out, options, checkpoint, console)
        return
    choices, explanation = _chosen(data, table, _wishes(options, n, fibre_collision), options.seed)
    if not dry_run:
        _train_for(choices, explanation, _folder(out), options, console, n_jobs=n_jobs, checkpoint=checkpoint)


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


def _wishes(options: TrainingOptions, n: int, fibre_collision: float) -> "Wishes":
    from sbi_clustermass.tailored import Wishes

    return Wishes(
        n=n,
        richness=options.richness,
        cleaning=options.cleaning,
        fibre_collision=fibre_collision,
        completeness=options.completeness,
        velocity_error=options.velocity_error,
        min_galaxies=options.min_galaxies,
    )


def _train_on(
    mocks: Path | None, out: Path | None, options: TrainingOptions, checkpoint: Path | None, console: Console
) -> None:
    from sbi_clustermass.estimator.training_run import run_training

    if mocks is None:
        raise ValueError("train needs mocks (from `clustermass simulate`), or --for TABLE, which simulates its own.")
    folder = _folder(out)
    _print_result(run_training(options, mocks, folder, console_stage(console), checkpoint=checkpoint), folder, console)


def _chosen(data: list[Path], table: TableOptions, wishes: "Wishes", seed: int) -> tuple["Choices", "Section"]:
    """Measure the tables, choose settings, and print them with their reasons."""
    from sbi_clustermass.tailored import choose, measure_tables, section

    survey = measure_tables(data, table, cleaning=wishes.cleaning, seed=seed)
    choices = choose(survey, wishes)
    explanation = section(survey, choices, ", ".join(path.name for path in data))
    console = Console(highlight=False, soft_wrap=True)
    rows = [f"  {what:<17}{value}: {why}" for what, value, why in choices.because]
    for line in (explanation.tables[0].title, *explanation.text, *rows):
        console.print(line, markup=False)
    for warning in explanation.warnings:
        console.print(f"  {'warning':<17}{warning}", markup=False)
    return choices, explanation


def _train_for(
    choices: "Choices",
    explanation: "Section",
    out: Path,
    options: TrainingOptions,
    console: Console,
    *,
    n_jobs: int,
    checkpoint: Path | None,
) -> None:
    from sbi_clustermass.tailored import train_for

    # the wishes are in the simulated mocks
    options = replace(options, completeness=None, velocity_error=None, min_galaxies=None, cleaning=None)
    estimator = train_for(
        choices,
        out,
        console_stage(console),
        options=options,
        explanation=explanation,
        n_jobs=n_jobs,
        checkpoint=checkpoint,
    )
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

"""`clustermass train`: parse, call one library function, print."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sbi_clustermass.cli.options import DEVICE, JOBS, SEED, table_options
from sbi_clustermass.cli.progress import console_stage

if TYPE_CHECKING:
    from clustermocks.perturbations import Cleaning
    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.estimator.training_run import TrainingRun
    from sbi_clustermass.observations.tables import TableOptions
    from sbi_clustermass.report import Section
    from sbi_clustermass.tailored import Choices, Wishes

FLOWS = (
    "stacked_affine, maf, maf_rqs, nsf, made, mdn, tabulated, zuko_maf, zuko_nice, zuko_nsf, zuko_gf, zuko_sospf, "
    "zuko_naf, zuko_unaf or zuko_bpf"
)  # written out, because importing FLOWS takes seconds; a test compares
EMBEDDINGS = "kde, learned_kde, cnn, deep_sets, attention, summary or trial_masses"
CLEANINGS = "members, clipping or shifting_gapper"
_TABLE = "For --for: as `clustermass infer` has it."
_ONLY_FOR = (
    *("dry_run", "n", "fibre_collision"),
    *("redshift", "centre", "h", "Om", "distance", "column", "id", "clusters", "table"),
)


def train(
    ctx: typer.Context,
    mocks: Annotated[
        Path | None, typer.Argument(help="Catalogue from `clustermass simulate`, file or folder; not with --for.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the trained estimator.")] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--for",
            help="Table of galaxies, one cluster or many, for which to simulate mocks and train; may be repeated.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --for: say what would be chosen, and stop.")] = False,
    n: Annotated[int, typer.Option("--n", help="With --for: mocks to simulate.", min=1000)] = 40_000,
    flow: Annotated[
        str | None, typer.Option(help=f"Density estimator: {FLOWS}. stacked_affine by default, tabulated with --for.")
    ] = None,
    embedding: Annotated[
        str | None,
        typer.Option(help=f"What it sees of the galaxies: {EMBEDDINGS}. kde by default, trial_masses with --for."),
    ] = None,
    richness: Annotated[
        bool,
        typer.Option(help="Whether the number of galaxies counts: only where redshifts are as complete as the mocks'."),
    ] = False,
    members: Annotated[
        int | None, typer.Option(help="Networks to train, as an ensemble: 1 by default, 3 with --for.", min=1)
    ] = None,
    completeness: Annotated[
        float | None,
        typer.Option(
            help="Thin clusters at random, down to this share of galaxies; not at all by default, with --for as the "
            "data tell.",
            min=0,
            max=1,
        ),
    ] = None,
    velocity_error: Annotated[
        float | None,
        typer.Option(
            help="Add velocity errors of up to this [km/s]; 0 by default, with --for as the data tell.", min=0
        ),
    ] = None,
    cleaned: Annotated[
        str | None,
        typer.Option(help=f"Remove interlopers from the mocks, as was done to the data: {CLEANINGS}."),
    ] = None,
    fibre_collision: Annotated[
        float, typer.Option(help="With --for: least angle between two redshifts [arcsec]; 55 for SDSS.", min=0)
    ] = 0.0,
    learning_rate: Annotated[
        float | None, typer.Option(help="Learning rate of Adam; by default what suits the embedding.")
    ] = None,
    patience: Annotated[int | None, typer.Option(help="Updates without a better validation loss.", min=1)] = None,
    max_updates: Annotated[int | None, typer.Option(help="Weight updates at most.", min=1)] = None,
    min_galaxies: Annotated[
        int | None, typer.Option(help="Train on clusters of so many galaxies or more: a survey's own cut.", min=1)
    ] = None,
    pure: Annotated[bool, typer.Option("--pure", help="Train on true members only.")] = False,
    plain_loss: Annotated[
        bool,
        typer.Option("--plain-loss", help="The paper's loss, which ignores where the prior ends: biased near there."),
    ] = False,
    alarm: Annotated[
        int,
        typer.Option(
            help="Mocks kept from the training, a tenth at most, to teach which clusters look like none; 0 for no "
            "such warnings.",
            min=0,
        ),
    ] = 3000,
    recalibrate: Annotated[
        bool,
        typer.Option("--recalibrate", help="Mend the widths of posteriors by the mocks that --alarm keeps."),
    ] = False,
    checkpoint: Annotated[Path | None, typer.Option(help="Folder for the training's state; by default in OUT.")] = None,
    redshift: Annotated[float | None, typer.Option(help=_TABLE)] = None,
    centre: Annotated[str | None, typer.Option(help=_TABLE)] = None,
    h: Annotated[float | None, typer.Option(help=_TABLE)] = None,
    Om: Annotated[float | None, typer.Option("--Om", help=_TABLE)] = None,
    distance: Annotated[str | None, typer.Option(help=_TABLE)] = None,
    column: Annotated[list[str] | None, typer.Option(help=_TABLE)] = None,
    id: Annotated[str | None, typer.Option(help=_TABLE)] = None,
    clusters: Annotated[Path | None, typer.Option(help=_TABLE)] = None,
    table: Annotated[str | None, typer.Option(help=_TABLE)] = None,
    seed: Annotated[int, SEED] = 1,
    n_jobs: Annotated[int, JOBS] = 2,
    device: Annotated[str, DEVICE] = "auto",
) -> None:
    """Train a flow on mock clusters, until it gets no better on some that are held back.

    Either on a catalogue of mocks (`clustermass train mocks.parquet --out runs/mine`; a folder may be larger than
    memory), or for the clusters of a table (`clustermass train --for galaxies.csv --out runs/mine`): it then looks at
    their redshifts, fields, numbers of galaxies and velocity errors, says what it chooses and why, simulates and
    trains. The same command goes on with an interrupted one.
    """
    from sbi_clustermass.estimator.training_run import TrainingRun
    from sbi_clustermass.observations.tables import TableOptions

    _check(ctx, mocks, data)
    run = TrainingRun(
        *_architecture(flow, embedding, for_table=bool(data)), richness, members or (3 if data else 1),
        learning_rate=learning_rate, patience=patience, max_updates=max_updates, pure=pure, truncated=not plain_loss,
        alarm=alarm, recalibrate=recalibrate, seed=seed, device=device,
    )  # fmt: skip
    spectroscopy = (completeness, velocity_error, min_galaxies, _cleaning(cleaned))
    if not data:
        _train_on(mocks, out, _observed(run, *spectroscopy), checkpoint)
        return
    plain = replace(TableOptions(), redshift=redshift, h=h, Om=Om, distance=distance, table=table)
    options = table_options(plain, centre=centre, column=column, id=id, clusters=clusters)
    wishes = _wishes(n, fibre_collision, richness, *spectroscopy)
    choices, explanation = _chosen(data, options, wishes, seed)
    if not dry_run:
        _train_for(choices, explanation, out, run, (n_jobs, checkpoint))


def _check(ctx: typer.Context, mocks: Path | None, data: list[Path] | None) -> None:
    """Refuse mocks together with --for, and options of --for without it."""
    if data and mocks is not None:
        raise ValueError(f"train takes mocks or --for, not both: {mocks} and {data[0]}.")
    named = {each.name: max(each.opts, key=len) for each in ctx.command.params}
    sources = {name: ctx.get_parameter_source(name) for name in _ONLY_FOR}
    given = [named[name] for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if given and not data:
        raise ValueError(
            f"train: without --for TABLE there is nothing that {', '.join(given)} could change.\n"
            "  try:    leave that out, or give the table of galaxies by --for"
        )


def _architecture(flow: str | None, embedding: str | None, *, for_table: bool) -> tuple[str, str]:
    usual = ("tabulated", "trial_masses") if for_table else ("stacked_affine", "kde")
    return flow or usual[0], embedding or usual[1]


def _cleaning(name: str | None) -> "Cleaning | None":
    from clustermocks.io.registry import lookup
    from clustermocks.perturbations import CLEANINGS as KNOWN

    return None if name is None else lookup("cleaning", name, {each: each for each in KNOWN})


def _observed(
    run: "TrainingRun",
    completeness: float | None,
    velocity_error: float | None,
    min_galaxies: int | None,
    cleaning: "Cleaning | None",
) -> "TrainingRun":
    return replace(
        run,
        completeness=1.0 if completeness is None else completeness,
        velocity_error=velocity_error or 0.0,
        min_galaxies=min_galaxies,
        cleaning=cleaning,
    )


def _wishes(
    n: int, fibre_collision: float, richness: bool, completeness: float | None, velocity_error: float | None,
    min_galaxies: int | None, cleaning: "Cleaning | None",
) -> "Wishes":  # fmt: skip
    from sbi_clustermass.tailored import Wishes

    return Wishes(
        n=n,
        richness=richness,
        cleaning=cleaning,
        fibre_collision=fibre_collision,
        completeness=completeness,
        velocity_error=velocity_error,
        min_galaxies=min_galaxies,
    )


def _train_on(mocks: Path | None, out: Path | None, run: "TrainingRun", checkpoint: Path | None) -> None:
    if mocks is None:
        raise ValueError("train needs mocks (from `clustermass simulate`), or --for TABLE, which simulates its own.")
    console = Console()
    _print_result(run.run(mocks, _folder(out), console_stage(console), checkpoint=checkpoint), _folder(out), console)


def _chosen(data: list[Path], options: "TableOptions", wishes: "Wishes", seed: int) -> tuple["Choices", "Section"]:
    """Measure the tables, choose settings, and print them with their reasons."""
    from sbi_clustermass.tailored import choose, measure_tables, section

    survey = measure_tables(data, options, cleaning=wishes.cleaning, seed=seed)
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
    choices: "Choices", explanation: "Section", out: Path | None, run: "TrainingRun", where: tuple[int, Path | None]
) -> None:
    from sbi_clustermass.tailored import train_for

    console, folder = Console(), _folder(out)
    estimator = train_for(
        choices, folder, console_stage(console), run=run, explanation=explanation, n_jobs=where[0], checkpoint=where[1]
    )
    _print_result(estimator, folder, console)
    console.print(f"What was chosen and why: {folder / 'choices.md'}; the mocks: {folder / 'mocks'}/.", soft_wrap=True)


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

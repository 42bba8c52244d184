"""The command line: parse, call one library function, print.

Libraries that are slow to import are imported inside the commands, so that `clustermass --help` answers at once.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sbi_clustermass.cli_compare import compare
from sbi_clustermass.cli_infer import infer
from sbi_clustermass.cli_population import population, posteriors
from sbi_clustermass.cli_report import report
from sbi_clustermass.cli_validate import validate
from sbi_clustermass.outputs import check_output

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Dynamical masses of galaxy clusters from the projected phase space of their galaxies.",
)


def _jobs(value: int) -> int:
    if value == 0:
        raise typer.BadParameter("0 processes do no work; 1 works here, 2 or more share it, -1 takes one a core.")
    return value


_FLOWS = (
    "stacked_affine, maf, maf_rqs, nsf, made, mdn, tabulated, zuko_maf, zuko_nice, zuko_nsf, zuko_gf, zuko_sospf, "
    "zuko_naf, zuko_unaf or zuko_bpf"
)  # written out: to import FLOWS takes seconds
_EMBEDDINGS = "kde, learned_kde, cnn, deep_sets, attention, summary or trial_masses"
_JOBS = typer.Option("--jobs", "-j", help="Processes for the simulator; -1 for one a core.", min=-1, callback=_jobs)
_SEED = typer.Option(help="Seed: the same seed gives the same result.", min=0)
_DEVICE = typer.Option(help="auto, cpu or cuda.")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the run.")] = Path("runs/demo"),
    seed: Annotated[int, _SEED] = 1,
    jobs: Annotated[int, _JOBS] = 2,
) -> None:
    """Run the whole chain on a small mock catalogue, in a few minutes.

    Simulates clusters with interlopers, trains the flow of Kodi Ramanah et al. 2020, infers held-out clusters, and
    fits the mass function of a mock survey. The folder it writes is a valid --model for `clustermass infer`.
    """
    from sbi_clustermass.demo import Demo, run

    console = Console()
    summary = run(out, Demo(seed=seed, n_jobs=jobs), console)
    console.print(summary.table())
    console.print(f"Wrote {out}/ ({out}/README.md says what each file is).", soft_wrap=True)


@app.command()
def simulate(
    out: Annotated[str, typer.Argument(help="Parquet file to write (mocks.parquet), or a folder of them (mocks/).")],
    n: Annotated[int, typer.Option("--n", help="Number of clusters to attempt.", min=1)] = 20_000,
    low: Annotated[float, typer.Option(help="Lowest log10 M200c [h^-1 Msun].")] = 13.0,
    high: Annotated[float, typer.Option(help="Highest log10 M200c [h^-1 Msun].")] = 15.6,
    masses: Annotated[
        str,
        typer.Option(
            help="flat (in log10 mass), power-law (falling, to train for population fits) or mass-function "
            "(Tinker et al. 2008)."
        ),
    ] = "flat",
    preset: Annotated[
        str, typer.Option(help="realistic (all galaxies, recentred) or ho2019 (the published mocks).")
    ] = "realistic",
    dominant: Annotated[
        bool,
        typer.Option("--dominant", help="Keep a cluster only where no heavier halo is in its cylinder: for surveys."),
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines-of-sight", help="For each cluster; its members are shared.", min=1)
    ] = 1,
    seed: Annotated[int, _SEED] = 1,
    jobs: Annotated[int, _JOBS] = 2,
) -> None:
    """Simulate a catalogue of mock clusters with interlopers.

    A folder takes any number of clusters in constant memory; the same command goes on with an interrupted one.
    """
    from clustermocks import FlatMasses, HaloMassFunction, HaloModel, PowerLawMasses
    from sbi_clustermass.progress import stage
    from sbi_clustermass.registry import lookup

    folder = out.endswith(("/", os.sep)) or Path(out).is_dir() or not Path(out).suffix
    if not folder:
        check_output(Path(out), (".parquet",))
    model = lookup("preset", preset, {"realistic": HaloModel, "ho2019": HaloModel.ho2019})()
    model = replace(model, dominant=dominant)
    draws = {
        "flat": FlatMasses(low, high),
        "power-law": PowerLawMasses(low, high),
        "mass-function": HaloMassFunction(low=low, high=high),
    }
    drawn = lookup("mass distribution", masses, draws).draw(n, seed)
    console = Console()
    with stage("simulating clusters", n * lines, console) as advance:
        if folder:
            mocks = model.simulate_to(out, drawn, seed=seed, lines_of_sight=lines, n_jobs=jobs, progress=advance)
        else:
            mocks = model.simulate(drawn, seed=seed, lines_of_sight=lines, n_jobs=jobs, progress=advance)
            mocks.to_parquet(out)
    least = model.observation.min_galaxies
    console.print(f"Wrote {out}: {len(mocks)} of {n * lines} clusters have {least} galaxies or more.", soft_wrap=True)


@app.command()
def train(
    mocks: Annotated[Path, typer.Argument(help="Catalogue from `clustermass simulate`, file or folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the trained estimator.")],
    flow: Annotated[str, typer.Option(help=f"Density estimator: {_FLOWS}.")] = "stacked_affine",
    embedding: Annotated[str, typer.Option(help=f"What it sees of the galaxies: {_EMBEDDINGS}.")] = "kde",
    richness: Annotated[
        bool,
        typer.Option(help="Whether the number of galaxies counts: only where redshifts are as complete as the mocks'."),
    ] = False,
    members: Annotated[int, typer.Option(help="Networks to train, as an ensemble.", min=1)] = 1,
    completeness: Annotated[
        float, typer.Option(help="Thin clusters at random, down to this share of galaxies.", min=0, max=1)
    ] = 1.0,
    velocity_error: Annotated[float, typer.Option(help="Add velocity errors of up to this [km/s].", min=0)] = 0.0,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam; by default what suits the embedding.")] = None,
    patience: Annotated[int | None, typer.Option(help="Updates without a better validation loss.", min=1)] = None,
    max_updates: Annotated[int | None, typer.Option(help="Weight updates at most.", min=1)] = None,
    min_galaxies: Annotated[
        int | None, typer.Option(help="Train on clusters of so many galaxies or more: a survey's own cut.", min=1)
    ] = None,
    pure: Annotated[bool, typer.Option("--pure", help="Train on true members only.")] = False,
    plain_loss: Annotated[
        bool, typer.Option("--plain-loss", help="The paper's loss, blind to the prior's ends.")
    ] = False,
    alarm: Annotated[
        int,
        typer.Option(
            help="Mocks kept from the training, a tenth at most, to teach which clusters look like none; 0 for no "
            "such warnings.",
            min=0,
        ),
    ] = 3000,
    checkpoint: Annotated[Path | None, typer.Option(help="Folder for the training's state; by default in OUT.")] = None,
    seed: Annotated[int, _SEED] = 1,
    device: Annotated[str, _DEVICE] = "auto",
) -> None:
    """Train a flow on a mock catalogue, until it gets no better on clusters held back.

    A folder of mocks may be larger than memory. The same command goes on with an interrupted training.
    """
    from sbi_clustermass.training_run import HISTORY, PICTURE, TrainingRun

    run = TrainingRun(
        flow=flow,
        embedding=embedding,
        richness=richness,
        members=members,
        completeness=completeness,
        velocity_error=velocity_error,
        learning_rate=learning_rate,
        patience=patience,
        max_updates=max_updates,
        min_galaxies=min_galaxies,
        pure=pure,
        truncated=not plain_loss,
        alarm=alarm,
        seed=seed,
        device=device,
    )
    console = Console()
    record = run.run(mocks, out, console, checkpoint=checkpoint).history
    found = f"best of {record.updates[-1]} weight updates at {record.best_update}"
    console.print(f"Wrote {out}/: {found}, validation loss {min(record.validation_loss):.4f}.", soft_wrap=True)
    console.print(f"Its history: {out / HISTORY}, {out / PICTURE}.", soft_wrap=True)


for command in (infer, posteriors, population, compare, validate, report):
    app.command()(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; a user's mistake gives one message and exit status 2."""
    try:
        app(args=arguments)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"clustermass: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

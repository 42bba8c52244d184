"""The command line: parse, call one library function, print.

Libraries that are slow to import are imported inside the commands, so that `clustermass --help` answers at once.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from clustermocks.io.atomic import check_output
from sbi_clustermass.cli.compare import compare
from sbi_clustermass.cli.infer import infer
from sbi_clustermass.cli.population import population, posteriors
from sbi_clustermass.cli.publish import publish
from sbi_clustermass.cli.report import report
from sbi_clustermass.cli.train import JOBS, SEED, train
from sbi_clustermass.cli.validate import validate
from sbi_clustermass.observations.sanitize import printable

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Dynamical masses of galaxy clusters from the projected phase space of their galaxies.",
)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the run.")] = Path("runs/demo"),
    seed: Annotated[int, SEED] = 1,
    jobs: Annotated[int, JOBS] = 2,
) -> None:
    """Run the whole chain on a small mock catalogue, in a few minutes.

    Simulates clusters with interlopers, trains the flow of Kodi Ramanah et al. 2020, infers held-out clusters, and
    fits the mass function of a mock survey. The folder it writes is a valid --model for `clustermass infer`.
    """
    from sbi_clustermass.cli.demo import Demo, run
    from sbi_clustermass.cli.progress import console_stage

    console = Console()
    summary = run(out, Demo(seed=seed, n_jobs=jobs), console_stage(console))
    console.print(summary.table().rich())
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
        int,
        typer.Option(
            "--lines-of-sight", help="Lines of sight through each halo, a cluster each; members are shared.", min=1
        ),
    ] = 1,
    seed: Annotated[int, SEED] = 1,
    jobs: Annotated[int, JOBS] = 2,
) -> None:
    """Simulate a catalogue of mock clusters with interlopers.

    A folder takes any number of clusters in constant memory; the same command goes on with an interrupted one.
    """
    from clustermocks import FlatMasses, HaloMassFunction, HaloModel, PowerLawMasses
    from clustermocks.io.registry import lookup
    from sbi_clustermass.cli.progress import stage

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


for command in (train, infer, posteriors, population, compare, validate, report, publish):
    app.command()(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; a user's mistake gives one message and exit status 2."""
    _wait_asleep()
    warnings.formatwarning = lambda message, *_: f"{printable(str(message))}\n"  # the place in the code helps no user
    try:
        app(args=arguments)
    except (ValueError, OSError, FloatingPointError) as error:
        print(printable(f"clustermass: {error}"), file=sys.stderr)
        sys.exit(2)


def _wait_asleep() -> None:
    """Before torch is loaded: its threads sleep soon when they wait for each other, unless the user chose otherwise.

    They would spin for 10 ms, long compared with what they compute, and where other programs run as well that takes
    the core from the very thread that is waited for.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


if __name__ == "__main__":
    main()

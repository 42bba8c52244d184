"""`clustermass population`: parse, call `PopulationRun.run`, print."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sbi_clustermass.cli.options import SEED


def population(
    masses: Annotated[Path, typer.Argument(help="Mass posteriors, as `clustermass posteriors` writes them.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/population"),
    model: Annotated[
        str, typer.Option(help="What to fit: mass-function, or scaling-relation (observables with the masses).")
    ] = "mass-function",
    form: Annotated[
        str,
        typer.Option(help="Shape of the mass distribution: mrp, cosmology, or normal for a sample's own."),
    ] = "mrp",
    cosmology: Annotated[
        bool, typer.Option("--cosmology", help="Om and sigma8: the same as --form cosmology.")
    ] = False,
    mocks: Annotated[
        Path | None,
        typer.Option(help="Mock catalogue, flat in mass from 10^12.5, that was selected as the survey was."),
    ] = None,
    min_galaxies: Annotated[int | None, typer.Option(help="Richness cut of the survey.", min=1)] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="The survey lost no cluster: in place of --mocks.")
    ] = False,
    volume: Annotated[float | None, typer.Option(help="Of the survey, comoving [h^-3 Mpc^3].")] = None,
    area: Annotated[float | None, typer.Option(help="Of the survey on the sky [deg^2], with --redshifts.")] = None,
    redshifts: Annotated[str | None, typer.Option(help="Edges of its shells, such as 0.1,0.2,0.3.")] = None,
    shape_only: Annotated[
        bool, typer.Option("--shape-only", help="Leave the number of clusters out of the fit.")
    ] = False,
    table: Annotated[
        Path | None, typer.Option(help="Table with a column `name`, redshift, and observables NAME, NAME_err.")
    ] = None,
    observable: Annotated[list[str] | None, typer.Option(help="Column of --table [dex]; may be repeated.")] = None,
    correlated: Annotated[
        bool, typer.Option("--correlated", help="Let the scatters of the observables be correlated.")
    ] = False,
    same_galaxies: Annotated[
        list[str] | None, typer.Option(help="Observable from the galaxies that gave the masses; may be repeated.")
    ] = None,
    consistency_check: Annotated[
        bool, typer.Option("--consistency-check", help="Fit it all the same: the scatter then means nothing.")
    ] = False,
    truth: Annotated[
        str | None, typer.Option(help="Mass function put into mocks of MDPL2's cosmology, to draw: tinker08.")
    ] = None,
    sampler: Annotated[str, typer.Option(help="nuts, svi or laplace.")] = "nuts",
    seed: Annotated[int, SEED] = 1,
) -> None:
    """Fit the mass function, or scaling relations, behind the posteriors of many clusters.

    The training prior is divided out of each posterior. A mass function needs to know what the survey selects
    (--mocks and --min-galaxies, or --complete) and where it looked (--volume, or --area and --redshifts).
    """
    from sbi_clustermass.cli.progress import console_stage
    from sbi_clustermass.population.run import FIT, SHRUNK, TABLE, PopulationRun, parameter_table

    run = PopulationRun(
        model=model,
        form="cosmology" if cosmology else form,
        mocks=mocks,
        min_galaxies=min_galaxies,
        complete=complete,
        volume=volume,
        area=area,
        redshifts=_numbers(redshifts),
        shape_only=shape_only,
        table=table,
        observables=tuple(observable or ()),
        correlated=correlated,
        same_galaxies=tuple(same_galaxies or ()),
        consistency_check=consistency_check,
        truth=truth,
        sampler=sampler,
        seed=seed,
    )
    console = Console()
    idata = run.run(masses, out, console_stage(console))
    if "consistency_check" in idata.attrs:
        console.print(f"A consistency check only: {idata.attrs['consistency_check']}.", soft_wrap=True)
    console.print("\n".join(parameter_table(idata).pformat(max_lines=-1, max_width=-1)), markup=False, soft_wrap=True)
    console.print(f"Wrote {out}/: {FIT}, {TABLE}, {SHRUNK} and pictures.", soft_wrap=True)


def _numbers(text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in (text or "").split(",") if part.strip())
    except ValueError as error:
        raise ValueError(
            f"--redshifts needs numbers with commas between them, such as 0.1,0.2; got {text!r}."
        ) from error

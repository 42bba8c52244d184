"""`clustermass infer`: parse, call the library, print."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sbi_clustermass.cli.options import DEVICE, table_options
from sbi_clustermass.observations.sanitize import printable

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.observations import ClusterResult, ModelStamp

_TOLD = 20  # clusters whose lines are printed where files hold all of them


def infer(
    tables: Annotated[
        list[Path],
        typer.Argument(help="Tables of galaxies: text (.csv, .tsv, .txt, .dat), ECSV, FITS, VOTable, HDF5, Parquet."),
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Folder of a trained estimator, or a URL with #sha256=...; by default the one that ships."),
    ] = None,
    redshift: Annotated[
        float | None,
        typer.Option(help="The cluster's redshift; estimated if left out. Velocities are recentred on it."),
    ] = None,
    centre: Annotated[
        str | None,
        typer.Option(help="RA,DEC of the centre, in degrees or as 12:59:48,+27:58:48; estimated if left out."),
    ] = None,
    h: Annotated[
        float | None,
        typer.Option(
            help="h of distances in Mpc: 0.7, say; 1 for h^-1 Mpc. Also of masses in Msun and of r200c in Mpc, which "
            "take the model's where this is 1 or left out."
        ),
    ] = None,
    Om: Annotated[
        float | None, typer.Option("--Om", help="Matter density of distances in Mpc (flat); the model's if left out.")
    ] = None,
    distance: Annotated[str | None, typer.Option(help="Of distances in Mpc: physical or comoving.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="OURS=THEIRS, such as z=zspec; may be repeated.")] = None,
    id: Annotated[
        str | None, typer.Option(help="Column that names the cluster of each galaxy, where a table holds several.")
    ] = None,
    clusters: Annotated[
        Path | None,
        typer.Option(
            help="Table of clusters (id, ra, dec, z): centres and redshifts by name; a table of galaxies without a "
            "column of clusters is searched around each."
        ),
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="Which table of the file, where FITS, VOTable or HDF5 holds several.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Table of masses: .csv, .ecsv or .parquet (the last two with units and descriptions)."),
    ] = None,
    posteriors: Annotated[
        Path | None, typer.Option(help="Every posterior on its grid: .parquet, which `clustermass population` reads.")
    ] = None,
    samples: Annotated[
        int,
        typer.Option(help="Draws from each posterior, in NAME_samples.parquet beside --posteriors.", min=0),
    ] = 0,
    pictures: Annotated[Path | None, typer.Option(help="Folder for a one-page picture of each cluster.")] = None,
    picture_format: Annotated[str, typer.Option(help="png or pdf.")] = "png",
    published: Annotated[
        Path | None,
        typer.Option(
            help="Table of published masses for the pictures: name, mass and unit (1e14 Msun, 1e14 Msun/h) or "
            "log10_mass [h^-1 Msun]; as they are there err or err_low and err_high, h, method, reference."
        ),
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="One HTML file with a table of all clusters that sorts and filters.")
    ] = None,
    inline: Annotated[int, typer.Option(help="Pictures that stand inside --page; it links to the others.", min=0)] = 12,
    explain: Annotated[bool, typer.Option("--explain", help="Say in plain words what each mass assumes.")] = False,
    device: Annotated[str, DEVICE] = "auto",
) -> None:
    """Infer the mass of observed clusters from tables of their galaxies.

    A table has ra, dec and z, or projected distances and velocities, of one cluster or of many, which a column of
    their names (cluster, cluster_id, ...) tells apart. Columns are recognised by name, UCD and unit. Options hold for
    every table of the call. A cluster that gets no mass gets its reason, and costs the others nothing. Where two tables
    have a cluster of one name, that of the later one gets its file's name in front: survey_b:A85.

    Columns of --out: name; log10_mass (posterior mean of log10 M200c [h^-1 Msun]), log10_mass_std, _p2_5, _p16, _p50,
    _p84, _p97_5; M200c_per_h [10^14 h^-1 Msun], M200c [10^14 Msun for column h], r200c [physical Mpc for column h],
    r200c_comoving [h^-1 Mpc], each the median, with _p16 and _p84; h; n_galaxies; velocity_dispersion [km/s] (gapper
    after 3-sigma clipping), velocity_dispersion_error (bootstrap), n_dispersion; log10_mass_m_sigma; redshift, ra, dec
    with errors and sources; velocity_error; n_rows, n_dropped, n_duplicates, n_outside_aperture, n_outside_velocity,
    n_without_error; n_warnings, warnings, reason; model, model_checksum, version.
    """
    from sbi_clustermass.observations import infer_tables
    from sbi_clustermass.observations.assumptions import explain_model
    from sbi_clustermass.observations.output_files import OutputFiles
    from sbi_clustermass.observations.tables import TableOptions

    outputs = OutputFiles(out, posteriors, samples, pictures, picture_format, published, page, inline)
    outputs.check(_read(tables, model, clusters))
    plain = replace(TableOptions(), redshift=redshift, h=h, Om=Om, distance=distance, table=table)
    options = table_options(plain, centre=centre, column=column, id=id, clusters=clusters)
    console = Console(highlight=False, soft_wrap=True)
    estimator, stamp = _estimator(model, device, h, console)
    say = partial(_lines, estimator=estimator, stamp=stamp, explain=explain)
    for line in explain_model(estimator, stamp) if explain else ():
        console.print(printable(line), markup=False)
    with outputs.opened(estimator, stamp, _title(tables)) as write:
        answers = infer_tables(tables, estimator, options)
        masses = _each(answers, write, say, console, most=_TOLD if outputs else None)
    for line in outputs.written():
        console.print(printable(line), markup=False)
    if not masses:
        raise typer.Exit(2)


def _read(tables: Sequence[Path], model: str | None, clusters: Path | None) -> list[Path]:
    """Return all files that the command reads, those of the model included."""
    from sbi_clustermass.estimator.hub.archive import MANIFEST
    from sbi_clustermass.estimator.hub.download import is_url
    from sbi_clustermass.estimator.storage import ALARM, CARD, WEIGHTS

    read = [*tables, *([clusters] if clusters else [])]
    if model is None or is_url(model):
        return read
    return [*read, Path(model), *(Path(model, name) for name in (CARD, WEIGHTS, ALARM, MANIFEST, "history.csv"))]


def _estimator(model: str | None, device: str, h: float | None, console: Console) -> "tuple[MassEstimator, ModelStamp]":
    """Load the named estimator, or the one that ships, and print a note about the latter."""
    from sbi_clustermass.estimator.hub import resolve_model, shipped_note
    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.observations import ModelStamp

    folder = resolve_model(model)
    estimator = MassEstimator.load(folder, device=device)
    if model is None:
        console.print(f"Model: {shipped_note()}.", markup=False)
    return estimator, ModelStamp.from_estimator(estimator, folder=folder, h=h)


def _title(tables: Sequence[Path]) -> str:
    names = ", ".join(path.name for path in tables[:3])
    return f"Cluster masses: {names}" + (f" and {len(tables) - 3} more" if len(tables) > 3 else "")


def _each(
    answers: "Iterable[ClusterResult]",
    write: "Callable[[ClusterResult], None]",
    say: "Callable[[ClusterResult], Iterable[str]]",
    console: Console,
    *,
    most: int | None,
) -> int:
    """Write each result and print the lines of the first `most`; return the number of masses."""
    from sbi_clustermass.cli.progress import stage
    from sbi_clustermass.observations import MassResult

    masses = 0
    with ExitStack() as stack:
        advance = None
        for done, answer in enumerate(answers, 1):
            write(answer)
            masses += isinstance(answer, MassResult)
            if most is None or done <= most:
                for line in say(answer):
                    console.print(printable(line), markup=False)
            elif advance is None:
                console.print(f"The first {most} clusters are printed; the files hold all.")
                advance = stack.enter_context(stage("inferring clusters", None, console))
            if advance is not None:
                advance(done, f"{masses} masses")
    return masses


def _lines(answer: "ClusterResult", *, estimator: "MassEstimator", stamp: "ModelStamp", explain: bool) -> list[str]:
    from sbi_clustermass.observations.assumptions import explain_cluster
    from sbi_clustermass.observations.cluster_summary import summary_lines

    lines = summary_lines(answer, stamp)
    return [*lines, *explain_cluster(answer, estimator, stamp)] if explain else lines

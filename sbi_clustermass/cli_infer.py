"""`clustermass infer`: parse, call one library function, print."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from sbi_clustermass.infer import Mass, NoMass
    from sbi_clustermass.tables import TableOptions


def infer(
    tables: Annotated[
        list[Path], typer.Argument(help="Tables of galaxies, a cluster each: CSV, ECSV, FITS or Parquet.")
    ],
    model: Annotated[Path, typer.Option(help="Folder of a trained estimator.")],
    redshift: Annotated[
        float | None,
        typer.Option(help="The cluster's redshift; estimated if left out. Velocities are recentred on it."),
    ] = None,
    centre: Annotated[str | None, typer.Option(help="RA,DEC of the centre [deg]; estimated if left out.")] = None,
    h: Annotated[
        float | None, typer.Option(help="h of distances in Mpc: 0.7, say; 1 for h^-1 Mpc. Not for RA and Dec.")
    ] = None,
    distance: Annotated[str | None, typer.Option(help="Of distances in Mpc: physical or comoving.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="OURS=THEIRS, such as z=zspec; may be repeated.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write a table: .csv, .ecsv or .parquet.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Infer the mass of observed clusters from tables of their galaxies.

    A table has ra, dec and z, or projected distances and velocities. Options hold for every table of the call.
    """
    from sbi_clustermass.cli import check_output
    from sbi_clustermass.estimator import MassEstimator
    from sbi_clustermass.infer import SUFFIXES, NoMass, infer_tables, write_table

    options = _table_options(redshift, centre, h, distance, column)
    if out is not None:
        check_output(out, SUFFIXES)
    estimator = MassEstimator.load(model, device=device)
    console, masses = Console(highlight=False, soft_wrap=True), []
    for mass in infer_tables(tables, estimator, options):
        masses.append(mass)
        _print_mass(mass, console)
    if out is not None:
        write_table(masses, out)
        console.print(f"Wrote {out}.", soft_wrap=True)
    if all(isinstance(mass, NoMass) for mass in masses):
        raise typer.Exit(2)


def _table_options(redshift, centre, h, distance, column) -> "TableOptions":
    from sbi_clustermass.tables import TableOptions

    return TableOptions(
        redshift=redshift,
        centre=None if centre is None else _pair(centre),
        h=h,
        distance=distance,
        columns=dict(_renaming(text) for text in column or ()),
    )


def _pair(text: str) -> tuple[float, float]:
    try:
        ra, dec = (float(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise ValueError(f"--centre needs RA,DEC in degrees, such as 194.95,27.98; got {text!r}.") from error
    return ra, dec


def _renaming(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not (ours and equals and theirs):
        raise ValueError(f"--column needs OURS=THEIRS, such as z=zspec; got {text!r}.")
    return ours.strip(), theirs.strip()


def _print_mass(mass: "Mass | NoMass", console: Console) -> None:
    from sbi_clustermass.infer import NoMass

    if isinstance(mass, NoMass):
        console.print(f"{mass.name}: no mass. {mass.reason}" if mass.cluster else mass.reason, markup=False)
        return
    for line in _report(mass):
        console.print(line, markup=False)


def _report(mass: "Mass") -> Sequence[str]:
    cluster = mass.cluster
    low, _, high = mass.percentiles
    unknown = cluster.redshift != cluster.redshift  # NaN
    m_sigma = "needs a redshift" if unknown else f"{mass.log10_mass_m_sigma:.2f}"
    position = "" if cluster.ra != cluster.ra else f"{cluster.ra:.4f} {cluster.dec:+.4f} deg, "
    dropped = f"{cluster.n_dropped} dropped without a usable position or velocity"
    return [
        cluster.name,
        f"  log10 M200c [h^-1 Msun]  {mass.mean:.2f}  (mean; 16 %: {low:.2f}, 84 %: {high:.2f})",
        f"  galaxies                 {cluster.n_galaxies} used of {cluster.n_rows} rows, {dropped}",
        f"  redshift                 {'' if unknown else f'{cluster.redshift:.4f}, '}{cluster.redshift_source}",
        f"  centre                   {position}{cluster.centre_source}",
        f"  velocity dispersion      {mass.velocity_dispersion:.0f} km/s after 3-sigma clipping",
        f"  M-sigma log10 M200c      {m_sigma} (Evrard et al. 2008)",
        *(f"  warning                  {warning}" for warning in mass.warnings),
    ]

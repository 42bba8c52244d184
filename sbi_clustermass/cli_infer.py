"""`clustermass infer`: parse, call one library function, print."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from sbi_clustermass.infer import Mass, NoMass
    from sbi_clustermass.tables import ClusterTable, Counts, TableOptions


def infer(
    tables: Annotated[
        list[Path],
        typer.Argument(help="Tables of galaxies: text (.csv, .tsv, .txt, .dat), ECSV, FITS, VOTable, HDF5, Parquet."),
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
    out: Annotated[Path | None, typer.Option(help="Also write a table: .csv, .ecsv or .parquet.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Infer the mass of observed clusters from tables of their galaxies.

    A table has ra, dec and z, or projected distances and velocities, of one cluster or of many, which a column of
    their names (cluster, cluster_id, ...) tells apart. Columns are recognised by name, UCD and unit. Options hold for
    every table of the call.
    """
    from sbi_clustermass.estimator import MassEstimator
    from sbi_clustermass.infer import SUFFIXES, NoMass, infer_tables, write_table
    from sbi_clustermass.outputs import check_output

    options = _table_options(column, id, clusters)
    options = replace(
        options,
        redshift=redshift,
        centre=None if centre is None else _pair(centre),
        h=h,
        Om=Om,
        distance=distance,
        table=table,
    )
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


def _table_options(column: list[str] | None, id: str | None, clusters: Path | None) -> "TableOptions":
    """The options that take some reading: columns and the table of clusters."""
    from sbi_clustermass.tables import TableOptions, read_known

    columns = dict(_renaming(text) for text in column or ())
    if id is not None:
        columns["id"] = id
    return TableOptions(columns=columns, clusters=None if clusters is None else read_known(clusters))


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
    return [
        cluster.name,
        f"  log10 M200c [h^-1 Msun]  {mass.mean:.2f}  (mean; 16 %: {low:.2f}, 84 %: {high:.2f})",
        f"  galaxies                 {_counts(cluster.counts)}",
        f"  redshift                 {'' if unknown else _redshift(cluster)}{cluster.redshift_source}",
        f"  centre                   {_centre(cluster)}{cluster.centre_source}",
        f"  velocity dispersion      {mass.velocity_dispersion:.0f} km/s after 3-sigma clipping",
        f"  M-sigma log10 M200c      {m_sigma} (Evrard et al. 2008)",
        *(f"  assumed                  {note}" for note in cluster.notes),
        *(f"  warning                  {warning}" for warning in mass.warnings),
    ]


def _counts(counts: "Counts") -> str:
    dropped = counts.without_position + counts.without_redshift + counts.without_weight
    others = {
        "duplicates": counts.duplicates,
        "outside the aperture": counts.outside_aperture,
        "outside the velocity cut": counts.outside_velocity,
    }
    said = "".join(f", {count} {words}" for words, count in others.items() if count)
    return f"{counts.used} used of {counts.rows} rows, {dropped} dropped without a usable position or velocity{said}"


def _redshift(cluster: "ClusterTable") -> str:
    error = "" if cluster.redshift_error != cluster.redshift_error else f" +- {cluster.redshift_error:.4f}"
    return f"{cluster.redshift:.4f}{error}, "


def _centre(cluster: "ClusterTable") -> str:
    if cluster.ra != cluster.ra:
        return ""
    error = "" if cluster.centre_error != cluster.centre_error else f" +- {cluster.centre_error:.2f} h^-1 Mpc"
    return f"{cluster.ra:.4f} {cluster.dec:+.4f} deg{error}, "

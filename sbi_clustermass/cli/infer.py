"""`clustermass infer`: parse, call the library, print."""

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sbi_clustermass.cli.interruption import continuing
from sbi_clustermass.cli.options import Device, FilePath, Flat, Jobs
from sbi_clustermass.cli.printing import Printing
from sbi_clustermass.observations.output_files import OutputFiles
from sbi_clustermass.observations.sanitize import printable
from sbi_clustermass.observations.tables.options import TableOptions

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.observations import ClusterResult, ModelStamp
    from sbi_clustermass.observations.tables import ClusterList

_PRINTED = 20  # clusters whose lines are printed where files hold all of them


def infer(
    *tables: Annotated[FilePath, Parameter(required=True)],
    model: str | None = None,
    options: Annotated[TableOptions, Flat] = TableOptions(),
    outputs: Annotated[OutputFiles, Flat] = OutputFiles(),
    explain: bool = False,
    n_jobs: Jobs = 1,
    device: Device = "auto",
    printing: Annotated[Printing, Flat] = Printing(),
) -> None:
    """Infer the mass of observed clusters from tables of their galaxies.

    A table holds right ascension, declination and redshift of galaxies (ra, dec and z), or their projected distances
    and velocities (R_proj and v_los). It may hold many clusters, which a column of their names (cluster, cluster_id,
    ...) tells apart. Columns are recognised by name, UCD and unit. Options hold for every table of the call. A cluster
    without a mass is listed with the reason, and does not affect the others. If two tables have a cluster of the same
    name, the later one is called by its file as well: survey_b:A85. For a folder of Parquet files, tables of masses are
    written to the folder --out, file by file, and the same command continues an interrupted one.

    Columns of --out: name; log10_mass (posterior mean of log10 M200c [h^-1 Msun]), log10_mass_std, _p2_5, _p16, _p50,
    _p84, _p97_5; M200c_per_h [10^14 h^-1 Msun], M200c [10^14 Msun for column h], r200c [physical Mpc for column h],
    r200c_comoving [h^-1 Mpc], each the median, with _p16 and _p84; h; n_galaxies; velocity_dispersion [km/s] (gapper
    after 3-sigma clipping), velocity_dispersion_error (bootstrap), n_dispersion; log10_mass_m_sigma; redshift, ra, dec
    with errors and sources; velocity_error; n_rows, n_dropped, n_duplicates, n_outside_aperture, n_outside_velocity,
    n_without_error; n_warnings, warnings, reason; model, model_checksum, version; log10_mass_mf_p50, _p16, _p84 (with
    the mass function as prior); two_modes_low, two_modes_high, two_modes_low_share, where there are two; members_std
    (between the networks of an ensemble); verdict (use, care, do not use), reasons; log10_c200c and beta, if the model
    infers them, log10_m500c, M500c [10^14 Msun], r500c [physical Mpc], each the median, with _p16 and _p84.

    Columns of --members, beside those of the tables: cluster_name, R_proj [comoving h^-1 Mpc], v_los [km/s], p_r200c,
    p_r_vir, p_bound, not_used (why a row has no probabilities), interlopers_removed (by --cleaned). One whose name a
    table has is called NAME_inferred.

    Args:
        tables: Tables of galaxies: text (.csv, .tsv, .txt, .dat), ECSV, FITS, VOTable, HDF5, Parquet.
        model: Folder of a trained estimator, or a URL with #sha256=...; by default the one that ships.
        options: Facts about the tables.
        outputs: Files to write.
        explain: Whether to say in plain words what each mass assumes.
        n_jobs: Processes among which the clusters of large tables are shared.
        printing: How to print; with --json, an object a cluster, of the columns of --out.
    """
    from sbi_clustermass.observations import infer_tables
    from sbi_clustermass.observations.assumptions import explain_model

    if any(table.is_dir() for table in tables):
        _infer_folder(tables, model, options, outputs, device, n_jobs, printing)
        return
    outputs.check(_read(tables, model, options.clusters))
    estimator, stamp = _estimator(model, device, options.h, printing)
    show = partial(_show, printing=printing, stamp=stamp, explain=explain)
    for line in explain_model(estimator, stamp) if explain else ():
        printing.note(line)
    with outputs.opened(estimator, stamp, _title(tables)) as write:
        results = infer_tables(tables, estimator, options, n_jobs=n_jobs)
        masses = _each(results, write, show, printing, most=_PRINTED if outputs and not printing.json else None)
    for line in outputs.written():
        (printing.note if printing.json else printing.text)(line)
    if not masses:
        sys.exit(2)


def _infer_folder(
    tables: Sequence[Path],
    model: str | None,
    options: TableOptions,
    outputs: OutputFiles,
    device: str,
    n_jobs: int,
    printing: Printing,
) -> None:
    from sbi_clustermass.observations import infer_parts

    if len(tables) > 1 or outputs != OutputFiles(table=outputs.table) or outputs.table is None:
        raise ValueError(
            f"{next(table for table in tables if table.is_dir())}: a folder gives tables of masses in a folder.\n"
            "  try:    clustermass infer FOLDER --out ANOTHER, without other tables and files"
        )
    estimator, stamp = _estimator(model, device, options.h, printing)
    with continuing(f"The same command goes on with the tables that {outputs.table}/ lacks."):
        written = infer_parts(tables[0], outputs.table, estimator, stamp, options, n_jobs=n_jobs)
    printing.wrote(outputs.table, text=f"Wrote {outputs.table}/: {len(written)} tables of masses.", tables=written)


def _read(tables: Sequence[Path], model: str | None, clusters: "ClusterList | None") -> list[Path]:
    """Return all files that the command reads, those of the model included."""
    from sbi_clustermass.estimator.hub.archive import MANIFEST
    from sbi_clustermass.estimator.hub.download import is_url
    from sbi_clustermass.estimator.storage import STORED, model_folder

    read = [*tables, *([clusters.path] if clusters else [])]
    if model is not None and is_url(model):
        return read
    return [
        *read,
        model_folder(model),
        *(model_folder(model) / name for name in (*STORED, MANIFEST, "history.csv")),
    ]


def _estimator(
    model: str | None, device: str, h: float | None, printing: Printing
) -> "tuple[MassEstimator, ModelStamp]":
    """Load the named estimator, or the one that ships, and print a note about the latter."""
    from sbi_clustermass.estimator.hub import SHIPPED, resolve_model, shipped_note
    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.observations import ModelStamp

    folder = resolve_model(model)
    estimator = MassEstimator.load(folder, device=device)
    if folder == SHIPPED:
        printing.note(f"Model: {shipped_note()}.")
    if estimator.alarm is None:
        printing.note("This model has no alarm: it does not warn of clusters that look like none of its mocks.")
    return estimator, ModelStamp.from_estimator(estimator, folder=folder, h=h)


def _title(tables: Sequence[Path]) -> str:
    names = ", ".join(printable(path.name) for path in tables[:3])
    return f"Cluster masses: {names}" + (f" and {len(tables) - 3} more" if len(tables) > 3 else "")


def _each(
    results: "Iterable[ClusterResult]",
    write: "Callable[[ClusterResult], None]",
    show: "Callable[[ClusterResult], None]",
    printing: Printing,
    *,
    most: int | None,
) -> int:
    """Write each result and show the first `most`; return the number of masses."""
    from sbi_clustermass.cli.progress import stage
    from sbi_clustermass.observations import MassResult

    masses = 0
    with ExitStack() as stack:
        advance = None
        for done, result in enumerate(results, 1):
            write(result)
            masses += isinstance(result, MassResult)
            if most is None or done <= most:
                show(result)
            elif advance is None:
                printing.note(f"The first {most} clusters are printed; the files hold all.")
                advance = stack.enter_context(stage("inferring clusters", None, printing.notes))
            if advance is not None:
                advance(done, f"{masses} masses")
    return masses


def _show(result: "ClusterResult", *, printing: Printing, stamp: "ModelStamp", explain: bool) -> None:
    from sbi_clustermass.observations.assumptions import explain_cluster
    from sbi_clustermass.observations.cluster_summary import summary_lines
    from sbi_clustermass.observations.mass_table import mass_row

    explained = explain_cluster(result, stamp) if explain else []
    if printing.json:
        printing.facts({**mass_row(result, stamp), **({"explanation": explained} if explain else {})})
    else:
        printing.text("\n".join((*summary_lines(result, stamp), *explained)))

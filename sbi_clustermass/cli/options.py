"""Options that several commands share, and the parsing of their values."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sbi_clustermass.observations.tables import TableOptions


def _jobs(value: int) -> int:
    """Refuse 0 processes."""
    if value == 0:
        raise typer.BadParameter("0 processes do no work; 1 works here, 2 or more share it, -1 takes one a core.")
    return value


SEED = typer.Option(help="Seed: the same seed gives the same result.", min=0)
DEVICE = typer.Option(help="auto, cpu or cuda.")
JOBS = typer.Option("--jobs", "-j", help="Processes for the simulator; -1 for one a core.", min=-1, callback=_jobs)


def names(text: str) -> list[str]:
    """Split a list of names at its commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def table_options(
    plain: "TableOptions", *, centre: str | None, column: list[str] | None, id: str | None, clusters: Path | None
) -> "TableOptions":
    """Return table options completed by those that need parsing: the centre, columns and the table of clusters."""
    from sbi_clustermass.observations.tables import read_cluster_list

    columns = dict(_renaming(text) for text in column or ())
    return replace(
        plain,
        centre=None if centre is None else _pair(centre),
        columns=columns if id is None else columns | {"id": id},
        clusters=None if clusters is None else read_cluster_list(clusters),
    )


def _pair(text: str) -> tuple[float, float]:
    """Parse right ascension and declination [deg], given in degrees or in hours and degrees with minutes."""
    import numpy as np
    from astropy.coordinates import Angle

    parts = [part.strip() for part in text.split(",")] if "," in text else text.split()
    units = ("hourangle", "deg") if any(mark in text for mark in ":hd") else ("deg", "deg")
    try:
        ra, dec = (np.asarray(Angle(part, unit=unit).to("deg")).item() for part, unit in zip(parts, units, strict=True))
    except ValueError as error:
        raise ValueError(
            f"--centre needs RA,DEC: degrees, such as 194.95,27.98, or 12:59:48,+27:58:48; got {text!r}."
        ) from error
    return ra, dec


def _renaming(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not (ours and equals and theirs):
        raise ValueError(f"--column needs OURS=THEIRS, such as z=zspec; got {text!r}.")
    return ours.strip(), theirs.strip()

"""A file on disk -> an astropy table with stripped column names."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sbi_clustermass.tables.errors import problem

if TYPE_CHECKING:
    from astropy.table import Table

FORMATS = {
    ".csv": "csv",
    ".ecsv": "ascii.ecsv",
    ".fits": "fits",
    ".fit": "fits",
    ".parquet": "parquet",
}


def read_file(path: Path) -> "Table":
    """Read one table of numbers, at least one row long.

    Args:
        path: CSV (comment lines start with #), ECSV, FITS or Parquet.

    Raises:
        TableError: No such file, an unknown suffix, no table in it, or no rows.
    """
    kind = _format(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # FITS headers often have odd units; those of our columns are checked later
            table = _read(path, kind)
    except (OSError, ValueError, KeyError, IndexError, TypeError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        what, text = f"not a readable {path.suffix[1:].upper()} table.", kind in ("csv", "ascii.ecsv")
        advice = "a line of column names, then as many values a row, in UTF-8" if text else "write the file again"
        raise problem(path.name, what, found=reason, advice=advice) from error
    if not len(table):
        raise problem(path.name, "the table has no rows.", found=f"columns {', '.join(table.colnames) or '(none)'}")
    _check_separator(table, path)
    for name in table.colnames:
        if name != name.strip():
            table.rename_column(name, name.strip())
    return table


def _check_separator(table: "Table", path: Path) -> None:
    """Refuse a text file whose values are not separated by commas: all of a row would be one column."""
    header = table.colnames[0].strip()
    separators = {";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
    for mark, name in separators.items():
        if len(table.colnames) == 1 and mark in header:
            raise problem(
                path.name,
                f"its values are separated by {name}; a CSV file separates them by commas.",
                found=f"one column, {header!r}",
                advice="save it with commas, and points in its numbers",
            )


def _format(path: Path) -> str:
    """Name of the format by suffix, for a file that is there and not empty."""
    if not path.exists():
        raise problem(path.name, "no such file.", found=f"nothing at {path}", advice="check the path")
    if path.is_dir():
        raise problem(path.name, "a folder, not a table.", advice="pass a file, or several")
    if path.suffix.lower() not in FORMATS:
        what = f"unknown kind of file {path.suffix or '(no suffix)'!r}."
        raise problem(path.name, what, advice=f"save it as one of {', '.join(FORMATS)}")
    if path.stat().st_size == 0:
        raise problem(path.name, "the file is empty.", found="0 bytes")
    return FORMATS[path.suffix.lower()]


def _read(path: Path, kind: str) -> "Table":
    from astropy.io import ascii as text_tables
    from astropy.io.fits import VerifyError
    from astropy.table import Table

    if kind != "csv":
        try:
            return cast("Table", Table.read(path, format=kind))
        except VerifyError as error:  # no kind of ValueError
            raise ValueError(str(error)) from error
    text = path.read_text(encoding="utf-8-sig")
    if "\0" in text:
        raise ValueError("binary data instead of text")
    if text.startswith("# %ECSV"):
        return cast("Table", Table.read(path, format="ascii.ecsv"))
    lines = [line for line in text.splitlines() if line.strip(" \t,") and not line.lstrip().startswith("#")]
    if not lines:
        raise ValueError("comment lines only")
    return cast("Table", text_tables.read(lines, format="csv"))

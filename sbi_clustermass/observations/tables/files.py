"""A file of any supported format -> an astropy table with stripped column names."""

import warnings
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from clustermocks.io.paths import as_path
from sbi_clustermass.observations.tables.containers import read_fits, read_votable
from sbi_clustermass.observations.tables.errors import TableError, encodable, first_line, problem
from sbi_clustermass.observations.tables.hdf5_tables import read_hdf5
from sbi_clustermass.observations.tables.parquet_tables import read_parquet
from sbi_clustermass.observations.tables.raw_columns import PLAIN, RawColumn, read_column
from sbi_clustermass.observations.tables.text_tables import read_text

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.table import Table

TEXT, CONTAINERS = "text", {"fits": read_fits, "votable": read_votable, "hdf5": read_hdf5}
FORMATS = {
    ".csv": TEXT,
    ".tsv": TEXT,
    ".txt": TEXT,
    ".dat": TEXT,
    ".tbl": TEXT,
    ".mrt": TEXT,
    ".cat": TEXT,
    ".asc": TEXT,
    ".ecsv": TEXT,
    ".fits": "fits",
    ".fit": "fits",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".parquet": "parquet",
}
_DAMAGED = "it looks damaged: copy or download it again, or write it again with the program that made it"
_OTHERS = {
    **dict.fromkeys((".zip", ".bz2", ".xz", ".zst", ".z", ".tar", ".tgz", ".7z"), "unpack it first"),
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), "save its sheet as .csv"),
    **dict.fromkeys((".feather", ".arrow"), "in Python, infer(pyarrow.feather.read_table(PATH))"),
    **dict.fromkeys(
        (".json", ".jsonl", ".ndjson"), "in Python, infer(pandas.read_json(PATH)), with lines=True for lines"
    ),
    ".gz": "name it after what is in it: .csv.gz, .fits.gz",
    "": "name it after what is in it: .csv for text, .fits",
}
_BEGINNINGS = {  # of other files than the suffix says
    b"SIMPLE  =": ("a FITS file", ".fits"),
    b"\x89HDF": ("an HDF5 file", ".h5"),
    b"PAR1": ("a Parquet file", ".parquet"),
    b"<?xml": ("an XML file", ".vot"),
    b"\x1f\x8b": ("compressed by gzip", ".csv.gz or .fits.gz"),
    b"PK\x03\x04": ("a zip archive or a spreadsheet", ".zip, and unpack it"),
}
_ZIPPED = ("text", "fits", "votable")  # kinds that may end in .gz


def read_file(path: Path, wanted: str | None = None, *, ids: Set[str] = frozenset()) -> "Table":
    """Read one table of numbers, at least one row long.

    Args:
        path: Text (separated by commas, semicolons, tabs, bars or blanks; comment lines start with #), ECSV, FITS,
            VOTable, HDF5 or Parquet; text, FITS and VOTable also gzipped.
        wanted: Name of the table, where a FITS, VOTable or HDF5 file holds several, or as `TableOptions.table`.
        ids: Names or numbers of columns, besides the usual ones, that hold names of clusters: text keeps its zeros.

    Raises:
        TableError: No such file, an unknown suffix, no table in it, several of them, or no rows.
    """
    path = as_path(path)
    kind = _format(path)
    try:
        table = _read(path, kind, wanted, ids)
    except TableError:
        raise
    except (Exception, MemoryError) as error:  # six parsers may raise anything on a damaged file
        what = f"not a readable {_suffix(path)[1:].removesuffix('.gz').upper()} table."
        advice = "a line of column names, then as many values a row, in UTF-8" if kind == TEXT else _DAMAGED
        raise problem(path.name, what, found=first_line(error), advice=_true_kind(path, kind) or advice) from error
    if not len(table):
        raise problem(path.name, "the table has no rows.", found=f"columns {', '.join(table.colnames) or '(none)'}")
    flatten(table)
    return table


def _true_kind(path: Path, kind: str) -> str:
    """Advice on a file whose beginning is that of another kind than its suffix says, "" if it is not."""
    with path.open("rb") as file:
        start = file.read(400)
    for beginning, (words, suffix) in _BEGINNINGS.items():
        if start.startswith(beginning) and FORMATS.get(suffix) != kind and path.suffix.lower() != ".gz":
            return f"it is {words}: rename it to end in {suffix}"
    is_text = kind in ("fits", "hdf5", "parquet") and start.isascii() and min(start) >= ord("\t")
    return "it looks like text: rename it to end in .csv or .dat" if is_text else ""


def flatten(table: "Table") -> None:
    """Convert to plain columns what astropy keeps in ECSV and FITS: quantities, sky coordinates, times, records."""
    from astropy.table import Column

    for name in table.colnames:
        column = cast("Any", table[name])
        if type(column).__name__ == "SkyCoord":
            _flatten_sky(table, name, column)
            continue
        is_plain = isinstance(table[name], Column) and column.dtype.kind in PLAIN
        if not is_plain:
            values = column.isot if hasattr(column, "isot") else getattr(column, "value", column)
            about, meta = (column.info.unit, "", column.info.description or ""), column.info.meta or {}
            plain = read_column(RawColumn(name, lambda values=values: values, *about), len(table))
            cast("dict[str, Any]", plain.meta).update(meta)
            table.replace_column(name, plain)
        if name != name.strip() and name.strip() not in table.colnames:
            table.rename_column(name, name.strip())


def _flatten_sky(table: "Table", name: str, sky: "SkyCoord") -> None:
    from astropy.table import Column

    table.remove_column(name)
    for ours in ("ra", "dec"):
        angle = getattr(cast("Any", sky.icrs), ours).deg
        table[ours if ours not in table.colnames else f"{name}_{ours}"] = Column(angle, unit="deg")


def table_name(path: Path) -> str:
    """Strip the suffix of a file's name: 'a119.csv.gz' -> 'a119'."""
    return encodable(path.name.removesuffix(_suffix(path)) if _suffix(path).lower() in _known() else path.stem)


def _known() -> list[str]:
    return [*FORMATS, *(f"{suffix}.gz" for suffix, kind in FORMATS.items() if kind in _ZIPPED)]


def _suffix(path: Path) -> str:
    last = path.suffix
    return Path(path.stem).suffix + last if last.lower() == ".gz" else last


def _format(path: Path) -> str:
    """Name of the format by suffix, for a file that exists and is not empty."""
    try:
        size = path.stat().st_size
    except OSError as error:
        found = f"nothing at {path}" if isinstance(error, FileNotFoundError) else str(error)
        raise problem(path.name, "no such file.", found=found, advice="check the path") from error
    if path.is_dir():
        raise problem(path.name, "a folder, not a table.", advice="pass a file, or several")
    suffix = _suffix(path).lower()
    if suffix not in _known():
        what = f"unknown kind of file {suffix or '(no suffix)'!r}."
        raise problem(
            path.name, what, advice=_OTHERS.get(path.suffix.lower()) or f"save it as one of {', '.join(FORMATS)}"
        )
    if size == 0:
        raise problem(path.name, "the file is empty.", found="0 bytes")
    return FORMATS[suffix.removesuffix(".gz")]


def _read(path: Path, kind: str, wanted: str | None, ids: Set[str]) -> "Table":
    import astropy.table  # noqa: F401  (if first imported below, its logger would print the warnings that are caught here)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # odd units and headers are checked later, for the columns that are ours
        if kind in CONTAINERS:
            table = CONTAINERS[kind](path, wanted)
        else:
            table = read_parquet(path) if kind == "parquet" else read_text(path, ids)
    for warning in caught:
        if "truncated" in str(warning.message).lower():
            raise ValueError(str(warning.message).strip())
    return table

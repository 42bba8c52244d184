"""Readers of FITS files and VOTables, which may hold several tables."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sbi_clustermass.observations.tables.chosen_table import chosen_table
from sbi_clustermass.observations.tables.raw_columns import RawColumn, table_of

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.io.votable.tree import Field, TableElement
    from astropy.table import Table

_BEGIN, _END = (f"--{word}-ASTROPY-SERIALIZED-COLUMNS--" for word in ("BEGIN", "END"))


def read_fits(path: Path, wanted: str | None) -> "Table":
    """Read a binary or ASCII table of a FITS file."""
    from astropy.io import fits

    with fits.open(path, memmap=False) as units:
        tables = [(hdu.name, hdu) for hdu in units if isinstance(hdu, (fits.BinTableHDU, fits.TableHDU))]
        return _fits_table(cast("fits.BinTableHDU", chosen_table(path, tables, wanted)))


def _fits_table(hdu: "fits.BinTableHDU") -> "Table":
    header = cast("fits.Header", hdu.header)
    numbers = range(1, cast("int", header["TFIELDS"]) + 1)
    names = [str(header.get(f"TTYPE{i}", f"col{i}")) for i in numbers]
    for i in numbers:
        header[f"TTYPE{i}"] = f"c{i}"  # two columns of one name cannot be read
    columns = [
        RawColumn(name, _fits_reader(hdu, i - 1), _fits_unit(header, i), *_fits_meaning(header, i))
        for i, name in zip(numbers, names, strict=True)
    ]
    return table_of(columns, cast("int", header["NAXIS2"]), _astropy_meta(header))


def _fits_unit(header: "fits.Header", i: int) -> object:
    from astropy import units as u

    text = str(header.get(f"TUNIT{i}", "")).strip()
    return cast("Any", u.Unit)(text, format="fits", parse_strict="silent") if text else None


def _fits_reader(hdu: "fits.BinTableHDU", i: int) -> Callable[[], np.ndarray]:
    """Reader of a column: values in its unit, masked where they are missing in the file."""
    from astropy.io import fits

    def read() -> np.ndarray:
        data, stored = cast("Any", hdu.data), cast("Any", hdu.data).view(np.ndarray)[f"c{i + 1}"]
        null = data.columns[i].null
        if isinstance(hdu, fits.TableHDU):
            return _ascii_column(stored, data.columns[i], null)
        values = np.asarray(data.field(i))
        if null is not None and stored.dtype.kind in "iu":
            return np.ma.array(values, mask=stored == null)
        if values.dtype.kind == "S":
            return np.strings.rstrip(values)
        missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(1, bool)
        return np.ma.array(values, mask=missing) if missing.any() else values

    return read


def _ascii_column(stored: np.ndarray, column: "fits.Column", null: object) -> np.ndarray:
    """Values of a column of an ASCII table, which is missing where it is blank or its TNULL."""
    texts = np.strings.strip(stored.astype(str))
    missing = (texts == "") | (texts == str(null).strip())
    if str(column.format).upper().startswith("A"):
        return np.ma.array(texts, mask=missing)
    exponents = np.strings.replace(np.strings.upper(np.where(missing, "0", texts)), "D", "E")
    if str(column.format).upper().startswith("I") and not (column.bscale or column.bzero):
        return np.ma.array(exponents.astype(np.int64), mask=missing)
    scale, zero = (
        default if value in ("", None) else value for value, default in ((column.bscale, 1), (column.bzero, 0))
    )
    return np.ma.array(exponents.astype(float) * scale + zero, mask=missing)


def _astropy_meta(header: "fits.Header") -> dict[str, Any]:
    """What astropy wrote of quantities, coordinates and times into the comments of a FITS table."""
    from astropy.table.meta import get_header_from_yaml

    lines = [str(line) for line in cast("Any", header.get("COMMENT", ()))]
    if _BEGIN not in lines or _END not in lines:
        return {}
    text = "".join(
        f"{line[:70]}" if len(line) == 71 else f"{line}\n"
        for line in lines[lines.index(_BEGIN) + 1 : lines.index(_END)]
    )
    return dict(get_header_from_yaml(text.split("\n")).get("meta", {}))


def read_votable(path: Path, wanted: str | None) -> "Table":
    """Read a table of a VOTable."""
    from astropy.io.votable import parse

    found = parse(path, verify="ignore", invalid="mask").iter_tables()
    table: TableElement = chosen_table(path, [(table.name or table.ID or "", table) for table in found], wanted)
    columns = [_votable_column(table, field) for field in table.fields]
    return table_of(columns, len(table.array))


def _fits_meaning(header: "fits.Header", i: int) -> tuple[str, str]:
    """UCD, by a convention of TOPCAT and others, and description of a column."""
    return str(header.get(f"TUCD{i}", "")), str(header.get(f"TCOMM{i}", ""))


def _votable_column(table: "TableElement", field: "Field") -> RawColumn:
    about = field.unit, field.ucd or "", field.description or ""
    return RawColumn(field.name or field.ID or "", lambda: table.array[field.ID], *about)

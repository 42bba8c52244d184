"""Text files as people and archives write them -> astropy tables.

Separators, preambles, comments, lines of units, byte order marks, line ends and headers of ECSV, IPAC and MRT are
recognised.
"""

import gzip
import re
from collections.abc import Collection, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sbi_clustermass.observations.tables.access import NO_NAMES, ROWS_LOST
from sbi_clustermass.observations.tables.column_names import is_quantity
from sbi_clustermass.observations.tables.errors import counted, problem
from sbi_clustermass.observations.tables.raw_columns import RawColumn, table_of
from sbi_clustermass.observations.tables.text_layout import (
    Layout,
    fields,
    find_layout,
    fits,
    is_comment,
    is_number,
    rows_among,
    widths,
)

if TYPE_CHECKING:
    from astropy.table import Table

_TYPES = re.compile(r"\b(double|float|real|int|long|[dfril])\b", re.IGNORECASE)  # of columns of IPAC tables
_FORMATS = re.compile(r"^(\s*(?:\d+\s*-)?\s*\d+\s+)[IFE](\d+)(?:\.\d+)?", re.MULTILINE)  # of columns in MRT headers


def read_text(path: Path, ids: Set[str] = frozenset()) -> "Table":
    """Read a table of text.

    Args:
        path: The file, which may be gzipped.
        ids: Names or numbers of columns, besides the usual ones, that hold names of clusters: 0012 stays 0012.
    """
    text = _decoded(gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes())
    form = _form(text)
    if form is None:
        return _read_plain(path, text, ids, {})
    try:
        return _read_form(text, form)
    except Exception:  # a field that is no number, for one, costs such a reader the table
        if form == "ascii.ecsv":
            return _read_plain(path, text, ids, _ecsv_units(text))
        return _read_form(_all_text(text, form), form)


def _decoded(raw: bytes) -> str:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = raw.decode("utf-16")
    else:
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
    text = text.rstrip("\x1a")  # the end of a file, as DOS marked it
    if re.search(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]", text):
        raise ValueError("binary data instead of text")
    return text.replace("\N{MINUS SIGN}", "-")


def _form(text: str) -> str | None:
    """Name of the format of a table whose header describes it, as astropy calls it."""
    if text.startswith("# %ECSV"):
        return "ascii.ecsv"
    if "Byte-by-byte Description" in text:
        return "ascii.mrt" if text.lstrip().startswith("Title:") else "ascii.cds"
    return "ascii.ipac" if text.startswith("\\") or re.match(r"\|[^\n]*\|\s*\n\|", text) else None


def _read_form(text: str, form: str) -> "Table":
    from astropy.table import Table

    return cast("Table", Table.read(text, format=form))


def _all_text(text: str, form: str) -> str:
    """Declare all columns of an IPAC or MRT table to be text, which any field is."""
    if form != "ascii.ipac":
        return _FORMATS.sub(r"\1A\2", text)
    lines = text.split("\n")
    second = [i for i, line in enumerate(lines) if line.startswith("|")][1]
    lines[second] = _TYPES.sub(lambda kind: "char"[: len(kind[0])].ljust(len(kind[0])), lines[second])
    return "\n".join(lines)


def _ecsv_units(text: str) -> dict[str, str]:
    from astropy.table.meta import get_header_from_yaml

    header = get_header_from_yaml(line[2:] for line in text.splitlines() if line.startswith("# "))
    return {each["name"]: each["unit"] for each in header.get("datatype", ()) if "unit" in each}


def _read_plain(path: Path, text: str, ids: Set[str], units: Mapping[str, str]) -> "Table":
    """Read lines of fields; units that the header gives come before those of a line below the names."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    layout = find_layout(lines)
    _check_end(lines[-1], layout)
    rows, lost = _sound_rows(path, lines, layout)
    below = dict(zip(layout.names, layout.units, strict=False)) | dict(units)
    values = _values(rows, layout, _id_columns(layout.names, ids))
    columns = [
        RawColumn(name, lambda each=each: each, below.get(name))
        for name, each in zip(layout.names, values, strict=True)
    ]
    meta: dict[str, Any] = {ROWS_LOST: lost} if lost else {}
    if layout.unnamed:
        meta[NO_NAMES] = [lines[layout.rows[0]].strip()[:60]]
    return table_of(columns, len(rows), meta)


def _check_end(last: str, layout: Layout) -> None:
    """Refuse a file whose last line is the beginning of a row; other words may stand there."""
    parts = fields(last, layout.separator) or [""]
    if not last.strip() or is_comment(last) or len(parts) >= len(layout.names) or not is_number(parts[0]):
        return
    raise ValueError(f"the file ends in the middle of a row: {last.strip()[:60]!r}")


def _sound_rows(path: Path, lines: Sequence[str], layout: Layout) -> tuple[list[str], list[str]]:
    """Rows that have as many fields as there are names, and sentences about the others."""
    mark, n, rows = layout.separator, len(layout.names), [lines[i] for i in layout.rows]
    odd = [i for i, found in enumerate(widths(rows, mark)) if found != n]
    bad = [i for i in odd if not fits(rows[i], mark, n)]
    for i in odd:
        rows[i] = rows[i].rstrip(" ")[:-1]  # the mark at the end of a row
    lost = []
    if bad:
        at, line = layout.rows[bad[0]] + 1, lines[layout.rows[bad[0]]]
        first = f"line {at} has {widths([line], mark)[0]}: {line.strip()[:60]!r}"
        if 2 * len(bad) >= len(rows):
            few = f"{counted(len(bad), 'row')} of {len(rows)} without the {n} fields of the column names"
            advice = "name all columns, and quote fields that hold blanks or separators"
            raise problem(path.name, f"not a readable table: {few}.", found=first, advice=advice)
        lost.append(f"{counted(len(bad), 'line')} left out, without the {n} fields of the column names ({first})")
        rows = [row for i, row in enumerate(rows) if i not in set(bad)]
    if above := rows_among(lines, layout.above, mark, n):
        lost.append(f"{counted(len(above), 'row')} left out, above the column names (the first in line {above[0] + 1})")
    return rows, lost


def _id_columns(names: Sequence[str], ids: Set[str]) -> set[int]:
    """Indices of columns of names of clusters, which are text as it is written even if they look like numbers."""
    numbered = enumerate(names)
    return {
        i for i, name in numbered if is_quantity(name, "id") or not ids.isdisjoint((name, str(i + 1), name.lower()))
    }


def _values(rows: Sequence[str], layout: Layout, texts: Collection[int]) -> Sequence[np.ndarray]:
    """Values of the columns: numbers, or text where it is wanted or a field is no number."""
    from astropy.io import ascii as text_tables

    mark, numbers = layout.separator, range(len(layout.names))
    head, last = mark.join(f"c{i}" for i in numbers), mark.join("x" if i in texts else "0" for i in numbers)
    if not rows:
        return [np.zeros(0) for _ in numbers]
    try:  # astropy takes a column with an x for text
        form = "basic" if mark == " " else "csv"
        read: Any = text_tables.read([head, *rows, last], format=form, delimiter=mark, guess=False)
    except Exception:  # quotes that do not end
        read = ()
    if len(read) != len(rows) + 1:
        return [np.array(column) for column in zip(*(fields(row, mark) for row in rows), strict=True)]
    return [read[f"c{i}"][:-1] for i in numbers]

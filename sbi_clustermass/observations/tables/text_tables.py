"""Text files as people and archives write them -> astropy tables.

Separators, comments, lines of units, byte order marks, line ends, and ECSV, IPAC and MRT headers are recognised.
"""

import gzip
import re
from collections.abc import Collection, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sbi_clustermass.observations.tables.access import set_unit
from sbi_clustermass.observations.tables.column_names import is_quantity

if TYPE_CHECKING:
    from astropy.table import Table

_SEPARATORS = ("\t", ";", "|", ",")
_COMMENTS = ("#", "//", "%")
_QUOTED = re.compile(r'"[^"]*"')


def read_text(path: Path, ids: Set[str] = frozenset()) -> "Table":
    """Read a table of text.

    Args:
        path: The file, which may be gzipped.
        ids: Names or numbers of columns, besides the usual ones, that hold names of clusters: 0012 stays 0012.
    """
    text = _decoded(gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes())
    if special := _with_header(text):
        return special
    lines = re.split(r"\r\n|\r|\n", text)
    body = [line for line in lines if line.strip(" \t,;|") and not line.lstrip().startswith(_COMMENTS)]
    if not body:
        raise ValueError("comment lines only")
    separator = _separator(body)
    names, rows = _names(lines, body, separator)
    units, rows = _units(rows, separator)
    _check_end(lines[-1], len(names), separator)
    table = _table(names, rows, separator, _id_columns(names, ids))
    for name, unit in zip(names, units, strict=False):
        if unit and name in table.colnames:
            set_unit(table, name, unit)
    return table


def _fields(line: str, separator: str) -> list[str]:
    """Split a line into fields without quotes and outer blanks; blanks in a row separate once."""
    if separator == " ":
        return [part.strip('"') for part in re.findall(r'"[^"]*"|\S+', line)]
    hidden = _QUOTED.sub(lambda quoted: "\0" * len(quoted[0]), line)
    ends = [i for i, mark in enumerate(hidden) if mark == separator]
    starts = [0, *(end + 1 for end in ends)]
    return [line[a:b].strip().strip('"').strip() for a, b in zip(starts, [*ends, len(line)], strict=True)]


def _is_number(text: str) -> bool:
    """Whether a field is a number, with a decimal point or comma."""
    return re.fullmatch(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?", text.strip()) is not None


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


def _with_header(text: str) -> "Table | None":
    """Read a table whose header describes it; None if it has no such header."""
    from astropy.table import Table

    if text.startswith("# %ECSV"):
        form = "ascii.ecsv"
    elif "Byte-by-byte Description" in text:
        form = "ascii.mrt" if text.lstrip().startswith("Title:") else "ascii.cds"
    elif text.startswith("\\") or re.match(r"\|[^\n]*\|\s*\n\|", text):
        form = "ascii.ipac"
    else:
        return None
    return cast("Table", Table.read(text, format=form))


def _separator(body: Sequence[str]) -> str:
    """Guess the separator: one that splits names and first row into as many fields, else the most frequent."""
    head = _QUOTED.sub("", body[0])
    marks = [mark for mark in _SEPARATORS if mark in head]
    if not marks:
        return " "
    equal = [m for m in marks if len(_fields(body[0], m)) == len(_fields(body[min(1, len(body) - 1)], m))]
    return max(equal or marks, key=head.count)


def _names(lines: Sequence[str], body: list[str], separator: str) -> tuple[list[str], list[str]]:
    """Column names and the rows below; the names may be in the last comment before the first row."""
    names, rows = _fields(body[0], separator), body[1:]
    if any(_is_number(name) for name in names):
        before = [line.lstrip().lstrip("#/% ") for line in lines[: lines.index(body[0])] if line.strip()]
        comment = _fields(before[-1], separator) if before else []
        if len(comment) != len(names) or any(_is_number(name) for name in comment):
            raise ValueError(f"no line of column names: the first line is {body[0].strip()[:60]!r}")
        names, rows = comment, body
    names = [name or f"column {i + 1}" for i, name in enumerate(names)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two columns are named {name!r}: rename one")
    return names, rows


def _units(rows: list[str], separator: str) -> tuple[list[str], list[str]]:
    """Units from the line between names and dashes, as VizieR writes it, and the rows below."""
    for line in (0, 1):
        if len(rows) > line and re.fullmatch(r"[-\s=+|;,]*--[-\s=+|;,]*", rows[line]):
            return (_fields(rows[0], separator) if line else []), rows[line + 1 :]
    return [], rows


def _check_end(last: str, n: int, separator: str) -> None:
    """Refuse a file that ends in the middle of a row."""
    if last.strip() and not last.lstrip().startswith(_COMMENTS) and len(_fields(last, separator)) < n:
        raise ValueError(f"the file ends in the middle of a row: {last.strip()[:60]!r}")


def _id_columns(names: Sequence[str], ids: Set[str]) -> set[str]:
    """Columns of names of clusters, which are text as it is written, whether or not they look like numbers."""
    numbered = enumerate(names, 1)
    return {name for i, name in numbered if is_quantity(name, "id") or not ids.isdisjoint((name, str(i), name.lower()))}


def _table(names: Sequence[str], rows: Sequence[str], separator: str, texts: Collection[str]) -> "Table":
    from astropy.io import ascii as text_tables

    quoted = ['"' + name.replace('"', "'") + '"' for name in names]
    head, form = separator.join(quoted), "basic" if separator == " " else "csv"
    if not rows:
        from astropy.table import Table

        return Table(names=list(names))
    last = separator.join("x" if name in texts else "0" for name in names)  # astropy takes a column with an x for text
    table = cast("Table", text_tables.read([head, *rows, last], format=form, delimiter=separator, guess=False))
    return cast("Table", table[:-1])

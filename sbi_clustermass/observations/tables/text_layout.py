"""Where a text file has its column names, and what separates its fields.

The names stand above the rows, perhaps behind a preamble; or in a comment; or nowhere.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

from sbi_clustermass.observations.tables.column_names import ALIASES, angle_word, base_name, length_words, speed_word

SEPARATORS = ("\t", ";", "|", ",")
COMMENTS = ("#", "//", "%")
_QUOTED = re.compile(r'(?:^|(?<=[\t;|,]))\s*"[^"]*"')
_DASHES = re.compile(r"[-\s=+|;,]*--[-\s=+|;,]*")
_LISTED = re.compile(r"(?:col(?:umn)?\s*)?\(?(\d+)\)?\s*[:.)=]?\s+([^\s:,;]+)", re.IGNORECASE)  # "1 RA", "(1) RA: deg"
_KNOWN = {alias for aliases in ALIASES.values() for alias in aliases} | {"r"}
_NO_UNIT = ("", "-", "--", "---", "none")
_HEAD, _SAMPLE = 200, 60  # lines that may hold the names; rows that show how many fields there are


@final
@dataclass(frozen=True)
class Layout:
    """Arrangement of a text file.

    Attributes:
        separator: Mark between the fields; a blank for any number of blanks.
        names: Names of the columns; their numbers where the file does not name them.
        units: Units of the columns, or of none.
        rows: Indices of the lines below the names.
        above: Indices of the lines above the names, comments left out.
        unnamed: Whether the file does not name its columns.
    """

    separator: str
    names: Sequence[str]
    units: Sequence[str]
    rows: Sequence[int]
    above: Sequence[int] = ()
    unnamed: bool = False


class _Header(NamedTuple):
    """A line that may hold the names; the larger one is preferred."""

    in_body: bool
    has_mark: bool  # other than blanks, which are in names and rows, too
    known: int
    width: int
    order: int  # the first one in the body, the last comment
    line: int
    mark: str
    names: list[str]


def find_layout(lines: Sequence[str]) -> Layout:
    """Find names, units and rows in the lines of a file.

    Raises:
        ValueError: There are only comments.
    """
    bare = [line.lstrip() for line in lines]
    body = [i for i, line in enumerate(bare) if not line.startswith(COMMENTS) and line.strip(" \t,;|")]
    if not body:
        raise ValueError("comment lines only")
    first, above = lines[body[0]], [_bare(line) for line in lines[: body[0]] if is_comment(line)]
    mark = _mark(first, lines[body[min(1, len(body) - 1)]])
    if (listed := _listed(above)) and fits(first, mark, len(listed)):
        return Layout(mark, listed, [], body)
    found = max(_headers(lines, body), default=None)
    if found is not None and found.in_body:
        at = body.index(found.line)
        units, skipped = _units([lines[i] for i in body[at + 1 : at + 3]], found.mark, len(found.names))
        return Layout(found.mark, found.names, units, body[at + 1 + skipped :], body[:at])
    if found is not None:
        below = [_bare(line) for line in lines[found.line + 1 : body[0]] if _bare(line)]
        return Layout(found.mark, found.names, _units(below[:1], found.mark, len(found.names))[0], body)
    names = fields(first, mark)
    if any(map(is_number, names)):
        return Layout(mark, [str(i) for i, _ in enumerate(names, 1)], [], body, unnamed=True)
    return Layout(mark, names, [], body[1:])


def fields(line: str, mark: str) -> list[str]:
    """Split a line into fields without quotes and outer blanks; blanks in a row separate once."""
    if mark == " ":
        return [part.strip('"') for part in re.findall(r'"[^"]*"|\S+', line)]
    hidden = _QUOTED.sub(lambda quoted: "\0" * len(quoted[0]), line)
    ends = [i for i, each in enumerate(hidden) if each == mark]
    starts = [0, *(end + 1 for end in ends)]
    return [line[a:b].strip().strip('"').strip() for a, b in zip(starts, [*ends, len(line)], strict=True)]


def widths(rows: Sequence[str], mark: str) -> list[int]:
    """Numbers of fields in rows."""
    if mark == " ":
        return [len(row.split() if '"' not in row else fields(row, mark)) for row in rows]
    return [row.count(mark) + 1 if '"' not in row else len(fields(row, mark)) for row in rows]


def fits(row: str, mark: str, n: int) -> bool:
    """Whether a row has some number of fields; a mark at its end does not count."""
    (found,) = widths([row], mark)
    return found == n or (found == n + 1 and row.rstrip(" ").endswith(mark) and mark != " ")


def is_comment(line: str) -> bool:
    """Whether a line is a comment."""
    return line.lstrip().startswith(COMMENTS)


def is_number(text: str) -> bool:
    """Whether a field is a number, with a decimal point or comma."""
    return re.fullmatch(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?", text.strip()) is not None


def _headers(lines: Sequence[str], body: Sequence[int]) -> Iterator[_Header]:
    """Lines near the top whose fields could be names, and are as many as those of most rows."""
    sample, inside = body[-_SAMPLE:], set(body[:_HEAD])
    last = min(body[min(len(body), _HEAD) - 1], body[0] + _HEAD)
    for i in range(last + 1):
        if not _bare(lines[i]) or _DASHES.fullmatch(lines[i]):
            continue
        below = [lines[j] for j in sample if j > i]
        if not below and i != body[0]:
            continue
        for mark in (*SEPARATORS, " "):
            names = _names(_bare(lines[i]), mark, below) if mark in lines[i] else []
            known = sum(base_name(name) in _KNOWN for name in names)
            if names and i in inside and (known > 1 or not rows_among(lines, body[: body.index(i)], mark, len(names))):
                yield _Header(True, mark != " ", known, len(names), -i, i, mark, names)
            elif names and i < body[0]:
                order = i - len(lines) * _are_units(names)
                yield _Header(False, mark != " ", known, len(names), order, i, mark, names)


def rows_among(lines: Sequence[str], some: Sequence[int], mark: str, n: int) -> list[int]:
    """Those of some lines that have the right number of fields, and numbers among them."""
    return [i for i in some if fits(lines[i], mark, n) and any(map(is_number, fields(lines[i], mark)))]


def _names(line: str, mark: str, rows: Sequence[str]) -> list[str]:
    """Fields of a line if they could be the names of columns of the rows, else none."""
    names = [name.strip(",;") for name in fields(line, mark)]
    known, numbers = sum(base_name(name) in _KNOWN for name in names), sum(map(is_number, names))
    if len(names) < 2 or (numbers and (known < 2 or 2 * numbers > len(names))):
        return []
    for found in (names[:-1], names) if not names[-1] else (names,):
        if 2 * sum(fits(row, mark, len(found)) for row in rows) >= len(rows):
            return found
    return []


def _bare(line: str) -> str:
    return line.lstrip().lstrip("#/% ").strip(" ") if is_comment(line) else line


def _mark(first: str, second: str) -> str:
    """Guess the separator: one that splits two lines into as many fields, else the most frequent."""
    head = _QUOTED.sub("", first)
    marks = [mark for mark in SEPARATORS if mark in head]
    equal = [mark for mark in marks if len(set(widths([first, second], mark))) == 1]
    return max(equal or marks, key=head.count, default=" ")


def _units(below: Sequence[str], mark: str, n: int) -> tuple[list[str], int]:
    """Units from the line below the names, and the number of lines that are no rows, dashes among them."""
    for line in (0, 1):
        if len(below) > line and _DASHES.fullmatch(below[line]):
            return (fields(below[0], mark) if line else []), line + 1
    found = fields(below[0], mark) if below and fits(below[0], mark, n) else []
    return ([text.strip("[]() ") for text in found], 1) if _are_units(found) else ([], 0)


def _are_units(texts: Sequence[str]) -> bool:
    given = [text.strip("[]() ") for text in texts if text.strip("[]() ").lower() not in _NO_UNIT]
    return bool(given) and all(map(_is_unit, given))


def _is_unit(text: str) -> bool:
    from astropy import units as u

    if is_number(text):
        return False
    if angle_word(text) or speed_word(text) or length_words(text)[0]:
        return True
    try:
        return bool(u.Unit(text))
    except (ValueError, TypeError):
        return False


def _listed(comments: Sequence[str]) -> list[str]:
    """Names from comments that list the columns with their numbers, as SExtractor does."""
    found = [match for match in map(_LISTED.match, comments) if match]
    return [match[2] for match in found] if [int(match[1]) for match in found] == list(range(1, len(found) + 1)) else []

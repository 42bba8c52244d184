"""One HTML file of sections that contains its style, script and pictures, and loads nothing."""

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import chain, count
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template

from clustermocks.io.atomic import replacing
from clustermocks.io.paths import as_path
from clustermocks.io.version import installed_version
from sbi_clustermass.report.content import Section, Table, screen_size
from sbi_clustermass.report.inline import as_html

_PACKAGE = "sbi_clustermass.report"
_NUMBER = re.compile(r"[<>≤≥~≈±+\-−]*\s*(\d|\.\d|inf|nan)", re.IGNORECASE)
_EMPTY = ("", "-", "–", "—")
_LONG, _WIDE, _SHORT = 30, 8, 12  # characters of a cell, columns, rows


def html(title: str, sections: Sequence[Section], *, lead: str = "") -> str:
    """Return a self-contained page; the same sections always give the same page.

    All text is escaped except code and links (`inline`), and the page's security policy forbids foreign scripts and
    requests.

    Args:
        title: Title of the page.
        sections: Sections in their order; two or more get a list of contents.
        lead: A sentence or two below the title.
    """
    return template("page.html").render(
        title=title,
        lead=lead,
        parts=list(_parts(sections)),
        style=packaged("page.css"),
        script=packaged("page.js"),
        version=installed_version("sbi-clustermass"),
    )


def write(path: str | Path, title: str, sections: Sequence[Section], *, lead: str = "") -> None:
    """Write the page of `html` atomically.

    Raises:
        OSError: The file cannot be written.
    """
    page = html(title, sections, lead=lead)
    with replacing(as_path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")


@cache
def template(name: str, package: str = _PACKAGE) -> Template:
    """Return a template of a package, which may include the templates of this one; values are escaped."""
    loader = ChoiceLoader([PackageLoader(package, ""), PackageLoader(_PACKAGE, "")])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "inline": as_html,
        "classes": _classes,
        "kinds": _kinds,
        "size": screen_size,
        "base64": lambda png: b64encode(png).decode("ascii"),
        "digest": lambda text: "sha256-" + b64encode(sha256(text.encode()).digest()).decode("ascii"),
    }
    return environment.get_template(name)


def packaged(name: str, package: str = _PACKAGE) -> str:
    """Return the text of a file that is part of a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _parts(sections: Sequence[Section]) -> Iterator[tuple[Section, str]]:
    """Pair each section with its anchor: the title in letters, digits and hyphens, made unique."""
    taken = {"contents"}
    for section in sections:
        name = re.sub(r"[\W_]+", "-", section.title.casefold()).strip("-") or "section"
        names = chain([name], (f"{name}-{number}" for number in count(2)))
        anchor = next(each for each in names if each not in taken)
        taken.add(anchor)
        yield section, anchor


def _classes(table: Table) -> str:
    sortable = len(table.rows) > 2 and len(table.header) > 2  # a list of settings is not
    marks = {"sortable": sortable, "wide": len(table.header) > _WIDE, "short": len(table.rows) <= _SHORT}
    return " ".join(mark for mark, on in marks.items() if on)


def _kinds(table: Table) -> list[str]:
    """Return how each column is set and sorted: text, prose or number; the first column names the rows."""
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.header)
    return ["text", *map(_kind, columns[1:])]


def _kind(column: Sequence[str]) -> str:
    cells = [cell.strip() for cell in column if cell.strip() not in _EMPTY]
    if max(map(len, cells), default=0) > _LONG:
        return "prose"
    return "number" if cells and all(map(_NUMBER.match, cells)) else "text"

"""Sections as one HTML file that needs nothing else: style, script and pictures are inside, and nothing is loaded."""

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import chain, count
from pathlib import Path
from typing import final

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from clustermocks.io.atomic import replacing
from clustermocks.io.settings import installed_version
from sbi_clustermass.report.content import Section, Table, screen_size
from sbi_clustermass.report.inline import Piece, pieces

_PACKAGE = "sbi_clustermass.report"
_NUMBER = re.compile(r"[<>≤≥~≈±+\-−]*\s*(\d|\.\d|inf|nan)", re.IGNORECASE)
_NOTHING = ("", "-", "–", "—")
_LONG, _WIDE, _SHORT = 30, 8, 12  # characters of a cell, columns, rows


@final
@dataclass(frozen=True)
class _Part:
    section: Section
    anchor: str


def html(title: str, sections: Sequence[Section], *, lead: str = "") -> str:
    """A page that stands alone: no network, no other file; the same sections always give the same page.

    All text is escaped. Code and links are marked as `content` says; nobody's HTML gets through, and a policy in the
    page forbids any script but its own and any request.

    Args:
        title: Of the page.
        sections: In their order; with two or more a list of contents leads to them.
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
    """Write the page of `html`, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    page = html(title, sections, lead=lead)
    with replacing(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")


@cache
def template(name: str, package: str = _PACKAGE) -> Template:
    """A page of a package, which may include the parts of this one; all that is put into it is escaped."""
    loader = ChoiceLoader([PackageLoader(package, ""), PackageLoader(_PACKAGE, "")])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "inline": _inline,
        "classes": _classes,
        "kinds": _kinds,
        "size": screen_size,
        "base64": lambda png: b64encode(png).decode("ascii"),
        "digest": lambda text: "sha256-" + b64encode(sha256(text.encode()).digest()).decode("ascii"),
    }
    return environment.get_template(name)


def packaged(name: str, package: str = _PACKAGE) -> str:
    """Text of a file that is part of a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _parts(sections: Sequence[Section]) -> Iterator[_Part]:
    """Each section with the anchor that links lead to: its title in letters, digits and hyphens."""
    taken = {"contents"}
    for section in sections:
        name = re.sub(r"[\W_]+", "-", section.title.casefold()).strip("-") or "section"
        names = chain([name], (f"{name}-{number}" for number in count(2)))
        anchor = next(each for each in names if each not in taken)
        taken.add(anchor)
        yield _Part(section, anchor)


def _inline(text: str) -> Markup:
    return Markup("").join(map(_marked, pieces(text)))


def _marked(piece: Piece) -> Markup:
    if piece.kind == "code":
        return Markup("<code>{}</code>").format(piece.text)
    if piece.kind == "link":
        return Markup('<a href="{}" rel="noreferrer">{}</a>').format(piece.address, piece.text)
    return Markup.escape(piece.text)


def _classes(table: Table) -> str:
    sortable = len(table.rows) > 2 and len(table.header) > 2  # a list of settings is not
    marks = {"sortable": sortable, "wide": len(table.header) > _WIDE, "short": len(table.rows) <= _SHORT}
    return " ".join(mark for mark, on in marks.items() if on)


def _kinds(table: Table) -> list[str]:
    """Of each column: how it is set, and whether it is sorted as numbers; the first names the rows."""
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.header)
    return ["text", *map(_kind, columns[1:])]


def _kind(column: Sequence[str]) -> str:
    said = [cell.strip() for cell in column if cell.strip() not in _NOTHING]
    if max(map(len, said), default=0) > _LONG:
        return "prose"
    return "number" if said and all(map(_NUMBER.match, said)) else "text"

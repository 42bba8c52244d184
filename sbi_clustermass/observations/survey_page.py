"""The HTML page of a survey: a summary, and a table of all clusters that can be sorted, filtered and paged.

Masses are M200c [h^-1 Msun] as log10_mass [dex]. Rows wait in temporary files: memory does not grow with them.
"""

import json
import os
import re
import shutil
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, TypeAlias, final
from urllib.parse import quote

import numpy as np

from clustermocks.io.atomic import replacing
from clustermocks.io.paths import as_path
from clustermocks.io.version import installed_version
from sbi_clustermass.estimator.verdict import Grade
from sbi_clustermass.observations.mass_table import COLUMNS, mass_row
from sbi_clustermass.observations.results import ClusterResult, MassResult
from sbi_clustermass.report.content import Picture
from sbi_clustermass.report.page import packaged, template

if TYPE_CHECKING:
    from sbi_clustermass.observations.model_stamp import ModelStamp

Add: TypeAlias = Callable[[ClusterResult, Path | None], None]
INLINE = 12  # figures inside the page: 0.4 MB each
_PACKAGE = "sbi_clustermass.observations"
_NUMBER = re.compile(r"(?<![\w^-])[-+]?\d+(\.\d+)?(e[-+]?\d+)?(\s?%)?")
_MOST_KINDS, _LISTED = 500, 25
_BINS = np.linspace(12.0, 17.0, 51)  # log10 mass [dex]
_ALT = "Histogram of the inferred masses, those of each verdict on top of the better ones."


@final
@dataclass(frozen=True)
class PageColumn:
    """Column of the page.

    Attributes:
        column: Name of the column in the table of masses.
        label: Heading.
        form: Format of its numbers, for `format`; "" for text.
    """

    column: str
    label: str
    form: str = ""

    @property
    def kind(self) -> str:
        """Kind of its values, by which it is aligned and sorted."""
        return "number" if self.form else "text"

    @property
    def description(self) -> str:
        """Meaning of the column."""
        return next(each.description for each in COLUMNS if each.name == self.column)


HEADS = (
    PageColumn("name", "name"),
    PageColumn("verdict", "verdict"),
    PageColumn("log10_mass_p50", "log10 M200c [h⁻¹ M☉]", ".3f"),
    PageColumn("log10_mass_p16", "16 %", ".3f"),
    PageColumn("log10_mass_p84", "84 %", ".3f"),
    PageColumn("log10_mass_mf_p50", "under the mass function", ".3f"),
    PageColumn("M200c", "M200c [10¹⁴ M☉]", ".2f"),
    PageColumn("n_galaxies", "galaxies", ".0f"),
    PageColumn("redshift", "z", ".4f"),
    PageColumn("warnings", "reasons, or why no mass"),
    PageColumn("M200c_p16", "M200c 16 %", ".2f"),
    PageColumn("M200c_p84", "M200c 84 %", ".2f"),
    PageColumn("r200c", "r200c [Mpc]", ".2f"),
    PageColumn("M500c", "M500c [10¹⁴ M☉]", ".2f"),
    PageColumn("M500c_p16", "M500c 16 %", ".2f"),
    PageColumn("M500c_p84", "M500c 84 %", ".2f"),
    PageColumn("log10_c200c", "log10 c200c", ".2f"),
    PageColumn("beta", "β", ".2f"),
    PageColumn("velocity_dispersion", "σ [km/s]", ".0f"),
    PageColumn("velocity_dispersion_error", "± [km/s]", ".0f"),
    PageColumn("ra", "RA [deg]", ".4f"),
    PageColumn("dec", "Dec [deg]", ".4f"),
)


@final
@dataclass
class _Summary:
    """Counts shown above the table: clusters by outcome, and by reason without its numbers.

    `masses` is the histogram of the medians by verdict, (verdict, bin).
    """

    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    masses: np.ndarray = field(default_factory=lambda: np.zeros((len(Grade), len(_BINS) - 1), int))

    def add(self, result: ClusterResult) -> None:
        """Count one cluster."""
        self.counts["clusters"] += 1
        if isinstance(result, MassResult):
            self.counts[result.verdict] += 1
            cell = int(np.clip(np.searchsorted(_BINS, result.percentiles[1]) - 1, 0, len(_BINS) - 2))
            self.masses[list(Grade).index(result.verdict), cell] += 1
            kinds = list(dict.fromkeys(map(warning_kind, result.warnings)))  # a set has no order
        else:
            self.counts["without a mass"] += 1
            kinds = [f"no mass: {warning_kind(_bare(result.name, result.reason))}"]
        for kind in kinds:
            known = kind in self.kinds or len(self.kinds) < _MOST_KINDS
            self.kinds[kind if known else "of other kinds"] += 1

    def lines(self) -> list[tuple[str, int]]:
        """Numbers of clusters by outcome."""
        masses = [(f"masses: {verdict}", self.counts[verdict]) for verdict in Grade]
        return [("masses", sum(n for _, n in masses)), *masses, ("without a mass", self.counts["without a mass"])]


def warning_kind(sentence: str) -> str:
    """Replace the numbers in a warning by dots, so that warnings of one kind are equal.

    Example:
        >>> kind_of("9 galaxies; the training clusters had 10 to 628")
        '… galaxies; the training clusters had … to …'
    """
    return _NUMBER.sub("…", sentence)


def _bare(name: str, reason: str) -> str:
    """First line of a reason, without the name of file and cluster in front."""
    first = reason.partition("\n")[0]
    where, colon, what = first.partition(": ")
    return what if colon and name in where else first


@contextmanager
def survey_page(path: Path, title: str, stamp: "ModelStamp", *, inline: int = INLINE) -> Iterator[Add]:
    """Write a page, one cluster a call: its result, and the path of its figure, if there is one.

    The file is written whole or not at all. The first `inline` figures are embedded, PNG only; the page links to the
    others.
    """
    path = as_path(path)
    with TemporaryFile("w+", encoding="utf-8") as rows, TemporaryFile("w+", encoding="utf-8") as pictures:
        page = _Page(path.parent, stamp, rows, pictures, inline)
        yield page.add
        _write(path, _frame(title, page), rows, pictures)


@final
@dataclass
class _Page:
    """Page in `folder` whose rows are added one after the other; rows and embedded figures wait in files, as JSON.

    There is `room` for so many further figures; where that is used up, `linked` says that the page links to some.
    """

    folder: Path
    stamp: "ModelStamp"
    rows: IO[str]
    pictures: IO[str]
    room: int
    linked: bool = False
    summary: _Summary = field(default_factory=_Summary)

    def add(self, result: ClusterResult, picture: Path | None = None) -> None:
        """Add one cluster."""
        link = "" if picture is None else self._embed(picture)
        _append(self.rows, [*_cells(result, self.stamp), link])
        self.summary.add(result)

    def _embed(self, picture: Path) -> str:
        """Embed a figure and return "", or return a link to it."""
        if self.room > 0 and picture.suffix == ".png":
            source = "data:image/png;base64," + b64encode(picture.read_bytes()).decode("ascii")
            _append(self.pictures, [self.summary.counts["clusters"], source])
            self.room -= 1
            return ""
        self.linked = True
        return quote(os.path.relpath(picture, self.folder).replace(os.sep, "/"))


def _cells(result: ClusterResult, stamp: "ModelStamp") -> list[str | list[str] | None]:
    """A cluster's row: text, numbers as text or None, sentences as a list."""
    row = mass_row(result, stamp)
    has_mass = isinstance(result, MassResult)
    sentences = [str(each) for each in result.reasons if each.grade is not Grade.USE] if has_mass else [result.reason]
    cells = {
        head.column: (format(row[head.column], head.form) if isfinite(float(row[head.column])) else None)
        for head in HEADS
        if head.form
    }
    verdict = str(result.verdict) if has_mass else "no mass"
    texts: dict[str, str | list[str]] = {"name": result.name, "verdict": verdict, "warnings": sentences}
    return [(texts | cells)[head.column] for head in HEADS]


def _append(file: IO[str], value: object) -> None:
    """Append an element to a list in JSON; no text in it can end the script."""
    file.write(",\n" if file.tell() else "")
    file.write(json.dumps(value, ensure_ascii=True).replace("<", "\\u003c"))


def _frame(title: str, page: _Page) -> tuple[str, str, str]:
    """The page in three parts: before, between and after rows and figures."""
    marks, stamp, summary = (token_hex(16), token_hex(16)), page.stamp, page.summary
    model = f"model {stamp.model or 'not saved'}, checksum {stamp.checksum or 'none'}, h = {stamp.h:g}"
    whole = template("survey.html", _PACKAGE).render(
        title=title,
        lead=f"Dynamical masses M200c of {_clusters(summary.counts['clusters'])}, by sbi_clustermass; {model}.",
        counts=summary.lines(),
        kinds=summary.kinds.most_common(_LISTED),
        picture=_picture(summary),
        alt=_ALT,
        caption="Medians; not the mass function, since errors and the prior blur it.",
        heads=HEADS,
        verdicts=[str(grade) for grade in Grade],
        note="Care: something was found to matter, in dex where it could be measured; read it before you use the mass.",
        rows_mark=marks[0],
        pictures_mark=marks[1],
        style=packaged("page.css") + packaged("survey.css", _PACKAGE),
        script=packaged("survey.js", _PACKAGE),
        version=installed_version("sbi-clustermass"),
        linked=page.linked,
    )
    before, rest = whole.split(marks[0])
    between, after = rest.split(marks[1])
    return before, between, after


def _clusters(n: int) -> str:
    return "1 cluster" if n == 1 else f"{n} clusters"


def _write(path: Path, frame: tuple[str, str, str], rows: IO[str], pictures: IO[str]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", errors="xmlcharrefreplace") as page:
        page.write(frame[0])
        for file, after in ((rows, frame[1]), (pictures, frame[2])):
            file.seek(0)
            shutil.copyfileobj(file, page)
            page.write(after)


def _picture(summary: _Summary) -> bytes | None:
    """Histogram of the masses as PNG; None without masses."""
    from matplotlib.figure import Figure

    from sbi_clustermass.report.style import BLUE, GREY, MASS, ORANGE

    filled = np.flatnonzero(summary.masses.sum(axis=0))
    if not filled.size:
        return None
    figure = Figure(figsize=(5.4, 3.0), layout="constrained")
    axes, width = figure.subplots(), np.diff(_BINS)
    below = np.cumsum(summary.masses, axis=0) - summary.masses
    for verdict, colour, n, bottom in zip(Grade, (BLUE, ORANGE, GREY), summary.masses, below, strict=True):
        axes.bar(_BINS[:-1], n, width, bottom=bottom, align="edge", color=colour, label=verdict)
    axes.set(xlim=(_BINS[filled[0]] - 0.2, _BINS[filled[-1] + 1] + 0.2), xlabel="median " + MASS)
    axes.set_ylabel("clusters")
    axes.legend(fontsize=8)
    return Picture("masses", figure, _ALT).png()

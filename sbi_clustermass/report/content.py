"""Content of a report, whatever shows it: sections of text, tables and pictures.

Texts, notes, captions and warnings may hold `code` in backticks and [words](https://...), as `inline` reads them.
Titles, headings, cells and descriptions are plain.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, final

from matplotlib.figure import Figure

from sbi_clustermass.report.inline import as_markdown, escaped

if TYPE_CHECKING:
    from rich.table import Table as RichTable

DPI = 192  # two pixels for each of CSS's, which are 1/96 inch
_SCREEN = 96
_FILE_NAME = re.compile(r"\w[\w .,+=-]{0,99}")


@final
@dataclass(frozen=True)
class Table:
    """A table of text cells.

    Attributes:
        title: Title in one line.
        header: Heading of each column, with units.
        rows: Cells, each row as long as the header; the first cell names the row.
        note: Note below the table.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.header)]
        if wrong:
            raise ValueError(f"table {self.title!r}: a row of {len(wrong[0])} cells under {len(self.header)} headings.")

    def rich(self) -> "RichTable":
        """Return the table for a terminal."""
        from rich.table import Table as RichTable
        from rich.text import Text  # in a plain string, "[dex]" would be a style

        table = RichTable(title=Text(self.title), title_justify="left", caption_justify="left")
        table.caption = Text(self.note) if self.note else None
        for i, name in enumerate(self.header):
            table.add_column(Text(name), justify="right" if i else "left")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table

    def markdown(self) -> str:
        """Return a padded Markdown table with the note below it."""
        cells = [[*map(escaped, row)] for row in (self.header, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells]
        rule = "|-" + "-|-".join("-" * width for width in widths) + "-|"
        note = ["", as_markdown(self.note)] if self.note else []
        return "\n".join([f"**{escaped(self.title)}**", "", lines[0], rule, *lines[1:], *note])


@final
@dataclass(frozen=True)
class Picture:
    """A figure with its description.

    Attributes:
        name: File name without suffix.
        figure: A matplotlib figure, or the bytes of a PNG file.
        alt: Description for readers who cannot see the figure.
        caption: Explanation shown under the figure.
    """

    name: str
    figure: Figure | bytes
    alt: str
    caption: str = ""

    def __post_init__(self) -> None:
        if not _FILE_NAME.fullmatch(self.name):
            raise ValueError(f"picture {self.name!r}: its name must do for a file: letters, digits and _ . + - = only.")
        if not self.alt.strip():
            raise ValueError(f"picture {self.name!r}: alt is empty. Say in a sentence what is to be seen.")
        if isinstance(self.figure, bytes):
            _check_png(self.name, self.figure)

    def png(self) -> bytes:
        """Return the bytes of a PNG file: rendered at `DPI` dots per inch, or as they were read."""
        if isinstance(self.figure, bytes):
            return self.figure
        file = BytesIO()
        self.figure.savefig(file, format="png", dpi=DPI)
        return file.getvalue()


@final
@dataclass(frozen=True)
class Section:
    """A heading with text, warnings, tables and pictures below it, in this order.

    Attributes:
        title: Heading.
        text: Paragraphs.
        tables: Tables with their notes.
        pictures: Pictures with their captions.
        commands: Shell commands that reproduce the section; each may have several lines.
        warnings: Reasons not to trust the section, one sentence each.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    commands: Sequence[str] = ()
    warnings: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("text", "commands", "warnings"):
            if isinstance(getattr(self, name), str):
                raise TypeError(f"section {self.title!r}: {name} is one string; give a list of strings.")


def screen_size(png: bytes) -> tuple[int, int]:
    """Return width and height of a PNG file on a page [CSS pixels of 1/96 inch], from its dots per inch."""
    from PIL import Image

    with Image.open(BytesIO(png), formats=["PNG"]) as image:
        (width, height), (x, y) = image.size, image.info.get("dpi", (_SCREEN, _SCREEN))
    return max(round(width * _SCREEN / x), 1), max(round(height * _SCREEN / y), 1)


def _check_png(name: str, png: bytes) -> None:
    from PIL import Image

    try:
        with Image.open(BytesIO(png), formats=["PNG"]) as image:
            image.verify()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"picture {name!r}: these bytes are no whole PNG file ({error}).") from error

"""What a report is made of: sections of text, tables and pictures, whoever shows them.

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
    """Numbers as text in rows and columns.

    Attributes:
        title: What it shows, in a line.
        header: Of each column, with units.
        rows: Cells as text, each row as long as the header; the first names the row.
        note: What a reader must know to read it rightly.
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
        """For the terminal."""
        from rich.table import Table as RichTable
        from rich.text import Text  # plain: "[dex]" in a string would be taken for a style

        table = RichTable(title=Text(self.title), title_justify="left", caption_justify="left")
        table.caption = Text(self.note) if self.note else None
        for i, name in enumerate(self.header):
            table.add_column(Text(name), justify="right" if i else "left")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table

    def markdown(self) -> str:
        """As a padded Markdown table, the note below it."""
        cells = [[*map(escaped, row)] for row in (self.header, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells]
        rule = "|-" + "-|-".join("-" * width for width in widths) + "-|"
        note = ["", as_markdown(self.note)] if self.note else []
        return "\n".join([f"**{escaped(self.title)}**", "", lines[0], rule, *lines[1:], *note])


@final
@dataclass(frozen=True)
class Picture:
    """A figure with what it shows.

    Attributes:
        name: Of its file, without suffix.
        figure: The matplotlib figure, or a PNG file's bytes.
        alt: What is to be seen, for those who cannot see it.
        caption: What it means; shown under it.
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
        """The picture as a PNG file of `DPI` dots per inch, or as it was read."""
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
        title: The heading.
        text: Paragraphs.
        tables: With their notes.
        pictures: With their captions.
        commands: Shell commands that reproduce it; each may have several lines.
        warnings: Why not to trust what stands here, a sentence each.
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
    """Width and height of a PNG file on a page [CSS pixels of 1/96 inch], by the dots per inch it was written with."""
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

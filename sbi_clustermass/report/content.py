"""What a report is made of: sections of text, tables and pictures, whoever shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from rich.table import Table as RichTable


@final
@dataclass(frozen=True)
class Table:
    """Numbers as text in rows and columns.

    Attributes:
        title: What it shows, in a line.
        header: Of each column, with units.
        rows: Cells as text, each row as long as the header.
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

        table = RichTable(title=self.title, title_justify="left", caption=self.note or None, caption_justify="left")
        for i, name in enumerate(self.header):
            table.add_column(name, justify="right" if i else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """As a padded Markdown table, the note below it."""
        cells = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells]
        rule = "|-" + "-|-".join("-" * width for width in widths) + "-|"
        return "\n".join([f"**{self.title}**", "", lines[0], rule, *lines[1:], *(["", self.note] if self.note else [])])


@final
@dataclass(frozen=True)
class Picture:
    """A figure with what it shows.

    Attributes:
        name: Of its file, without suffix.
        figure: The matplotlib figure.
        alt: What is to be seen, for those who cannot see it.
        caption: What it means; shown under it.
    """

    name: str
    figure: Figure
    alt: str
    caption: str = ""


@final
@dataclass(frozen=True)
class Section:
    """A heading with text, tables and pictures below it, in this order.

    Attributes:
        title: The heading.
        text: Paragraphs.
        tables: With their notes.
        pictures: With their captions.
        commands: Shell commands that reproduce it.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    commands: Sequence[str] = ()

"""Sections as Markdown, for files such as results.md."""

import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from sbi_clustermass.report.content import Picture, Section
from sbi_clustermass.report.inline import as_markdown, escaped


def markdown(sections: Sequence[Section], *, pictures: str = "") -> str:
    """Sections in GitHub's Markdown. Pictures are linked as NAME.png, where `save_sections` writes them.

    Args:
        sections: In their order.
        pictures: Folder of the pictures as seen from the Markdown file, such as "figures"; by default beside it.

    Example:
        >>> print(markdown([Section("Residuals", ["Of `mdn`, in dex."])]))
        ## Residuals
        <BLANKLINE>
        Of `mdn`, in dex.
        <BLANKLINE>
    """
    folder = quote(pictures.rstrip("/")) + "/" if pictures else ""
    return "\n\n".join(block for section in sections for block in _blocks(section, folder)) + "\n"


def _blocks(section: Section, folder: str) -> Iterator[str]:
    yield f"## {escaped(section.title)}"
    yield from map(as_markdown, section.text)
    if section.warnings:
        yield "\n".join(f"> **Warning:** {as_markdown(warning)}  " for warning in section.warnings)
    yield from (table.markdown() for table in section.tables)
    for picture in section.pictures:
        yield from _picture(picture, folder)
    if section.commands:
        yield "\n".join([(fence := _fence(section.commands)) + "sh", *section.commands, fence])


def _picture(picture: Picture, folder: str) -> Iterator[str]:
    yield f"![{escaped(picture.alt)}]({folder}{quote(picture.name)}.png)"
    if picture.caption:
        yield as_markdown(picture.caption)


def _fence(commands: Sequence[str]) -> str:
    """Longer than any run of backticks within."""
    longest = max((len(run) for command in commands for run in _backticks(command)), default=0)
    return "`" * max(3, longest + 1)


def _backticks(text: str) -> list[str]:
    return re.findall("`+", text)

"""Markdown files of sections, such as results.md."""

import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from sbi_clustermass.report.content import Picture, Section
from sbi_clustermass.report.inline import as_markdown, escaped


def markdown(sections: Sequence[Section], *, pictures: str = "") -> str:
    """Return sections in GitHub's Markdown. Pictures are linked as NAME.png, the names that `save_sections` gives them.

    Args:
        sections: Sections in their order.
        pictures: Folder of the pictures relative to the Markdown file, such as "figures"; by default the same folder.

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
    """Return a fence longer than any run of backticks in the commands."""
    longest = max((len(run) for command in commands for run in re.findall("`+", command)), default=0)
    return "`" * max(3, longest + 1)

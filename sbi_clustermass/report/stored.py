"""Sections on disk: any command can save results that a report shows later.

`sections.json` holds texts, tables and captions; the picture NAME is the file NAME.png in the same folder. Nothing is
unpickled, and no file outside the folder is read.
"""

from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Any

from msgspec import convert, to_builtins

from clustermocks.io.atomic import read_header, replacing
from clustermocks.io.paths import as_path
from sbi_clustermass.report.content import Picture, Section, Table

FILE = "sections.json"
_FORMAT = 1
_LISTS = ("text", "commands", "warnings")


def save_sections(folder: str | Path, sections: Sequence[Section]) -> None:
    """Write sections into a folder, which is created if missing; each file is written atomically.

    Raises:
        ValueError: Two pictures have one name.
        OSError: The folder cannot be written.
    """
    folder, pictures = as_path(folder), [picture for section in sections for picture in section.pictures]
    names = [picture.name.casefold() for picture in pictures]  # one file where case makes no difference
    twice = [picture.name for picture in pictures if names.count(picture.name.casefold()) > 1]
    if twice:
        raise ValueError(f"{folder}: two pictures are named {twice[0]!r}. Give each its own name.")
    for picture in pictures:
        with replacing(folder / f"{picture.name}.png") as temporary:
            temporary.write_bytes(picture.png())
    card = {"format": _FORMAT, "sections": [_described(section) for section in sections]}
    with replacing(folder / FILE) as temporary:
        temporary.write_text(dumps(card, indent=1), encoding="utf-8")


def load_sections(folder: str | Path) -> list[Section]:
    """Read what `save_sections` wrote.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: There are no sections, or a file is missing, damaged, of another format or outside the folder.
    """
    folder = as_path(folder)
    (cards,) = read_header(folder, FILE, form=_FORMAT, what="sections that save_sections wrote", fields=("sections",))
    try:
        return [_section(card, folder) for card in cards]
    except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        raise ValueError(f"{folder / FILE}: damaged ({error}). Run again what wrote it.") from error


def _described(section: Section) -> dict[str, Any]:
    pictures = [{"name": each.name, "alt": each.alt, "caption": each.caption} for each in section.pictures]
    lists = {name: list(getattr(section, name)) for name in _LISTS}
    return {"title": section.title, **lists, "tables": to_builtins(section.tables), "pictures": pictures}


def _section(card: dict[str, Any], folder: Path) -> Section:
    return Section(
        title=convert(card["title"], str),
        tables=convert(card["tables"], tuple[Table, ...]),
        pictures=tuple(_picture(each, folder) for each in card["pictures"]),
        **{name: convert(card[name], tuple[str, ...]) for name in _LISTS},
    )


def _picture(card: dict[str, Any], folder: Path) -> Picture:
    name, alt, caption = (convert(card[key], str) for key in ("name", "alt", "caption"))
    path = (folder / f"{name}.png").resolve()  # where a link in the folder leads, too
    if path.parent != folder.resolve():
        raise ValueError(f"picture {name!r} is not in the folder")
    return Picture(name, path.read_bytes(), alt, caption)

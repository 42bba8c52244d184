"""The little markup that texts may hold: `code` in backticks, and [words](https://...). All else stands as it is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, final

_ADDRESS = r"https?://(?:[^\s()<>\"`\\]|\([^\s()<>\"`\\]*\))+"
_MARK = re.compile(rf"`(?P<code>[^`]+)`|\[(?P<words>[^\[\]]+)\]\((?P<address>{_ADDRESS})\)")
_SPECIAL = re.compile(r"[\\*<~`|\[\]]|&(?=[#\w]+;)|(?<!\w)_|_(?!\w)|!$|#(?=#*$)")  # to Markdown; not so a_b
# what opens a list, a heading or a quote
_OPENING = re.compile(r"^(?:(?P<n>\d{1,9})(?=[.)](?:\s|$))|(?=[#>=]|[+-](?:[\s-]|$)))")


@final
@dataclass(frozen=True)
class Piece:
    """A part of a text.

    Attributes:
        kind: What it is.
        text: Its words, without marks.
        address: Where a link leads; web addresses only.
    """

    kind: Literal["plain", "code", "link"]
    text: str
    address: str = ""


def pieces(text: str) -> Iterator[Piece]:
    """Split a text into plain parts, code and links."""
    end = 0
    for mark in _MARK.finditer(text):
        if mark.start() > end:
            yield Piece("plain", text[end : mark.start()])
        yield Piece("code", mark["code"]) if mark["code"] else Piece("link", mark["words"], mark["address"])
        end = mark.end()
    if end < len(text):
        yield Piece("plain", text[end:])


def as_markdown(text: str) -> str:
    """A text as a Markdown paragraph, in one line: its own marks stay, and no other character has a meaning."""
    return _OPENING.sub(r"\g<n>\\", "".join(map(_markdown, pieces(" ".join(text.split())))))


def escaped(text: str) -> str:
    """A plain text for a Markdown file, in one line: no character has a meaning."""
    return _without_meaning(" ".join(text.split()))


def _without_meaning(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text)


def _markdown(piece: Piece) -> str:
    if piece.kind == "code":
        return f"`{piece.text}`"
    if piece.kind == "link":
        return f"[{escaped(piece.text)}]({piece.address})"
    return _without_meaning(piece.text)  # with the blanks between it and what stands beside it

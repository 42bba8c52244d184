"""What a user reads when a table cannot be used: where, what, what was found, what to try."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import final


@final
class TableError(ValueError):
    """A table of galaxies that gives no cluster; the message says why and what to do."""


def problem(where: str, what: str, *, found: str = "", advice: str = "") -> TableError:
    """A TableError of up to three lines.

    Args:
        where: The file's name.
        what: What is wrong, one sentence.
        found: What was there instead.
        advice: What to do about it.
    """
    lines = [f"{where}: {what}"]
    if found:
        lines.append(f"  found:  {found}")
    if advice:
        lines.append(f"  try:    {advice}")
    return TableError("\n".join(lines))


def closest(word: str, choices: Iterable[str]) -> str | None:
    """The choice spelled most like `word`, if any is close."""
    near = get_close_matches(word, list(choices), n=1)
    return near[0] if near else None


def shorten(names: Iterable[str], limit: int = 12) -> str:
    """Names in one line, the first `limit` of them."""
    names = list(names)
    more = f", and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more

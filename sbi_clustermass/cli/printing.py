"""What a command prints: its results, and notes and progress where these are wanted."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from json import dumps
from math import isfinite
from pathlib import Path
from re import match
from textwrap import wrap
from typing import TYPE_CHECKING, NoReturn, final

from rich.console import Console

from sbi_clustermass.observations.sanitize import printable

if TYPE_CHECKING:
    from rich.table import Table as RichTable

_LABEL = r"  (?:try:  |found:)? *\S.*?  +|"  # of a line whose text stands in a column


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


@final
@dataclass(frozen=True)
class Printing:
    """How a command prints.

    Attributes:
        quiet: Whether only results are printed, without notes and progress.
        json: Whether results are printed as JSON, one object a line, with notes and progress on standard error.
    """

    quiet: bool = False
    json: bool = False

    @cached_property
    def notes(self) -> Console:
        """Console for notes and progress."""
        return _Console(highlight=False, soft_wrap=True, quiet=self.quiet, stderr=self.json)

    @cached_property
    def _results(self) -> Console:
        return _Console(highlight=False, soft_wrap=True, quiet=self.json)

    def note(self, text: str) -> None:
        """Print a note, one line or several."""
        _print(self.notes, text)

    def text(self, text: str) -> None:
        """Print a result for a reader, one line or several; nothing, where results are for a program."""
        _print(self._results, text)

    def table(self, table: "RichTable") -> None:
        """Print a result for a reader as a table; nothing, where results are for a program."""
        self._results.print(table)

    def facts(self, facts: Mapping[str, object]) -> None:
        """Print a result for a program, where that is wanted."""
        if self.json:
            print(dumps(as_json(facts), ensure_ascii=False), flush=True)

    def wrote(self, *paths: Path, text: str, **facts: object) -> None:
        """Print the last result of a command: what it wrote."""
        self.text(text)
        self.facts({"wrote": paths, **facts})


def _print(console: Console, text: str) -> None:
    for line in printable(text).split("\n"):
        for part in hanging(line, console.width) if console.is_terminal else [line]:
            console.print(part, markup=False)


def hanging(line: str, width: int) -> list[str]:
    """Break a line that is too long for a terminal; what follows stands under its text, to the right of a label.

    Example:
        >>> hanging("  redshift      0.0445, biweight of 292 galaxies", 36)
        ['  redshift      0.0445, biweight of', '                292 galaxies']
    """
    label = match(_LABEL, line)
    indent = label.end() if label and label.end() <= width // 2 else 4
    rest = " " * indent
    return wrap(line, width, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False) or [line]


def as_json(value: object) -> object:
    """Convert to what JSON holds; a number that is not finite becomes null, a path text."""
    if isinstance(value, Mapping):
        return {str(name): as_json(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(each) for each in value]
    if callable(plain := getattr(value, "tolist", None)):  # of numpy
        return as_json(plain())
    if isinstance(value, float):
        return value if isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def leave_broken_pipe() -> NoReturn:
    """End as other programs do whose reader, `head` say, has gone: at once, and without a message."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes nowhere
    sys.exit(141)

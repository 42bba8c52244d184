"""Text tables with a `#` header that names the columns, a bounded number of lines at a time."""

import gzip
import re
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import TextIO, cast

import numpy as np

from clustermocks.io.paths import as_path

INTEGERS = ("id", "upid", "flags")


def header(path: Path) -> list[str]:
    """The lines that start with # at the top of the file, without it."""
    path = as_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    lines = []
    try:
        with _open(path) as file:
            for line in file:
                if not line.startswith("#"):
                    break
                lines.append(line[1:].strip())
    except (OSError, EOFError) as error:
        raise ValueError(f"{path}: not readable ({error}).") from error
    return lines


def column_names(path: Path) -> list[str]:
    """Names in the first header line, without the numbers in brackets behind them: `x(17)` is x."""
    lines = header(path)
    if not lines:
        raise ValueError(f"{path}: does not start with a # line that names the columns; nothing is read by position.")
    return [re.sub(r"\(\d+\)$", "", name) for name in lines[0].split()]


def stream(path: Path, columns: Mapping[str, str], rows: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield columns, by our names for those in the header, at most `rows` rows at a time; `.gz` files are unpacked.

    Raises:
        ValueError: A line has too few columns or holds something that is not a number; the file is truncated.
    """
    path = as_path(path)
    names = column_names(path)
    layout = np.dtype([(ours, "i8" if ours in INTEGERS else "f8") for ours in columns])
    places = [names.index(theirs) for theirs in columns.values()]
    try:
        with _open(path) as file:
            lines = (line for line in file if line.strip() and not line.startswith("#"))
            done = 0
            for first in lines:
                block = list(chain([first], islice(lines, rows - 1)))
                yield _parse(path, block, layout, places, width=len(names), done=done)
                done += len(block)
    except (OSError, EOFError) as error:
        raise ValueError(f"{path}: not readable, or truncated ({error}).") from error


def _parse(
    path: Path, block: list[str], layout: np.dtype, places: list[int], *, width: int, done: int
) -> dict[str, np.ndarray]:
    where = f"{path}, data rows {done + 1} to {done + len(block)}"
    found = len(block[-1].split())
    if found != width:
        raise ValueError(
            f"{where}: the last has {found} columns, the header names {width}. Is the file truncated? Copy it again."
        )
    try:
        table = np.loadtxt(block, dtype=layout, usecols=places, comments=None, ndmin=1)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return {name: table[name] for name in cast("tuple[str, ...]", layout.names)}


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", errors="replace")
    return path.open(encoding="utf-8", errors="replace")

"""The table that is wanted, of the tables of one file; each is named so that no other can be meant."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from sbi_clustermass.observations.tables.errors import closest, problem, shorten

T = TypeVar("T")


def chosen_table(path: Path, tables: Sequence[tuple[str, T]], wanted: str | None) -> T:
    """Return the only table of a file, or the one that is wanted.

    Args:
        path: File, for messages.
        tables: Names, "" for none, and tables in the order of the file.
        wanted: Name of a table, its number in the file from 1, or both: NAME#NUMBER.

    Raises:
        TableError: No table, several, or none that is wanted.
    """
    names = [name for name, _ in tables]
    labels = [_label(names, i) for i in range(len(names))]
    if not tables:
        raise problem(path.name, "no table in the file.", advice="save the galaxies as a table, a row each")
    meant = _meant(names, wanted) if wanted is not None else list(range(len(tables)))
    if len(meant) == 1:
        return tables[meant[0]][1]
    if meant:
        what = "several tables in the file." if wanted is None else f"{len(meant)} tables could be {wanted!r}."
        advice = f"--table {shlex.quote(labels[meant[0]])}"
        raise problem(path.name, what, found=shorten(labels[i] for i in meant), advice=advice)
    near = closest(str(wanted), labels)
    advice = f"--table {shlex.quote(near)}" if near else "--table with one of these names, or a number from 1"
    raise problem(path.name, f"no table {wanted!r}.", found=shorten(labels), advice=advice)


def _meant(names: Sequence[str], wanted: str) -> list[int]:
    """Indices of the tables that could be meant: NAME#NUMBER means one, a name or a number perhaps several."""
    match = re.fullmatch(r"(.*)#(\d+)", wanted, re.DOTALL)
    if match and 1 <= int(match[2]) <= len(names) and names[int(match[2]) - 1] == match[1]:
        return [int(match[2]) - 1]
    return [i for i, name in enumerate(names) if wanted in (name or None, str(i + 1))]


def _label(names: Sequence[str], i: int) -> str:
    """Shortest of the words that mean only this table."""
    short = names[i] or str(i + 1)
    return short if _meant(names, short) == [i] else f"{names[i]}#{i + 1}"

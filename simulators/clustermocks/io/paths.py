"""Paths as users write them: a leading `~` or `~name` stands for a home folder, as in a shell."""

import os
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def as_path(path: str | PathLike[str]) -> Path:
    """Convert to a path and expand a leading `~`; a name such as `~old.csv`, which is no user's, stays as it is.

    Every function that takes a path from outside passes it through here before the first use: shells expand neither
    `--out=~/masses.csv` nor what stands in quotes.

    Example:
        >>> as_path("~/masses.csv") == Path.home() / "masses.csv"
        True
    """
    found = Path(os.path.expanduser(path))  # Path.expanduser fails for a user that does not exist
    return found.absolute() if found.parts[:1] and found.parts[0].startswith("~") else found  # "./~" is not expanded


def expand_paths(options: "DataclassInstance") -> None:
    """Expand the paths among the fields of a frozen dataclass, from within its `__post_init__`."""
    for each in fields(options):
        if isinstance(value := getattr(options, each.name), Path):
            object.__setattr__(options, each.name, as_path(value))

"""Output files, refused before any work is done for them."""

import os
from collections.abc import Iterable
from pathlib import Path


def check_output(path: Path, suffixes: Iterable[str]) -> None:
    """Refuse, before any work, an output file that could not be written.

    Raises:
        ValueError: The suffix is of another kind of file, or the path is a folder.
        OSError: Its folder cannot be written.
    """
    if path.suffix not in suffixes:
        raise ValueError(f"{path}: unknown kind of file {path.suffix!r}. Choose from: {', '.join(suffixes)}.")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; name a file in it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path.parent}: this folder cannot be written.")

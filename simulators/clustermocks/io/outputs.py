"""Output files, refused before any work is done for them."""

import os
from collections.abc import Iterable
from pathlib import Path

from clustermocks.io.atomic import make_folder, unwritable


def check_output(path: Path, suffixes: Iterable[str]) -> None:
    """Refuse, before any work, an output file that could not be written.

    Raises:
        ValueError: The suffix is of another kind of file, or the path is a folder.
        OSError: Its folder cannot be made or written, or its name is too long.
    """
    if path.suffix not in suffixes:
        raise ValueError(f"{path}: unknown kind of file {path.suffix!r}. Choose from: {', '.join(suffixes)}.")
    try:
        if path.is_dir():
            raise ValueError(f"{path}: is a folder; name a file in it.")
    except OSError as error:  # a name of more than 255 bytes
        raise unwritable(path, error) or error from error
    make_folder(path.parent)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path.parent}: this folder cannot be written.\n  try:    another folder")

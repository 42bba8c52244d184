"""Files that appear whole or not at all."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def read_header(folder: Path, name: str, *, form: int, what: str, fields: tuple[str, ...]) -> list[Any]:
    """Fields of the JSON file that says what a folder holds.

    Args:
        folder: The folder.
        name: Of the file in it.
        form: Number of the format that this version reads.
        what: The folder, by what should have written it: "a box that convert wrote".
        fields: Names of the fields.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: The file is missing, damaged, or of another format.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder.")
    try:
        header = json.loads((folder / name).read_text(encoding="utf-8"))
        if header["format"] != form:
            raise ValueError(f"format {header['format']!r}; this version reads format {form}")
        return [header[each] for each in fields]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder}: not {what}, or damaged ({error}).") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes the name `path`, on failure nothing is left.

    Example:
        >>> with replacing(Path("table.csv")) as temporary:  # doctest: +SKIP
        ...     temporary.write_text("a,b")
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; on success it takes the name `path`, on failure nothing is left.

    Raises:
        FileExistsError: There is something at `path`; a folder is never written over.
    """
    if path.exists():
        raise FileExistsError(f"{path}: exists already. Choose another name, or remove it first.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

"""Files that appear whole or not at all, whatever happens while they are written.

A temporary file lies in the folder of the final one and is named after the process that writes it, so that the next
writer can distinguish leftovers of a killed process from files that a living one is writing.
"""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from platform import node
from stat import S_IMODE, S_ISDIR
from typing import Any
from zlib import crc32

from clustermocks.io.paths import as_path

_SHOWN = 40  # characters of a name in its temporary one, which must fit into 255 bytes
_MARK = re.compile(r"\..+\.(?P<host>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}(\.\w+)?")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_CODES = (*_FULL, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)
_CURE = {
    errno.ENOSPC: "free some space, or write elsewhere",
    errno.EDQUOT: "free some space, or write elsewhere",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or write elsewhere",
    errno.ENAMETOOLONG: "a shorter name",
}


def sha256_of(path: Path) -> str:
    """Checksum of a file, in hexadecimal digits."""
    with as_path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_header(folder: Path, name: str, *, form: int, what: str, fields: tuple[str, ...]) -> list[Any]:
    """Read fields of the JSON file that describes a folder.

    Args:
        folder: The folder.
        name: Name of the file.
        form: Number of the format that this version reads.
        what: The folder, by what should have written it: "a box that convert wrote".
        fields: Names of the fields.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: The file is missing, damaged, or of another format.
    """
    folder = as_path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder.")
    try:
        header = json.loads((folder / name).read_text(encoding="utf-8"))
        if header["format"] != form:
            raise ValueError(f"format {header['format']!r}; this version reads format {form}")
        return [header[each] for each in fields]
    except FileNotFoundError as error:
        raise ValueError(f"{folder}: not {what}, or damaged (no {name} in it).") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{folder}: not {what}, or damaged ({error}).") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; on success it takes the name `path`, on failure nothing is left.

    Leftovers of killed processes that wrote the same path are removed.

    Raises:
        OSError: The disk is full or cannot be written; a file that was there before is as it was.

    Example:
        >>> with replacing(Path("table.csv")) as temporary:  # doctest: +SKIP
        ...     temporary.write_text("a,b")
    """
    path = as_path(path)
    temporary = _beside(path)
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(S_IMODE(mode))  # safetensors writes files that only their owner may read
        _to_disk(temporary)
        temporary.replace(path)
    except Exception as error:
        if explained := unwritable(path, error, own=temporary):
            raise explained from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder next to `path`; on success it takes the name `path`, on failure nothing is left.

    Raises:
        FileExistsError: There is something at `path`; a folder is never written over.
        OSError: The disk is full or cannot be written.
    """
    path = as_path(path)
    if path.exists():
        raise FileExistsError(f"{path}: exists already. Choose another name, or remove it first.")
    temporary = _beside(path)
    try:
        temporary.mkdir()
        yield temporary
        temporary.replace(path)
    except Exception as error:
        if explained := unwritable(path, error, own=temporary):
            raise explained from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_folder(path: Path) -> Path:
    """Make a folder, and those above it, where they are not there."""
    path = as_path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "something else has this name" if isinstance(error, FileExistsError) else error.strerror or str(error)
        raise type(error)(f"{path}: no folder can be made here ({reason}).\n  try:    another folder") from error
    return path


def check_output(path: Path, suffixes: Iterable[str]) -> None:
    """Refuse, before any work, an output file that could not be written."""
    path = as_path(path)
    if path.suffix not in suffixes:
        raise ValueError(f"{path}: unknown kind of file {path.suffix!r}. Choose from: {', '.join(suffixes)}.")
    try:
        is_folder = S_ISDIR(path.stat().st_mode)  # is_dir hides errors from Python 3.14 on
    except (FileNotFoundError, NotADirectoryError):
        is_folder = False
    except OSError as error:  # a name of more than 255 bytes
        raise unwritable(path, error) or error from error
    if is_folder:
        raise ValueError(f"{path}: is a folder; name a file in it.")
    make_folder(path.parent)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path.parent}: this folder cannot be written.\n  try:    another folder")


@contextmanager
def scratch_folder(folder: Path, name: str) -> Iterator[Path]:
    """Make a temporary folder, whose name starts with `name`, in a folder, and remove it in the end.

    Leftovers of killed processes are removed before.
    """
    temporary = _beside(as_path(folder) / name)
    try:
        temporary.mkdir()
    except OSError as error:
        raise unwritable(folder, error) or error from error
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def unwritable(path: Path, error: Exception, *, own: Path | None = None) -> OSError | None:
    """Explain an error that comes from the disk; None for another error.

    Libraries wrap such an error in exceptions of their own, and keep the system's words for it.

    Args:
        path: What was being written.
        error: What a writer raised.
        own: The temporary file or folder; an error that names something else is another.
    """
    if isinstance(error, OSError) and error.errno is None and own and str(own) in str(error):  # explained already
        return type(error)(str(error).replace(str(own), str(path)))
    code = next((code for code in _FULL if os.strerror(code) in str(error)), None)
    if isinstance(error, OSError) and code is None:
        elsewhere = error.filename and own and not str(error.filename).startswith(str(own))
        code = error.errno if error.errno in _CODES and not elsewhere else None
    if code is None:
        return None
    kind = PermissionError if code in (errno.EACCES, errno.EPERM) else OSError
    message = f"{path}: cannot be written ({os.strerror(code).lower()}); what was there before is as it was."
    return kind(f"{message}\n  try:    {_CURE.get(code, 'another folder')}")


def remove_leftovers(folder: Path, name: str = "") -> None:
    """Remove temporary files that killed processes of this machine left, for one final name or for all."""
    start = f".{name[:_SHOWN]}."
    with os.scandir(folder) as entries:
        found = [entry.name for entry in entries if entry.name.startswith(start if name else ".")]
    for each in found:
        mark = _MARK.fullmatch(each)
        if mark and mark["host"] == _host() and not _lives(int(mark["process"])):
            shutil.rmtree(folder / each, ignore_errors=True)
            with suppress(OSError):  # another process may remove it, too
                (folder / each).unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """Name for a temporary file in the same folder, which is made; leftovers of the same name are removed.

    It is absolute: Arrow takes the relative path `a:b.parquet` for a URL.
    """
    make_folder(path.parent)
    remove_leftovers(path.parent, path.name)
    return path.parent.absolute() / f".{path.name[:_SHOWN]}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}"


def _host() -> str:
    """Eight letters for this machine: folders are shared between machines, numbers of processes are not."""
    return f"{crc32(node().encode()):08x}"


def _lives(process: int) -> bool:
    """Whether a process of this machine is alive, of whichever user; True where the system cannot say."""
    if os.name != "posix":  # there, signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _to_disk(path: Path) -> None:
    """Wait until the file is on the disk: a rename may be there before the file's content when the power fails."""
    with path.open("rb+") as file:  # Windows refuses for a file that is open for reading only
        os.fsync(file.fileno())

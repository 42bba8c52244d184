"""A lock on a run folder: one process at a time writes into it, a second one stops with a message that names the first.

The lock is the operating system's (flock, LockFileEx), on a file in the folder: it ends with its process, however that
ends, so that none is ever stale. It reaches across machines where the file system's locks do, NFS among them. Where
there are none, filelock marks the file instead, or a warning says that the folder is not locked.
"""

import errno
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from platform import node
from warnings import warn

from clustermocks.io.atomic import make_folder, remove_leftovers, unwritable
from clustermocks.io.paths import as_path

LOCK, OWNER = ".in-use", ".in-use.json"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
_SHOWN = 120


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Lock a folder for writing; it is made if missing, and half-written files of killed processes are removed.

    Raises:
        BlockingIOError: Another process writes into it; the message says which, where and since when.
        OSError: The folder cannot be made or written.

    Example:
        >>> with claimed(Path("runs/mine")):  # doctest: +SKIP
        ...     write_results()
    """
    from filelock import FileLock, Timeout

    folder = as_path(folder)
    lock = FileLock(str(make_folder(folder) / LOCK))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BlockingIOError(_taken(folder)) from error
    except (OSError, NotImplementedError) as error:
        _without_locks(folder, error)
    try:
        _sign(folder)
        remove_leftovers(folder)
        yield
    finally:
        for name in (OWNER, LOCK):  # while it is held: who opens it now finds, with the lock, that it is gone
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)
        lock.release()


def holds_only_a_claim(folder: Path) -> bool:
    """Whether a folder holds nothing but the files of this module."""
    return {path.name for path in folder.iterdir()} <= {LOCK, OWNER}


def _without_locks(folder: Path, error: Exception) -> None:
    if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
        raise unwritable(folder, error) or error from error
    warn(
        f"{folder}: its file system has no locks ({error}); see to it that one process at a time writes into it.",
        UserWarning,
        stacklevel=4,
    )


def _sign(folder: Path) -> None:
    """Write down who writes. A temporary file is not needed: a reader copes with half of the text."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    owner = {
        "process": os.getpid(),
        "host": node(),
        "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        "command": command if len(command) <= _SHOWN else f"{command[:_SHOWN]} ...",
    }
    try:
        (folder / OWNER).write_text(json.dumps(owner), encoding="utf-8")
    except OSError as error:
        raise unwritable(folder, error) or error from error


def _taken(folder: Path) -> str:
    try:
        owner = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        who = f"process {owner['process']} on {owner['host']}, since {owner['since']} ({owner['command']})"
    except (OSError, ValueError, KeyError, TypeError):  # it has just begun, or ended
        who = "another process, which has just begun or is about to end"
    return (
        f"{folder}: somebody else writes into this folder: {who}.\n"
        "  try:    wait until that has ended, or stop it; or choose another folder"
    )

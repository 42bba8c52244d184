"""What happens if a command is stopped by Ctrl-C or SIGTERM: one line says how to go on, and the status says why."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import NoReturn, final

ANEW = "No file is half-written; the same command begins again."


@final
class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM, as by a batch system whose time is up."""


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does: files are removed or whole, workers are stopped."""

    def stop(*_: object) -> NoReturn:
        raise Terminated

    if current_thread() is not main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def continuing(how: str) -> Iterator[None]:
    """Say how to go on if the work inside is stopped.

    Args:
        how: A sentence; `ANEW` is said without one.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note(how)
        raise


def leave_interrupted(error: KeyboardInterrupt) -> NoReturn:
    """Say how to go on, and exit with 128 and the number of the signal."""
    how = getattr(error, "__notes__", [ANEW])[0]
    print(f"clustermass: stopped. {how}", file=sys.stderr)
    sys.exit(128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT))

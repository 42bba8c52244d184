"""Progress of long work, reported through a callback: this library does not decide where it is shown."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Reports how far a stage of work has come."""

    def __call__(self, done: int, note: str = "") -> None:
        """Report the number of steps done so far, and a short note."""


class Stage(Protocol):
    """Opens one stage of work: `with stage("training", total) as advance: ...`."""

    def __call__(self, title: str, total: int | None) -> AbstractContextManager[Advance]:
        """Open a stage.

        Args:
            title: What is being done.
            total: Number of steps, or None if it is not known beforehand.
        """
        ...


@contextmanager
def silent(title: str, total: int | None) -> Iterator[Advance]:
    """Show nothing: the default `Stage` of library functions."""
    yield lambda done, note="": None

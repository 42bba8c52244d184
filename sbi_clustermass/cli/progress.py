"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from clustermocks.io.progress import Advance, Stage


def console_stage(console: Console) -> Stage:
    """Return a `Stage` that shows the progress of library functions on a console."""
    return partial(stage, console=console)


@contextmanager
def stage(title: str, total: int | None, console: Console) -> Iterator[Advance]:
    """Report one stage of work.

    Args:
        title: What is being done.
        total: Number of steps, or None where it is not known beforehand.
        console: Where to write.

    Yields:
        A function of (steps done so far, a short note).
    """
    start = monotonic()
    if console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task(title, total=total, note="")
            yield lambda done, note="": bar.update(task, completed=done, note=note)
            bar.stop_task(task)
    else:
        console.print(f"{title} ...")
        yield _Lines(title, total, console)
        console.print(f"{title}: done in {monotonic() - start:.0f} s")


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<34}"),
        BarColumn(bar_width=28),
        TextColumn("{task.completed:>6.0f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


class _Lines:
    """A line at each quarter of the work, or every twenty seconds where its length is not known."""

    def __init__(self, title: str, total: int | None, console: Console) -> None:
        self.title, self.total, self.console = title, total, console
        self.quarter, self.last = 0, monotonic()

    def __call__(self, done: int, note: str = "") -> None:
        quarter = 4 * done // self.total if self.total else 0
        if quarter <= self.quarter and (self.total or monotonic() - self.last < 20):
            return
        self.quarter, self.last = quarter, monotonic()
        share = f"{25 * quarter} %" if self.total else str(done)
        self.console.print(f"  {self.title}: {share} {note}".rstrip(), soft_wrap=True)

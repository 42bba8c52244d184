"""A run of any size, written part by part."""

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

from clustermocks.catalogue.folder import HEADER, StoredCatalogue
from clustermocks.io.lock import claimed
from clustermocks.mocks.run import MockRun

PART = 20  # chunks a part: 5000 hosts or 20 000 lines of sight at most, some 10 to 40 MB


def stream(
    run: MockRun, folder: Path, *, n_jobs: int | None, progress: Callable[[int], object] | None
) -> StoredCatalogue:
    """As HaloModel.simulate_to, which documents it. This process writes, whoever simulates."""
    parts = [range(first, min(first + PART, run.n_chunks)) for first in range(0, run.n_chunks, PART)]
    counts = [run.attempted(part) for part in parts]
    if (folder / HEADER).exists() and (stored := StoredCatalogue.open(folder)).is_whole(counts, run.settings()):
        if progress is not None:  # nothing is written, so that the folder may be one that cannot be
            progress(sum(counts))
        return stored
    with claimed(folder):
        for stale in folder.glob(".part-*.parquet.*"):  # of a killed run, on whatever machine: nobody else writes here
            stale.unlink(missing_ok=True)
        return _completed(StoredCatalogue.begin(folder, counts, run.settings()), run, parts, n_jobs, progress)


def _completed(
    stored: StoredCatalogue,
    run: MockRun,
    parts: Sequence[range],
    n_jobs: int | None,
    progress: Callable[[int], object] | None,
) -> StoredCatalogue:
    """The folder with the parts that it lacks."""
    counts = stored.counts
    todo = stored.missing()
    done = sum(counts) - sum(counts[index] for index in todo)
    if done and progress is not None:
        progress(done)
    with closing(run.chunks((chunk for index in todo for chunk in parts[index]), n_jobs)) as chunks:
        for index in todo:
            drawn = []
            for chunk in islice(chunks, len(parts[index])):
                drawn.append(chunk)
                done += len(chunk.counts)
                if progress is not None:
                    progress(done)
            stored.write(index, run.catalogue(drawn, parts[index].start))
    return stored

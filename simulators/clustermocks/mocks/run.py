"""One run of HaloModel: its masses in chunks, each with its own random stream, from which catalogues are put together.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TypeVar, final

import numpy as np
from jaxtyping import Float, Int

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.catalogue.folder import StoredCatalogue
from clustermocks.catalogue.part_folder import HEADER
from clustermocks.catalogue.provenance import Provenance
from clustermocks.io.lock import claimed
from clustermocks.io.parallel import ordered
from clustermocks.io.settings import REVISION, flat, to_json
from clustermocks.io.version import installed_version
from clustermocks.mocks.chunk import DRAW, simulate_chunk
from clustermocks.mocks.cluster_model import ClusterModel
from clustermocks.mocks.priors import FIXED, Priors
from clustermocks.mocks.spectroscopy import ObservedClusters

T = TypeVar("T")
CHUNK = 250  # most hosts that share a random stream: part of what a seed means
CHUNK_LINES = 1000  # most lines of sight through them, which bound a worker's memory: some 200 MB
PART = 20  # chunks a part: 5000 hosts or 20 000 lines of sight at most, some 10 to 40 MB


@final
@dataclass(frozen=True)
class MockRun:
    """One run of `HaloModel`, divided into chunks by its hosts and their lines alone: workers do not matter."""

    model: ClusterModel
    log10_mass: Float[np.ndarray, "host"]
    n_lines: Int[np.ndarray, "host"]
    seed: int
    priors: Priors = FIXED

    @cached_property
    def edges(self) -> Int[np.ndarray, "chunk_and_one"]:
        """First host of each chunk, and one past the last host."""
        return chunk_edges(self.n_lines)

    @property
    def n_chunks(self) -> int:
        """Number of chunks."""
        return len(self.edges) - 1

    def chunks(self, which: Iterable[int], n_jobs: int | None) -> Generator[ObservedClusters, None, None]:
        """Some chunks by their index, in that order."""
        return ordered(simulate_chunk, (self._job(index) for index in which), n_jobs)

    def _job(self, index: int) -> tuple:
        stream = np.random.SeedSequence(self.seed, spawn_key=(index,))  # what SeedSequence.spawn gives
        part = slice(self.edges[index], self.edges[index + 1])
        return self.model, self.priors, self.log10_mass[part], self.n_lines[part], stream

    def simulate(self, n_jobs: int | None, progress: Callable[[int], object] | None) -> Catalogue:
        """Simulate all chunks into one catalogue; see `HaloModel.simulate`."""
        return self.catalogue(list(_reported(self.chunks(range(self.n_chunks), n_jobs), progress)))

    def simulate_to(
        self, folder: Path, n_jobs: int | None, progress: Callable[[int], object] | None
    ) -> StoredCatalogue:
        """Simulate part by part into a folder, which this process alone writes; see `HaloModel.simulate_to`."""
        parts = [range(first, min(first + PART, self.n_chunks)) for first in range(0, self.n_chunks, PART)]
        counts = [self.attempted(part) for part in parts]
        if (folder / HEADER).exists() and (stored := StoredCatalogue.open(folder)).is_whole(counts, self.settings()):
            if progress is not None:  # nothing is written, so that the folder may be one that cannot be
                progress(sum(counts))
            return stored
        with claimed(folder):
            for stale in folder.glob(".part-*.parquet.*"):  # of a killed run, on any machine: the folder is locked
                stale.unlink(missing_ok=True)
            if (folder / HEADER).exists() and self._extends(stored := StoredCatalogue.open(folder)):
                stored.begin_again(counts, self.settings())
            return self._completed(StoredCatalogue.begin(folder, counts, self.settings()), parts, n_jobs, progress)

    def _extends(self, stored: StoredCatalogue) -> bool:
        """Whether a folder is of this run with the first masses only; a part of as many clusters is then the same."""
        hosts = int(np.searchsorted(np.cumsum(self.n_lines), sum(stored.counts))) + 1
        return {**self.settings(), "log10_masses": _described(self.log10_mass[:hosts])} == stored.settings

    def _completed(
        self,
        stored: StoredCatalogue,
        parts: Sequence[range],
        n_jobs: int | None,
        progress: Callable[[int], object] | None,
    ) -> StoredCatalogue:
        """Write the parts that the folder lacks."""
        todo = stored.missing()
        done = sum(stored.counts) - sum(stored.counts[index] for index in todo)
        if done and progress is not None:
            progress(done)
        with closing(self.chunks((chunk for index in todo for chunk in parts[index]), n_jobs)) as chunks:
            reported = _reported(chunks, progress, done)
            for index in todo:
                stored.write(index, self.catalogue(list(islice(reported, len(parts[index]))), parts[index].start))
        return stored

    def attempted(self, chunks: range) -> int:
        """Number of clusters, one a line of sight, in some chunks."""
        return int(self.n_lines[self.edges[chunks.start] : self.edges[chunks.stop]].sum())

    def catalogue(self, chunks: Sequence[ObservedClusters], first: int = 0) -> Catalogue:
        """Put chunks that follow one another into a catalogue; `first` is the index of the first of them."""
        clusters, galaxies, counts = ObservedClusters.concatenate(chunks)
        before = np.repeat(self.edges[first : first + len(chunks)], [len(chunk.counts) for chunk in chunks])
        first_id = (self.seed % 2**31) * 2**32 + before
        ids = {"host_id": first_id + clusters["host"]}
        ids |= {DRAW: first_id + clusters[DRAW]} if DRAW in clusters else {}
        surveys = self.priors.surveys
        return Catalogue.from_arrays(
            self.model.observation if surveys is None else surveys.summary(self.model.observation),
            self.model.cosmology,
            clusters={name: values for name, values in clusters.items() if name != "host"} | ids,
            galaxies=galaxies,
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            provenance=Provenance.from_simulator(
                "HaloModel",
                self.model,
                self.seed,
                revision=REVISION,
                lines_of_sight=(int(self.n_lines.min()), int(self.n_lines.max())),
                priors=self._given_priors(to_json(self.priors)),
            ),
        )

    def _given_priors(self, written: dict[str, T]) -> dict[str, T]:
        """Of the priors as JSON or text nothing if there are none; and no `cosmologies`, if none are drawn."""
        kept = self.priors.cosmologies is not None
        return {name: value for name, value in written.items() if self.priors and (kept or name != "cosmologies")}

    def settings(self) -> dict[str, str]:
        """All that decides the result, by name, as text: two runs of the same settings write the same catalogue."""
        fewest, most = self.n_lines.min(), self.n_lines.max()
        lines = str(fewest) if fewest == most else f"{fewest} to {most} (SHA-256 {_digest(self.n_lines)})"
        return {
            "version": installed_version("sbi-clustermass"),
            "simulator_revision": str(REVISION),
            "seed": str(self.seed),
            "log10_masses": _described(self.log10_mass),
            "lines_of_sight": lines,
            **flat(self.model),
            **self._given_priors(flat(self.priors)),
        }


def chunk_edges(n_lines: Int[np.ndarray, "host"]) -> Int[np.ndarray, "chunk_and_one"]:
    """Edges of the chunks: each has at most CHUNK hosts and CHUNK_LINES lines, but at least one host."""
    total, edges = np.concatenate([[0], np.cumsum(n_lines)]), [0]
    while edges[-1] < len(n_lines):
        fitting = int(np.searchsorted(total, total[edges[-1]] + CHUNK_LINES, side="right")) - 1
        edges.append(max(min(fitting, edges[-1] + CHUNK), edges[-1] + 1))
    return np.array(edges)


def _described(mass: Float[np.ndarray, "host"]) -> str:
    return f"{len(mass)} from {mass.min():.6g} to {mass.max():.6g} (SHA-256 {_digest(mass)})"


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values, "<f8").tobytes()).hexdigest()[:16]


def _reported(
    chunks: Iterable[ObservedClusters], progress: Callable[[int], object] | None, done: int = 0
) -> Iterator[ObservedClusters]:
    """Yield the chunks and report the number of clusters done, those done before included."""
    for chunk in chunks:
        done += len(chunk.counts)
        if progress is not None:
            progress(done)
        yield chunk

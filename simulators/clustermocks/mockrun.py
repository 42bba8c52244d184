"""One run of HaloModel: its masses in chunks, each with its own random stream, from which catalogues are put together.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import hashlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from clustermocks.catalogue import Catalogue
from clustermocks.chunk import simulate_chunk
from clustermocks.measured import Chunk
from clustermocks.workers import ordered

if TYPE_CHECKING:
    from clustermocks.simulator import HaloModel

CHUNK = 250  # hosts that share a random stream: part of what a seed means


class MockRun(NamedTuple):
    """A model, log10 masses of hosts [dex], how many lines of sight each, a seed: all that decides the result."""

    model: "HaloModel"
    log10_mass: Float[np.ndarray, "host"]
    n_lines: Int[np.ndarray, "host"]
    seed: int

    @property
    def n_chunks(self) -> int:
        """Number of chunks."""
        return -(-len(self.log10_mass) // CHUNK)

    def chunks(self, which: Iterable[int], n_jobs: int | None) -> Generator[Chunk, None, None]:
        """Some chunks by their index, in that order."""
        return ordered(simulate_chunk, (self._job(index) for index in which), n_jobs)

    def _job(self, index: int) -> tuple:
        stream = np.random.SeedSequence(self.seed, spawn_key=(index,))  # what SeedSequence.spawn gives
        part = slice(index * CHUNK, (index + 1) * CHUNK)
        return self.model, self.log10_mass[part], self.n_lines[part], stream

    def catalogue(self, chunks: Sequence[Chunk], first: int = 0) -> Catalogue:
        """Put chunks that follow one another into a catalogue; `first` is the index of the first of them."""
        clusters = _joined([chunk.clusters for chunk in chunks])
        counts = np.concatenate([chunk.counts for chunk in chunks])
        before = np.repeat((first + np.arange(len(chunks))) * CHUNK, [len(chunk.counts) for chunk in chunks])
        host = before + clusters.pop("host")
        return Catalogue.from_arrays(
            self.model.observation,
            self.model.cosmology,
            clusters={**clusters, "host_id": (self.seed % 2**31) * 2**32 + host},
            galaxies=_joined([chunk.galaxies for chunk in chunks]),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            metadata={"simulator": "HaloModel", "seed": str(self.seed), **self._choices()},
        )

    def _choices(self) -> dict[str, str]:
        model = self.model
        return {
            f.name: repr(getattr(model, f.name)) for f in fields(model) if f.name not in ("observation", "cosmology")
        }

    def settings(self) -> dict[str, str]:
        """All that decides the result, by name, as text: two runs of the same settings write the same catalogue."""
        mass, lines = self.log10_mass, self.n_lines
        several = f"{lines.min()} to {lines.max()} (SHA-256 {_digest(lines)})"
        return {
            "version": _version(),
            "seed": str(self.seed),
            "log10_masses": f"{len(mass)} from {mass.min():.6g} to {mass.max():.6g} (SHA-256 {_digest(mass)})",
            "lines_of_sight": several if np.ptp(lines) else str(lines[0]),
            **_flat(self.model, ""),
        }


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values, "<f8").tobytes()).hexdigest()[:16]


def _joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _flat(choice: object, prefix: str) -> dict[str, str]:
    """Fields of nested dataclasses by dotted names."""
    if not is_dataclass(choice):
        return {prefix: repr(choice.item() if isinstance(choice, np.generic) else choice)}
    settings = {}
    for f in fields(choice):
        settings.update(_flat(getattr(choice, f.name), f"{prefix}.{f.name}" if prefix else f.name))
    return settings


def _version() -> str:
    try:
        return version("sbi-clustermass")
    except PackageNotFoundError:
        return "not installed"

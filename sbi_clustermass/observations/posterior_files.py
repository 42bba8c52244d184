"""Posteriors of many clusters on disk, written some hundred at a time: grids, and samples.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clustermocks.io.atomic import scratch_folder
from sbi_clustermass.observations.parquet_writer import Growing, growing
from sbi_clustermass.observations.results import ClusterResult, MassResult
from sbi_clustermass.observations.writers import Sink
from sbi_clustermass.posterior import MassPosteriors

_ROWS = 256
SUFFIX = ".parquet"
_DRAWS = "draws of log10 M200c [h^-1 Msun] from each posterior"


def together(masses: Sequence[MassResult]) -> MassPosteriors:
    """The posteriors of some clusters, all by one estimator."""
    first, rows = masses[0].posterior, [mass.posterior for mass in masses]
    spread = None
    if first.epistemic_std is not None:
        spread = np.concatenate([row.epistemic_std for row in rows if row.epistemic_std is not None])
    return MassPosteriors(
        grid=first.grid,
        log_prob=np.concatenate([row.log_prob for row in rows]),
        log_prior=first.log_prior,
        names=tuple(mass.name for mass in masses),
        epistemic_std=spread,
        leakage=float(np.mean([row.leakage for row in rows])),
    )


@contextmanager
def posteriors_file(path: Path) -> Iterator[Sink]:
    """A file for `MassPosteriors.from_parquet` and `clustermass population`; clusters without a mass are not in it.

    Args:
        path: Of the file; it appears whole or not at all. Where no cluster has a mass there is none in the end, not
            even that of an earlier run.
    """
    waiting: list[MassResult] = []
    with scratch_folder(path.parent, path.name) as folder:
        parts: list[tuple[Path, int, float]] = []

        def write() -> None:
            part, posteriors = folder / f"{len(parts)}{SUFFIX}", together(waiting)
            posteriors.to_parquet(part)
            parts.append((part, len(waiting), posteriors.leakage))
            waiting.clear()

        yield _every(_ROWS, waiting, write)
        if waiting:
            write()
        if parts:
            _join(path, parts)
        else:
            path.unlink(missing_ok=True)


def _join(path: Path, parts: Sequence[tuple[Path, int, float]]) -> None:
    """One file of all parts; its leakage is the mean over all clusters."""
    schema = pq.read_schema(parts[0][0])
    n = sum(count for _, count, _ in parts)
    header = dict(schema.metadata or {})
    header[b"leakage"] = str(sum(count * leakage for _, count, leakage in parts) / n).encode()
    with growing(path, schema, header) as file:
        for part, _, _ in parts:
            file.add(pq.read_table(part))


@contextmanager
def samples_file(path: Path, n: int, *, seed: int = 1) -> Iterator[Sink]:
    """Draws from each posterior: columns name, and log10_mass [dex], a list of n; clusters without a mass are left out.

    Args:
        path: Of the Parquet file.
        n: Draws a cluster.
        seed: With a cluster's name it decides its draws, whatever else is in the file.
    """
    schema = pa.schema([("name", pa.string()), pa.field("log10_mass", pa.list_(pa.float32(), n))])
    waiting: list[MassResult] = []
    header: dict[str | bytes, str | bytes] = {"description": _DRAWS, "seed": str(seed)}
    with growing(path, schema, header) as file:

        def write() -> None:
            _write_samples(waiting, file, n, seed)
            waiting.clear()

        yield _every(_ROWS, waiting, write)
        if waiting:
            write()


def _write_samples(masses: Sequence[MassResult], file: Growing, n: int, seed: int) -> None:
    draws = [m.posterior.sample(n, seed=(seed << 32) + zlib.crc32(m.name.encode()))[0] for m in masses]
    values = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(draws), pa.float32()), n)
    file.add(pa.table([pa.array([m.name for m in masses]), values], schema=file.writer.schema))


def _every(n: int, waiting: list[MassResult], write) -> Sink:
    """Collect masses, and write whenever there are n."""

    def add(result: ClusterResult) -> None:
        if isinstance(result, MassResult):
            waiting.append(result)
            if len(waiting) == n:
                write()

    return add

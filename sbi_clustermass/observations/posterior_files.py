"""Posteriors of many clusters on disk, as grids or samples, written some hundred at a time.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from clustermocks.io.atomic import replacing
from clustermocks.io.paths import as_path
from sbi_clustermass.observations.results import ClusterResult, MassResult
from sbi_clustermass.observations.writers import Sink
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.posterior.parquet import mass_file, samples_header

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

_ROWS = 256
SUFFIX = ".parquet"
_DRAWS = "draws of the parameters from each posterior, masses as log10 M200c [h^-1 Msun], row by row of one cluster"


def joined(masses: Sequence[MassResult]) -> MassPosteriors:
    """Join the posteriors of some clusters, all by one estimator."""
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
    """Write a file for `MassPosteriors.from_parquet` and `clustermass population`, without clusters that have no mass.

    Args:
        path: File to write, whole or not at all. Without any mass there is no file in the end, not even that of an
            earlier run.
    """
    path, found = as_path(path), 0
    with mass_file(path) as append:

        def write(masses: Sequence[MassResult]) -> None:
            nonlocal found
            append(joined(masses).rows())
            found += len(masses)

        with _in_batches(write) as add:
            yield add
    if not found:
        path.unlink(missing_ok=True)


@contextmanager
def samples_file(path: Path, n: int, estimator: "MassEstimator", *, seed: int = 1) -> Iterator[Sink]:
    """Write draws from each posterior, for `Posteriors.from_parquet`.

    Columns are name, redshift, log10_mass [dex] and the other parameters, each a list of n, and of an estimator of
    several parameters log_prob.

    Args:
        path: Parquet file to write, without clusters that have no mass.
        n: Number of draws for each cluster.
        estimator: Estimator of the posteriors.
        seed: Seed; it and a cluster's name decide the draws, whatever else is in the file.
    """
    further = estimator.given_mass
    ends = [estimator.support, *([] if further is None else zip(further.low, further.high, strict=True))]
    support = dict(zip(estimator.parameters, ends, strict=True))
    drawn = [*support, *([] if further is None else ["log_prob"])]
    lists = [(name, pa.list_(pa.float32(), n)) for name in drawn]
    schema = pa.schema([("name", pa.string()), ("redshift", pa.float64()), *lists])
    schema = schema.with_metadata(samples_header(support) | {b"description": _DRAWS.encode(), b"seed": b"%d" % seed})
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as file:

        def write(masses: Sequence[MassResult]) -> None:
            seeds = [(seed << 32) + zlib.crc32(mass.name.encode()) for mass in masses]
            rows = zip(masses, seeds, strict=True)
            draws = np.concatenate([_draws(mass, n, estimator, own) for mass, own in rows])
            columns = [pa.FixedSizeListArray.from_arrays(pa.array(each, pa.float32()), n) for each in draws.T]
            of_clusters = [pa.array([m.name for m in masses]), pa.array([m.cluster.redshift for m in masses])]
            file.write_table(pa.table([*of_clusters, *columns], schema=schema))

        with _in_batches(write) as add:
            yield add


def _draws(mass: MassResult, n: int, estimator: "MassEstimator", seed: int) -> Float[np.ndarray, "n column"]:
    """Draws of one cluster, and behind the parameters their log density where it is joint."""
    if estimator.given_mass is None:
        return mass.posterior.sample(n, seed=seed)[0][:, None]
    found = estimator.given_mass.joint(mass.posterior, mass.cluster.catalogue, n, seeds=[seed])
    return np.column_stack([found.samples[0], np.asarray(found.log_prob)[0]])


@contextmanager
def _in_batches(write: Callable[[Sequence[MassResult]], None]) -> Iterator[Sink]:
    """Collect masses and write some hundred at a time, the last of them at the end."""
    waiting: list[MassResult] = []

    def add(result: ClusterResult) -> None:
        if isinstance(result, MassResult):
            waiting.append(result)
        if len(waiting) == _ROWS:
            write(waiting)
            waiting.clear()

    yield add
    if waiting:
        write(waiting)

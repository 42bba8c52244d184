"""Masses of the clusters in tables of galaxies: one after another, by several processes, or part by part of a folder.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Protocol, TypeVar

from clustermocks.io.atomic import make_folder
from clustermocks.io.parallel import ordered, workers
from clustermocks.io.paths import as_path
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.observations.inference import BATCH, infer_clusters
from sbi_clustermass.observations.model_stamp import ModelStamp
from sbi_clustermass.observations.results import ClusterResult, MassResult
from sbi_clustermass.observations.sanitize import printable
from sbi_clustermass.observations.tables import TableError, TableOptions, Unreadable, read_clusters
from sbi_clustermass.observations.tables.cluster_list import ClusterList, simplified, unmatched
from sbi_clustermass.observations.tables.files import table_name
from sbi_clustermass.observations.tables.reading import ClusterTable
from sbi_clustermass.observations.tables.sources import Source, TableLike
from sbi_clustermass.observations.writers import table_file


class _Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=_Named)


def infer_tables(
    tables: Iterable[TableLike],
    estimator: MassEstimator,
    options: TableOptions,
    *,
    batch: int = BATCH,
    n_jobs: int | None = None,
) -> Iterator[ClusterResult]:
    """Infer the mass of each cluster of each table, in their order; a bad one yields a `NoMassResult` with its reason.

    No two results have one name: where an earlier table has a cluster of that name, the table's name is put in front.

    Args:
        tables: Paths of tables of one cluster or many, or tables in memory.
        estimator: Trained estimator, whose observation and cosmology are those of the tables' clusters.
        options: Facts about the tables.
        batch: Number of clusters that the network sees at once, and that a process gets; the results do not depend on
            it.
        n_jobs: Processes; -1 for one a core. None follows `joblib.parallel_config`: this process without it, a Dask
            cluster's workers under `joblib.parallel_config(backend="dask")`.
    """
    results = _infer_tables(tables, estimator, options, batch, n_jobs)
    return results if options.clusters is None else _with_unmatched(results, options.clusters)


def _infer_tables(
    tables: Iterable[TableLike], estimator: MassEstimator, options: TableOptions, batch: int, n_jobs: int | None
) -> Iterator[ClusterResult]:
    settings = {"options": options, "observation": estimator.observation, "cosmology": estimator.cosmology}
    sources = map(Source.of, tables)
    if workers(n_jobs) > 1:
        return _with_unique_names(_by_workers(sources, estimator, settings, batch, n_jobs), _renamed)
    read = ((source.path, cluster) for source in sources for cluster in read_clusters(source, **settings))
    clusters = _with_unique_names(read, lambda cluster, name: replace(cluster, name=name))
    return infer_clusters(clusters, estimator, batch=batch)


def _with_unmatched(results: Iterable[ClusterResult], clusters: ClusterList) -> Iterator[ClusterResult]:
    """Pass results on, and warn at the end of clusters in the list that match none."""
    found = []
    for result in results:
        found.append(result.name)
        yield result
    used = set(map(simplified, found))
    rest = [cluster.name for cluster in clusters if simplified(cluster.name) not in used]
    if text := unmatched(clusters.path.name, rest, found, what="clusters"):
        warnings.warn(printable(text), UserWarning, stacklevel=2)


def infer_parts(
    folder: Path,
    out: Path,
    estimator: MassEstimator,
    stamp: ModelStamp,
    options: TableOptions | None = None,
    *,
    n_jobs: int | None = None,
) -> list[Path]:
    """Infer each Parquet file of a folder into a table of masses of the same name, each by one process.

    The same call goes on where an earlier one was interrupted: files that are there are kept. A cluster must not be
    split over two files, and names are unique within each.

    Args:
        folder: Folder of tables of galaxies, which all workers see.
        out: Folder for the tables of masses, which all workers see.
        estimator: Trained estimator.
        stamp: Model behind the masses.
        options: Facts about the tables.
        n_jobs: As for `infer_tables`.

    Returns:
        All tables of masses.

    Raises:
        ValueError: There is no Parquet file, or the folder holds masses by another model.
        OSError: The folder cannot be written.
    """
    folder, out = as_path(folder), as_path(out)
    tables = sorted(folder.glob("*.parquet"))
    if not tables:
        raise ValueError(f"{folder}: no .parquet files in it.\n  try:    a folder with tables of galaxies in parts")
    if out.resolve() == folder.resolve():
        raise ValueError(f"{out}: masses would be written over the galaxies.\n  try:    another folder")
    make_folder(out)
    masses = [out / path.name for path in tables]
    for path in masses:
        _check_model(path, stamp)
    todo = [(path, to) for path, to in zip(tables, masses, strict=True) if not to.is_file()]
    options = options or TableOptions()
    for _ in ordered(_infer_part, ((*pair, estimator, stamp, options) for pair in todo), n_jobs):
        pass
    return masses


def _check_model(path: Path, stamp: ModelStamp) -> None:
    """Refuse to go on with masses by another model."""
    import pyarrow.parquet as pq

    found = set(pq.read_table(path.absolute(), columns=["model_checksum"])[0].to_pylist()) if path.is_file() else set()
    if found - {stamp.checksum}:
        raise ValueError(f"{path}: masses by another model ({', '.join(found)}).\n  try:    another folder")


def _infer_part(path: Path, out: Path, estimator: MassEstimator, stamp: ModelStamp, options: TableOptions) -> None:
    with table_file(out, stamp) as add:
        for result in _infer_tables([path], estimator, options, BATCH, 1):
            add(result)


def _by_workers(
    sources: Iterable[Source], estimator: MassEstimator, settings: dict, batch: int, n_jobs: int | None
) -> Iterator[tuple[Path, ClusterResult]]:
    """Results in order, as they come from workers that each get the rows of some clusters."""
    work = ((source.path, part, estimator) for source in sources for part in _parts(source, settings, batch))
    for path, results in ordered(_infer, work, n_jobs):
        yield from ((path, result) for result in results)


def _parts(source: Source, settings: dict, size: int) -> Iterator[ClusterTable | Unreadable]:
    try:
        table = ClusterTable.open(source, **settings)
    except TableError as error:
        yield Unreadable(table_name(source.path), str(error))
        return
    yield from table.parts(size)


def _infer(path: Path, part: ClusterTable | Unreadable, estimator: MassEstimator) -> tuple[Path, list[ClusterResult]]:
    clusters = part.read() if isinstance(part, ClusterTable) else [part]
    return path, list(infer_clusters(clusters, estimator))


def _with_unique_names(named: Iterable[tuple[Path, T]], rename: Callable[[T, str], T]) -> Iterator[T]:
    """Rename what has a name that is taken: A85, survey_b:A85, survey_b:A85 (2)."""
    taken: set[str] = set()
    for path, each in named:
        name = _free(each.name, table_name(path), taken)
        taken.add(name)
        yield each if name == each.name else rename(each, name)


def _free(name: str, table: str, taken: set[str]) -> str:
    """The first of a cluster's possible names that is free."""
    numbered = (f"{table}:{name} ({number})" for number in count(2))
    return next(each for each in chain((name, f"{table}:{name}"), numbered) if each not in taken)


def _renamed(result: ClusterResult, name: str) -> ClusterResult:
    if isinstance(result, MassResult):
        return replace(result, cluster=replace(result.cluster, name=name))
    return replace(result, name=name, cluster=result.cluster and replace(result.cluster, name=name))

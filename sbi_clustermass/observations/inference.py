"""Masses of the clusters in tables of galaxies, some hundred clusters at once.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import TypeAlias, TypeGuard

import numpy as np

from clustermocks import Catalogue
from clustermocks.kinematics.dispersion import Dispersion, robust_dispersions
from sbi_clustermass.baselines import evrard2008
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.observations.results import LEVELS, ClusterResult, MassResult, NoMassResult
from sbi_clustermass.observations.tables import ObservedCluster, TableOptions, Unreadable, read_clusters
from sbi_clustermass.observations.tables.files import table_name
from sbi_clustermass.posterior import MassPosteriors

BATCH = 256  # clusters
_GALAXIES = 200_000  # at once: a batch of rich clusters is smaller
_ERRORS = (ValueError, ArithmeticError, RuntimeError, LookupError)  # caught per cluster: the others still get masses

Read: TypeAlias = ObservedCluster | Unreadable


def infer_tables(
    paths: Iterable[Path], estimator: MassEstimator, options: TableOptions, *, batch: int = BATCH
) -> Iterator[ClusterResult]:
    """Infer the mass of each cluster of each table, in their order; a bad one yields a `NoMassResult` with its reason.

    No two results have one name: where an earlier table has a cluster of that name, the table's name is put in front.

    Args:
        paths: Tables of one cluster or many.
        estimator: Trained estimator, whose observation and cosmology are those of the tables' clusters.
        options: Facts about the tables.
        batch: Number of clusters that the network sees at once; the results do not depend on it.
    """
    settings = {"options": options, "observation": estimator.observation, "cosmology": estimator.cosmology}
    read = ((path, cluster) for path in paths for cluster in read_clusters(path, **settings))
    return infer_clusters(_with_unique_names(read), estimator, batch=batch)


def _with_unique_names(clusters: Iterable[tuple[Path, Read]]) -> Iterator[Read]:
    """Rename clusters whose name is taken: A85, survey_b:A85, survey_b:A85 (2)."""
    taken: set[str] = set()
    for path, cluster in clusters:
        name = _free(cluster.name, table_name(path), taken)
        taken.add(name)
        yield cluster if name == cluster.name else replace(cluster, name=name)


def _free(name: str, table: str, taken: set[str]) -> str:
    """The first of a cluster's possible names that is free."""
    numbered = (f"{table}:{name} ({number})" for number in count(2))
    return next(each for each in chain((name, f"{table}:{name}"), numbered) if each not in taken)


def infer_clusters(
    clusters: Iterable[Read], estimator: MassEstimator, *, batch: int = BATCH
) -> Iterator[ClusterResult]:
    """Infer the mass of each cluster that was read, in memory that does not grow with their number."""
    waiting: list[Read] = []
    n = galaxies = 0
    for cluster in clusters:
        waiting.append(cluster)
        if _is_good(cluster):
            n, galaxies = n + 1, galaxies + cluster.n_galaxies
        if n in (0, batch) or galaxies >= _GALAXIES:  # 0: only failures, which need no network
            yield from _results(waiting, estimator)
            waiting, n, galaxies = [], 0, 0
    yield from _results(waiting, estimator)


def infer_cluster(cluster: ObservedCluster, estimator: MassEstimator) -> MassResult:
    """Infer the mass of one cluster that has enough galaxies.

    Raises:
        ValueError: The estimator refuses it.
    """
    return _masses([cluster], estimator)[0]


def _is_good(cluster: Read) -> TypeGuard[ObservedCluster]:
    return isinstance(cluster, ObservedCluster) and not cluster.reason


def _results(clusters: Sequence[Read], estimator: MassEstimator) -> Iterator[ClusterResult]:
    good = [each for each in clusters if _is_good(each)]
    found = iter(_masses_or_reasons(good, estimator))
    for each in clusters:
        if isinstance(each, Unreadable):
            yield NoMassResult(each.name, each.reason)
        elif each.reason:
            yield NoMassResult(each.name, each.reason, each)
        else:
            yield next(found)


def _masses_or_reasons(clusters: Sequence[ObservedCluster], estimator: MassEstimator) -> Sequence[ClusterResult]:
    """Infer a batch; where a cluster makes it fail, infer its halves, until that cluster is alone."""
    if not clusters:
        return []
    try:
        return _masses(clusters, estimator)
    except _ERRORS as error:
        if len(clusters) == 1:
            return [NoMassResult(clusters[0].name, f"{clusters[0].name}: {error}", clusters[0])]
        half = len(clusters) // 2
        parts = (clusters[:half], clusters[half:])
        return [result for part in parts for result in _masses_or_reasons(part, estimator)]


def _masses(clusters: Sequence[ObservedCluster], estimator: MassEstimator) -> list[MassResult]:
    catalogue = Catalogue.concatenate([cluster.catalogue for cluster in clusters])
    posteriors = estimator.posterior(catalogue)
    found = (estimator.warnings(catalogue, posteriors), _narrow_field_warnings(clusters, estimator, posteriors))
    tables = [_table_warnings(cluster, estimator) for cluster in clusters]
    warnings = [table + ours + cut for table, ours, cut in zip(tables, *found, strict=True)]
    v_los = [catalogue.galaxies(i)[1] for i in range(len(catalogue))]
    seeds = [zlib.crc32(np.ascontiguousarray(v).tobytes()) for v in v_los]  # whatever the cluster is called
    sigma = robust_dispersions(v_los, seeds)
    quantiles = posteriors.quantile(LEVELS).T
    return [
        MassResult(
            cluster=cluster,
            posterior=posteriors[[i]],
            mean=float(posteriors.mean[i]),
            std=float(posteriors.std[i]),
            quantiles=tuple(map(float, quantiles[i])),
            dispersion=sigma[i],
            log10_mass_m_sigma=_m_sigma(sigma[i], cluster, estimator),
            warnings=warnings[i],
        )
        for i, cluster in enumerate(clusters)
    ]


def _m_sigma(sigma: Dispersion, cluster: ObservedCluster, estimator: MassEstimator) -> float:
    if not sigma.value > 0:
        return np.nan
    return float(evrard2008(cluster.redshift, estimator.cosmology).inverse(np.log10(sigma.value)))


def _has_such_fields(cluster: ObservedCluster, estimator: MassEstimator) -> bool:
    """Whether the estimator's mocks were observed in fields as small and with sectors as wide missing."""
    surveys, narrow = estimator.provenance.mocks.surveys, cluster.narrow
    if not surveys:
        return False
    return (narrow is None or surveys["aperture"][0] <= narrow.reach) and cluster.gap <= surveys["sector"][1]


def _table_warnings(cluster: ObservedCluster, estimator: MassEstimator) -> tuple[str, ...]:
    dropped = cluster.field_warnings if _has_such_fields(cluster, estimator) else ()
    return tuple(warning for warning in cluster.warnings if warning not in dropped)


def _narrow_field_warnings(
    clusters: Sequence[ObservedCluster], estimator: MassEstimator, posteriors: MassPosteriors
) -> list[tuple[str, ...]]:
    """Warn of a field that ends inside the aperture, by how the mass changes if the field is cut again."""
    smaller = {i: cut for i, cluster in enumerate(clusters) if (cut := _cut_again(cluster, estimator))}
    found: list[tuple[str, ...]] = [()] * len(clusters)
    if not smaller:
        return found
    means = estimator.posterior(Catalogue.concatenate([catalogue for _, catalogue in smaller.values()])).mean
    for (i, (edge, _)), mean in zip(smaller.items(), means, strict=True):
        change = mean - posteriors.mean[i]
        found[i] = (f"cut again by the same factor, at {edge:.2f} h^-1 Mpc, the mass moves by {change:+.2f} dex",)
    return found


def _cut_again(cluster: ObservedCluster, estimator: MassEstimator) -> tuple[float, Catalogue] | None:
    """Cut a narrow field again by the same factor: its edge [h^-1 Mpc] and its galaxies, if there are enough."""
    if cluster.narrow is None or _has_such_fields(cluster, estimator):
        return None
    edge = cluster.narrow.reach**2 / estimator.observation.aperture
    inside = cluster.catalogue.galaxy_column("R_proj") < edge
    galaxies = {name: values[inside] for name, values in cluster.catalogue.galaxy_columns.items()}
    cut = cluster.catalogue.with_galaxies(galaxies, cluster.catalogue.cluster_of_galaxy[inside])
    return (edge, cut) if len(cut) else None

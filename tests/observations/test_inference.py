"""Batches give what single clusters give, one bad cluster costs only its own mass, and memory does not grow."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from sbi_clustermass import TableOptions
from sbi_clustermass.observations import MassResult, NoMassResult, infer_cluster, infer_clusters, infer_tables
from sbi_clustermass.observations.tables import read_clusters


@pytest.fixture(scope="module")
def read(estimator, survey):
    return list(read_clusters(survey, observation=estimator.observation, cosmology=estimator.cosmology))


def test_batches_give_the_masses_that_each_cluster_gets_alone(estimator, read):
    singles = [infer_cluster(cluster, estimator) for cluster in read]
    for size in (7, 256):
        batched = list(infer_clusters(iter(read), estimator, batch=size))
        for one, alone in zip(batched, singles, strict=True):
            # padding changes the order of float32 sums: 1e-6 dex was asked for
            assert one.mean == pytest.approx(alone.mean, abs=1e-6)
            assert one.quantiles == pytest.approx(alone.quantiles, abs=1e-5)  # between two masses of the grid
            assert one.dispersion == alone.dispersion
            assert one.warnings == alone.warnings


def test_masses_and_summaries_are_those_of_the_estimator_itself(estimator, some, results):
    posteriors = estimator.posterior(some)
    masses = [result for result in results if isinstance(result, MassResult)]
    np.testing.assert_allclose([mass.mean for mass in masses], posteriors.mean, atol=1e-5)  # v_los recentred again
    np.testing.assert_allclose([mass.std for mass in masses], posteriors.std, atol=1e-5)


def test_results_come_in_the_order_of_the_tables(results, survey):
    assert [result.name for result in results] == [*(f"C{i}" for i in range(40)), "missing"]


def test_a_cluster_that_breaks_the_network_costs_only_its_own_mass(estimator, read):
    def refuses(one, catalogue, posteriors):
        if "C3" in catalogue.names:
            raise ValueError("too far away")
        return [()] * len(catalogue)

    class Refusing(type(estimator)):
        warnings = refuses

    broken = Refusing(**{name: getattr(estimator, name) for name in estimator.__dataclass_fields__})
    found = list(infer_clusters(read, broken))
    assert [one.name for one in found if isinstance(one, NoMassResult)] == ["C3"]
    reason = next(one.reason for one in found if isinstance(one, NoMassResult))
    assert "too far away" in reason
    assert "C3" in reason


def test_a_cluster_with_too_few_galaxies_keeps_its_place_among_the_others(estimator, read):
    poor = replace(read[2], reason="9 galaxies; a mass needs at least 10")
    found = list(infer_clusters([*read[:2], poor, *read[3:6]], estimator))
    assert [type(one) for one in found] == [MassResult, MassResult, NoMassResult, MassResult, MassResult, MassResult]
    assert found[2].cluster is poor


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_clusters(estimator, survey):
    def peak(times: int) -> int:
        tracemalloc.start()
        count = sum(1 for _ in infer_tables([survey] * times, estimator, TableOptions(), batch=8))
        assert count == 40 * times
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(1)  # imports and caches
    few, many = peak(1), peak(4)
    assert many < 1.3 * few  # kept answers are 20 kB each and more: 120 of them are as much again

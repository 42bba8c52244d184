"""Batches give what single clusters give, one bad cluster costs only its own mass, and memory does not grow."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from sbi_clustermass import MassPosteriors, TableOptions
from sbi_clustermass.estimator.verdict import Grade
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
            assert [(each.text, each.grade) for each in one.reasons] == [
                (each.text, each.grade) for each in alone.reasons
            ]
            assert one.modes == alone.modes == ()
            # the mass function weighs the low tail more than the posterior does
            assert one.under_mass_function == pytest.approx(alone.under_mass_function, abs=1e-4, nan_ok=True)


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
        reasons = refuses

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


def test_the_members_of_an_ensemble_are_compared_and_two_modes_are_said_as_two(estimator, read):
    def torn(one, catalogue, **settings):
        grid = np.linspace(*one.support, 256)
        two = np.logaddexp(-0.5 * ((grid - 13.5) / 0.1) ** 2, -0.5 * ((grid - 14.9) / 0.1) ** 2)
        n = len(catalogue)
        return MassPosteriors.from_log_prob(
            grid, np.tile(two, (n, 1)), names=catalogue.names, epistemic_std=np.full(n, 0.5)
        )

    class Torn(type(estimator)):
        posterior = torn

    torn_estimator = Torn(**{name: getattr(estimator, name) for name in estimator.__dataclass_fields__})
    mass = infer_cluster(read[0], torn_estimator)
    assert [mode.log10_mass for mode in mass.modes] == pytest.approx([13.5, 14.9], abs=1e-3)  # of two equal Gaussians
    assert [mode.share for mode in mass.modes] == pytest.approx([0.5, 0.5], abs=1e-3)
    assert mass.members_std == 0.5
    by_text = {reason.text: reason for reason in mass.reasons}
    assert by_text["the networks of the ensemble disagree"].grade is Grade.DO_NOT_USE
    assert by_text["two masses are possible, 13.50 (50%) and 14.90 (50%)"].size == pytest.approx(1.4, abs=1e-3)


def test_the_error_of_an_estimated_centre_is_carried_to_the_mass(estimator, tmp_path):
    rng, n = np.random.default_rng(2), 150
    sky = rng.normal((150.0, 2.0), 0.08, (n, 2))
    z = 0.117 + rng.normal(0, 0.003, n)
    np.savetxt(tmp_path / "a.csv", np.column_stack([sky, z]), delimiter=",", header="ra,dec,z", comments="")
    settings = {"observation": estimator.observation, "cosmology": estimator.cosmology}
    (cluster,) = read_clusters(tmp_path / "a.csv", **settings)
    mass = infer_cluster(cluster, estimator)
    (reason,) = [each for each in mass.reasons if "the centre is known" in each.text]
    # by another road: the same table about centres that the user moves
    angle = np.rad2deg(cluster.centre_error / estimator.cosmology.comoving_distance(cluster.redshift))
    changes = []
    for east, north in ((angle / np.cos(np.deg2rad(cluster.dec)), 0.0), (0.0, angle)):
        options = TableOptions(centre=(cluster.ra + east, cluster.dec + north), redshift=cluster.redshift)
        (moved,) = read_clusters(tmp_path / "a.csv", options=options, **settings)
        changes.append(infer_cluster(moved, estimator).percentiles[1] - mass.percentiles[1])
    assert reason.size == pytest.approx(np.hypot(*changes), abs=2e-3)  # velocities are recentred for each of them
    known = TableOptions(centre=(cluster.ra, cluster.dec))
    (given,) = read_clusters(tmp_path / "a.csv", options=known, **settings)
    assert not any("the centre is known" in each.text for each in infer_cluster(given, estimator).reasons)

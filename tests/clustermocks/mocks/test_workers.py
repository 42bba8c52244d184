"""Mocks are the same whoever works: one process, two, or a Dask cluster; all of it here, to start processes once."""

import sys

import joblib
import numpy as np
import pytest

import clustermocks.mocks.run
from clustermocks import (
    Catalogue,
    FlatMasses,
    HaloModel,
    JeansGalaxies,
    Observation,
    PhysicsPrior,
    SphericalJeans,
    SurveyPrior,
)
from clustermocks.mocks.run import CHUNK
from tests.tables import same_rows

MODEL = HaloModel.ho2019()
PRIORS = {"surveys": SurveyPrior(), "physics": PhysicsPrior()}
MASSES = FlatMasses(13.5, 15.0).draw(4 * CHUNK + 10, seed=5)


def same(first: Catalogue, second: Catalogue) -> bool:
    return same_rows(first.clusters, second.clusters) and same_rows(first.attempts, second.attempts)


@pytest.fixture(scope="module")
def whole():
    return MODEL.simulate(MASSES, seed=3)


@pytest.mark.parametrize(
    ("model", "masses", "options"),
    [
        pytest.param(HaloModel(), MASSES, {}, id="haloes"),
        pytest.param(HaloModel().with_clustering(), MASSES, {}, id="clustered"),
        pytest.param(HaloModel().with_clustering(), MASSES, PRIORS, id="priors"),
        pytest.param(
            HaloModel(observation=Observation(min_galaxies=0)),
            np.full(5, 13.5),
            {"lines_of_sight": np.array([5, 700, 300, 1, 600])},  # two chunks
            id="many lines",
        ),
        pytest.param(
            SphericalJeans(background=4.0, galaxies=JeansGalaxies(anisotropy_spread=0.3)), MASSES, {}, id="spherical"
        ),
    ],
)
def test_two_workers_make_what_one_makes(model, masses, options):
    alone, two = (model.simulate(masses, seed=3, n_jobs=n, **options) for n in (1, 2))
    assert same(alone, two)


def test_two_workers_write_what_one_makes(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(clustermocks.mocks.run, "PART", 2)
    MODEL.simulate_to(tmp_path / "mocks", MASSES, seed=3, n_jobs=2)
    assert same(Catalogue.from_parquet(tmp_path / "mocks"), whole)


def test_n_jobs_left_out_is_what_parallel_config_says(whole):
    with joblib.parallel_config(n_jobs=2):
        assert same(MODEL.simulate(MASSES, seed=3), whole)


def test_a_dask_cluster_makes_the_same(tmp_path, whole):
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster) as client, joblib.parallel_config(backend="dask"):
        MODEL.simulate_to(tmp_path / "mocks", MASSES, seed=3)
        drawn = MODEL.simulate(MASSES, seed=3, **PRIORS)
        worked = client.run(lambda: "clustermocks.mocks.chunk" in sys.modules)
    assert same(Catalogue.from_parquet(tmp_path / "mocks"), whole)
    assert same(MODEL.simulate(MASSES, seed=3, **PRIORS), drawn)
    assert list(worked.values()) == [True, True]  # 5 chunks, 2 workers: both had some

"""Posteriors and samples on disk are those that were inferred."""

import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import kstest

from clustermocks.io.atomic import replacing
from sbi_clustermass import MassPosteriors, Posteriors
from sbi_clustermass.observations import MassResult, posterior_files as module, posteriors_file, samples_file


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    monkeypatch.setattr(module, "_ROWS", 16)  # 40 clusters: three groups


def test_the_file_of_posteriors_is_what_mass_posteriors_reads(estimator, some, results, tmp_path):
    with posteriors_file(tmp_path / "p.parquet") as add:
        for result in results:
            add(result)
    found, expected = MassPosteriors.from_parquet(tmp_path / "p.parquet"), estimator.posterior(some)
    assert found.names == tuple(f"C{i}" for i in range(40))
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-5)  # float32 in the file, recentred velocities
    np.testing.assert_allclose(found.log_prior, expected.log_prior)
    assert list(tmp_path.iterdir()) == [tmp_path / "p.parquet"]


def test_leakage_is_the_mean_over_all_clusters_not_over_groups(results, tmp_path):
    from dataclasses import replace

    masses = [result for result in results if isinstance(result, MassResult)]
    leaking = [replace(m, posterior=replace(m.posterior, leakage=i / 100)) for i, m in enumerate(masses)]
    with posteriors_file(tmp_path / "p.parquet") as add:
        for mass in leaking:
            add(mass)
    assert MassPosteriors.from_parquet(tmp_path / "p.parquet").leakage == pytest.approx(np.mean(np.arange(40)) / 100)


def test_samples_follow_their_posterior_and_do_not_depend_on_the_other_clusters(results, estimator, tmp_path):
    for name, some in (("all", results), ("last", results[-3:])):
        with samples_file(tmp_path / f"{name}.parquet", 500, estimator) as add:
            for result in some:
                add(result)
    table = pq.read_table(tmp_path / "all.parquet")
    draws = np.stack(table["log10_mass"].to_numpy())
    assert draws.shape == (40, 500)
    level = [mass.posterior.pit(value)[0] for mass, row in zip(results[:40], draws, strict=True) for value in row[:25]]
    assert kstest(level, "uniform").pvalue > 1e-3  # of 1000 levels; the seed is fixed
    np.testing.assert_array_equal(pq.read_table(tmp_path / "last.parquet")["log10_mass"][-1].as_py(), draws[-1])
    read = Posteriors.from_parquet(tmp_path / "all.parquet")
    np.testing.assert_array_equal(read.column("log10_mass"), draws)
    np.testing.assert_array_equal(read.redshift, [mass.cluster.redshift for mass in results[:40]])
    assert (read.low[0], read.high[0]) == estimator.support


def test_what_a_killed_run_left_is_removed_by_the_next(results, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with replacing(tmp_path / "p.parquet") as temporary:
        temporary.write_text("whole")
        left = tmp_path / temporary.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-")
    left.write_text("half")
    with posteriors_file(tmp_path / "p.parquet") as add:
        add(results[0])
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


def test_an_interrupted_run_leaves_no_file(results, estimator, tmp_path):
    def run(sink):
        with sink as add:
            for result in results:
                add(result)
            raise KeyboardInterrupt

    for sink in (posteriors_file(tmp_path / "p.parquet"), samples_file(tmp_path / "s.parquet", 10, estimator)):
        with pytest.raises(KeyboardInterrupt):
            run(sink)
    assert list(tmp_path.iterdir()) == []

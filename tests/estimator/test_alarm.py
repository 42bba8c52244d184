"""The alarm of an estimator: part of its warnings, saved with it, and fitted by a training run to held-out mocks."""

from dataclasses import replace

import numpy as np
import pytest

from clustermocks import Catalogue, FlatMasses, HaloModel
from clustermocks.mocks import run as simulation
from clustermocks.perturbations import in_wrong_units
from sbi_clustermass import MassEstimator
from sbi_clustermass.estimator import training_run
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.estimator.training_run import run_training, split_held_out


@pytest.fixture(scope="module")
def with_alarm(estimator, others):
    return estimator.with_alarm(others.select(np.arange(2000)), seed=1)


def unlike(estimator, clusters):
    """Share of clusters with warnings that an estimator without an alarm does not give."""
    posteriors = estimator.posterior(clusters)
    plain = replace(estimator, alarm=None).warnings(clusters, posteriors)
    pairs = zip(estimator.warnings(clusters, posteriors), plain, strict=True)
    return np.mean([len(more) > len(fewer) for more, fewer in pairs])


def test_its_warnings_name_clusters_in_wrong_units_and_leave_mocks_alone(with_alarm, others):
    fresh = others.select(np.arange(2000, len(others)))
    assert unlike(with_alarm, fresh) < 0.03  # stated at most .01 of 600, known to .004 each from 1000 mocks held out
    assert unlike(with_alarm, in_wrong_units(fresh.select(np.arange(60)), 1e-3)) > 0.95  # 57 of 60 at least


def test_a_saved_alarm_gives_the_same_warnings(with_alarm, others, tmp_path):
    with_alarm.save(tmp_path)
    again = MassEstimator.load(tmp_path, device="cpu")
    some = in_wrong_units(others.select(np.arange(2000, 2050)), 0.5)
    posteriors = with_alarm.posterior(some)
    assert again.warnings(some, posteriors) == with_alarm.warnings(some, posteriors)
    assert again.provenance.alarm_clusters == 2000


@pytest.mark.parametrize("harm", ["missing", "cut short", "of another"])
def test_an_alarm_that_is_not_the_saved_one_is_refused(with_alarm, tmp_path, harm):
    with_alarm.save(tmp_path)
    path = tmp_path / "alarm.safetensors"
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100] if harm == "cut short" else b"\0" * 4000)
    with pytest.raises((ValueError, FileNotFoundError), match=r"alarm\.safetensors"):
        MassEstimator.load(tmp_path)


def test_a_folder_without_an_alarm_has_none(model):
    assert MassEstimator.load(model).alarm is None


@pytest.mark.slow
def test_a_training_holds_out_hosts_and_trains_on_the_others(tmp_path):
    mocks = HaloModel().simulate(FlatMasses(13.5, 15.0).draw(5200, seed=6), seed=6, lines_of_sight=2)
    rest, held_out = split_held_out(mocks, 1000, seed=3)
    assert held_out is not None
    assert len(held_out) == pytest.approx(1000, abs=60)  # a share of the hosts, with two clusters each
    assert len(rest) + len(held_out) == len(mocks)
    assert not np.intersect1d(rest.host_id, held_out.host_id).size
    assert split_held_out(mocks.select(np.arange(5000)), 1000, seed=3)[1] is None  # a tenth is too few
    mocks.to_parquet(tmp_path / "mocks.parquet")
    options = TrainingOptions(embedding="summary", max_updates=20, alarm=1000, seed=3)
    made = run_training(options, tmp_path / "mocks.parquet", tmp_path / "run")
    assert made.provenance.training_clusters == len(rest)
    assert made.provenance.alarm_clusters == len(held_out)
    assert MassEstimator.load(tmp_path / "run").alarm is not None


def test_mocks_are_held_out_of_each_part_as_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(training_run, "_LARGEST_SHARE", 0.5)  # or it would take 10 000 mocks
    monkeypatch.setattr(simulation, "PART", 4)
    HaloModel().simulate_to(tmp_path / "mocks", FlatMasses(13.5, 15.0).draw(2300, seed=7), seed=7)
    assert len(list((tmp_path / "mocks").glob("part-*"))) > 1
    options = TrainingOptions(embedding="summary", max_updates=20, alarm=1000, seed=3)
    made = run_training(options, tmp_path / "mocks", tmp_path / "run")
    whole = Catalogue.from_parquet(tmp_path / "mocks")
    kept = made.provenance.alarm_clusters
    assert made.provenance.training_clusters + kept == len(whole)
    assert kept == pytest.approx(1000, abs=10)

"""A recalibrated estimator: better on fresh clusters, the same when it is loaded, and made by a training run."""

import json

import numpy as np
import pytest

from clustermocks import FlatMasses, HaloModel
from clustermocks.io.progress import silent
from sbi_clustermass import MassEstimator, train
from sbi_clustermass.estimator import training_run
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.estimator.training_run import flow_for, run_training, training_for


@pytest.fixture(scope="module")
def estimator(mocks):
    """A network on summary statistics after 50 updates, whose posteriors are visibly off."""
    options = TrainingOptions(embedding="summary", max_updates=50)
    return train(mocks, flow=flow_for(options), training=training_for(options), support=(13.0, 15.6), device="cpu")


@pytest.fixture(scope="module")
def recalibrated(estimator, others):
    return estimator.recalibrated(others.select(np.arange(1300)))


def test_masses_of_fresh_clusters_get_likelier(estimator, recalibrated):
    """A short training has biased and wrongly sized posteriors; the correction also holds for fresh clusters."""
    fresh = HaloModel().simulate(FlatMasses(13.0, 15.6).draw(4000, seed=8), seed=8)
    before, after = (each.posterior(fresh).log_prob_at(fresh.log10_mass) for each in (estimator, recalibrated))
    gain = after - before
    assert gain.mean() > 3 * gain.std() / np.sqrt(len(gain))  # three errors of the mean gain above none
    applied = recalibrated.recalibration.apply(estimator.posterior(fresh))
    np.testing.assert_array_equal(recalibrated.posterior(fresh).log_prob, applied.log_prob)


def test_a_recalibration_is_saved_and_members_have_none(recalibrated, others, tmp_path):
    recalibrated.save(tmp_path)
    again, some = MassEstimator.load(tmp_path, device="cpu"), others.select(np.arange(20))
    assert again.recalibration == recalibrated.recalibration
    np.testing.assert_array_equal(again.posterior(some).log_prob, recalibrated.posterior(some).log_prob)
    assert all(member.recalibration is None for member in recalibrated.members)


def test_a_recalibration_is_done_once_and_on_enough_clusters(estimator, recalibrated, others):
    with pytest.raises(ValueError, match="already"):
        recalibrated.recalibrated(others.select(np.arange(200)))
    with pytest.raises(ValueError, match="alarm=None"):
        estimator.with_alarm(others.select(np.arange(1200))).recalibrated(others)
    with pytest.raises(ValueError, match="100 clusters"):
        estimator.recalibrated(others.select(np.arange(50)))


@pytest.mark.parametrize("change", [{"width": -1.0}, {"width": None}, {"width": float("nan")}, {"more": 1.0}])
def test_a_card_with_an_invalid_recalibration_is_refused(recalibrated, tmp_path, change):
    recalibrated.save(tmp_path)
    path = tmp_path / "estimator.json"
    card = json.loads(path.read_text())
    card["recalibration"] |= change
    path.write_text(json.dumps(card))
    with pytest.raises(ValueError, match="recalibration"):
        MassEstimator.load(tmp_path)


def test_a_training_run_recalibrates_by_the_clusters_that_it_holds_out(others, tmp_path, monkeypatch):
    others.to_parquet(tmp_path / "mocks.parquet")
    options = TrainingOptions(embedding="summary", max_updates=20, alarm=1050, recalibrate=True, device="cpu")
    with pytest.raises(ValueError, match="a tenth of them at most"):  # before the training
        run_training(options, tmp_path / "mocks.parquet", tmp_path / "run")
    monkeypatch.setattr(training_run, "_LARGEST_SHARE", 0.5)
    run_training(options, tmp_path / "mocks.parquet", tmp_path / "run")
    estimator = MassEstimator.load(tmp_path / "run", device="cpu")
    assert estimator.recalibration is not None
    assert 900 < estimator.provenance.recalibration_clusters < 1100


@pytest.mark.parametrize("kept", [300, 60])
def test_too_few_held_out_clusters_are_reported_and_not_claimed(estimator, others, kept):
    options = TrainingOptions(alarm=1050, recalibrate=True, device="cpu")
    with pytest.warns(UserWarning, match="too few to learn what mocks look like|Not recalibrated") as caught:
        made = training_run._with_alarm(options, estimator, [others.select(np.arange(kept))], silent)
    messages = [str(each.message) for each in caught]
    assert made.alarm is None
    assert made.provenance.alarm_clusters is None
    assert any(message.startswith(f"{kept} mocks") for message in messages)
    assert (made.recalibration is None) == (kept < 100) == any("Not recalibrated" in message for message in messages)

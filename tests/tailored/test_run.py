"""One command from a table to an estimator that fits it; an interrupted one goes on."""

from pathlib import Path

import numpy as np
import pytest

from clustermocks import HaloModel, Observation
from sbi_clustermass import MassEstimator
from sbi_clustermass.cli.main import main
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.tailored import Wishes, choose, measure_tables, train_for
from sbi_clustermass.tailored.mocks import simulate

SMALL = ("--n", "1000", "--max-updates", "10", "--members", "1", "--alarm", "0", "--device", "cpu", "-j", "1")


def run(*arguments) -> int:
    """The command's exit status."""
    with pytest.raises(SystemExit) as end:
        main([str(each) for each in arguments])
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def table(observer, tmp_path_factory) -> Path:
    """Forty clusters at redshift .3, each with six of ten galaxies."""
    model = HaloModel(observation=Observation(redshift=0.3), completeness=0.6)
    return observer.as_sky(observer.simulated(model, n=40), tmp_path_factory.mktemp("data") / "mine.csv")


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory) -> Path:
    """What the command writes."""
    out = tmp_path_factory.mktemp("run") / "mine"
    assert run("train", "--for", table, "--out", out, *SMALL) == 0
    return out


def test_the_estimator_is_trained_at_the_redshift_of_the_data_and_lists_the_choices(folder):
    estimator = MassEstimator.load(folder, device="cpu")
    assert estimator.observation.redshift == pytest.approx(0.3, abs=0.001)  # a biweight of a dozen clusters
    assert not estimator.counts_galaxies
    assert estimator.support == (13.0, 15.6)
    assert estimator.provenance.mocks.velocity_error == (0.0, 100.0)
    assert "chosen_completeness" in estimator.provenance.notes
    written = (folder / "choices.md").read_text()
    for word in ("redshift", "aperture", "completeness", "velocity errors", "richness"):
        assert f"| {word} " in written


def test_the_data_get_masses_from_it(folder, table, capsys):
    assert run("infer", table, "--model", folder) == 0
    assert "log10 M200c" in capsys.readouterr().out


def test_the_training_clusters_are_as_incomplete_as_the_data(observer, table, tmp_path):
    survey = measure_tables([table])
    mocks = simulate(choose(survey, Wishes(n=400)), tmp_path, seed=1, n_jobs=1, progress=lambda _: None)
    seen = next(iter(mocks))
    whole = HaloModel(observation=Observation(redshift=0.3)).simulate(seen.log10_mass, seed=9)
    kept = np.log10(np.median(seen.n_galaxies) / np.median(whole.n_galaxies))
    # the clusters know the depth to .06 dex at worst; the thinning's range is symmetric about it, in log
    assert kept == pytest.approx(np.log10(0.6), abs=3 * 0.06)


@pytest.mark.slow
def test_shells_of_redshift_are_one_training_set(observer, tmp_path):
    paths = [
        observer.as_distances(observer.simulated(HaloModel(observation=Observation(redshift=z)), n=6), tmp_path / name)
        for z, name in ((0.05, "near.csv"), (0.6, "far.csv"))
    ]
    choices = choose(measure_tables(paths, observer.options), Wishes(n=1000))
    assert len(choices.redshifts) > 1
    options = TrainingOptions(members=1, max_updates=5, alarm=0, device="cpu")
    estimator = train_for(choices, tmp_path / "run", options=options, n_jobs=1)
    assert estimator.provenance.mocks.redshifts == choices.redshifts
    assert len(list((tmp_path / "run" / "mocks").iterdir())) == len(choices.redshifts)


def test_an_interrupted_run_goes_on_to_the_same_estimator(folder, table, tmp_path, capsys, monkeypatch):
    def stop(*arguments, **named):
        raise OSError("the machine stopped")

    command = ["train", "--for", table, "--out", tmp_path / "mine", *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr("sbi_clustermass.estimator.training_run.train", stop)
        assert run(*command) == 2
    assert not (tmp_path / "mine" / "estimator.json").exists()
    (part,) = (tmp_path / "mine" / "mocks").glob("*/part-00000.parquet")
    made = part.stat().st_mtime_ns
    assert run(*command) == 0
    assert part.stat().st_mtime_ns == made
    weights = "estimator.safetensors"
    assert (tmp_path / "mine" / weights).read_bytes() == (folder / weights).read_bytes()
    capsys.readouterr()
    assert run(*command, "--min-galaxies", 20) == 2
    assert "begun with other settings" in capsys.readouterr().err


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(table, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("train", "--for", table, "--dry-run") == 0
    out = capsys.readouterr().out
    assert "redshift" in out
    assert "does not count" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "train needs mocks"),
        (["train", "mocks.parquet", "--for", "a.csv", "--out", "runs"], "not both"),
        (["train", "--for", "nothing.csv", "--out", "runs"], "no such file"),
        (["train", "mocks.parquet"], "--out"),
        (["train", "--for", "a.csv", "--cleaning", "cliping"], 'Did you mean "clipping"'),
        (["train", "mocks.parquet", "--out", "tr", "--dry-run"], "without --for TABLE"),
        (["train", "mocks.parquet", "--out", "tr", "--n", "2000", "--fibre-collision", "55"], "--n, --fibre-collision"),
        (
            [
                *("train", "mocks.parquet", "--out", "tr", "--redshift", "0.1", "--centre", "1,2", "--h", "0.7"),
                *("--Om", "0.3", "--distance", "comoving", "--column", "z=zspec", "--id", "a", "--table", "b"),
            ],
            "--redshift, --centre, --h, --Om, --distance, --column, --id, --table",
        ),
        (["train", "mocks.parquet", "--out", "tr", "--checkpoint", "../tr"], "cannot be that of the training's state"),
    ],
)
def test_mistakes_are_answered_in_one_message(arguments, message, capsys, tmp_path, monkeypatch):
    (tmp_path / "tr").mkdir()
    monkeypatch.chdir(tmp_path / "tr")
    arguments = [str(tmp_path / "tr") if each == "tr" else each for each in arguments]
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
    assert list((tmp_path / "tr").iterdir()) == []


def test_a_state_in_the_estimators_own_folder_is_refused_before_the_simulation(table, tmp_path, capsys):
    assert run("train", "--for", table, "--out", tmp_path / "mine", "--checkpoint", tmp_path / "mine", *SMALL) == 2
    assert "cannot be that of the training's state" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()

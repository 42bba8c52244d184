"""One command from a table to an estimator that fits it; an interrupted one goes on."""

from pathlib import Path

import pytest
from astropy.table import Table

from clustermocks import Catalogue, HaloModel, Observation, PhysicsPrior
from sbi_clustermass import MassEstimator
from sbi_clustermass.cli.main import main
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.tailored import choose, measure_tables, train_for
from sbi_clustermass.tailored.choices import MASSES

SMALL = ("--n", "1000", "--max-updates", "10", "--members", "1", "--alarm", "0", "--device", "cpu", "-j", "1")


def run(*arguments) -> int:
    """The command's exit status."""
    with pytest.raises(SystemExit) as end:
        main([str(each) for each in arguments])
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def table(observer, tmp_path_factory) -> Path:
    """Forty clusters at redshift .3, each with six of ten galaxies, and the errors of their velocities."""
    model = HaloModel(observation=Observation(redshift=0.3), completeness=0.6)
    mocks = observer.simulated(model, n=40)
    return observer.as_sky(mocks, tmp_path_factory.mktemp("data") / "mine.csv", error=50.0)


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory) -> Path:
    """What the command writes."""
    out = tmp_path_factory.mktemp("run") / "mine"
    assert run("train", "--for", table, "--out", out, *SMALL) == 0
    return out


def test_the_estimator_is_trained_on_surveys_like_the_data_and_lists_the_choices(folder):
    estimator = MassEstimator.load(folder, device="cpu")
    surveys = estimator.provenance.mocks.surveys
    assert surveys["redshift"] == pytest.approx((0.235, 0.365), abs=0.001)  # a biweight of a dozen clusters
    assert surveys["velocity_error"] == pytest.approx((35, 65), rel=0.01)
    assert estimator.takes_conditions
    assert estimator.counts_galaxies
    assert estimator.support == pytest.approx((12.8, 15.8), abs=0.02)  # of the masses drawn
    assert "0.3" in estimator.provenance.notes["chosen_redshift"]
    written = (folder / "choices.md").read_text()
    for word in ("redshift", "field", "velocity errors", "rounding", "interlopers", "depth and targeting"):
        assert f"| {word} " in written


def test_the_data_get_masses_from_it_and_a_table_that_states_other_things_none(folder, table, tmp_path, capsys):
    assert run("infer", table, "--model", folder) == 0
    out = capsys.readouterr().out
    assert "log10 M200c" in out
    assert "redshift" not in "".join(line for line in out.splitlines() if "warning" in line)
    assert run("infer", table, "--model", folder, "--cleaned") == 2
    assert "removal of interlopers" in "".join(capsys.readouterr())
    bare = Table.read(table)
    bare.remove_column("z_err")
    bare.write(tmp_path / "bare.csv")
    assert run("infer", tmp_path / "bare.csv", "--model", folder) == 2
    assert "velocity errors: not stated" in "".join(capsys.readouterr())


def test_a_table_that_is_said_to_be_cleaned_gets_masses_where_it_is_said_again(observer, tmp_path, capsys):
    path = observer.as_distances(observer.simulated(n=10), tmp_path / "mine.csv")
    told = ("--h", 1, "--distance", "comoving", "--cleaned")
    assert run("train", "--for", path, "--out", tmp_path / "run", *told, *SMALL) == 0
    assert (Catalogue.from_parquet(tmp_path / "run" / "mocks").conditions()[:, 1:] == (0, 1)).all()
    estimator = MassEstimator.load(tmp_path / "run", device="cpu")
    assert (estimator.provenance.mocks.surveys["cleaned"], estimator.provenance.mocks.surveys["stated"]) == (1, 0)
    assert run("infer", path, "--model", tmp_path / "run", *told) == 0
    assert run("infer", path, "--model", tmp_path / "run", *told[:-1]) == 2


@pytest.mark.slow
def test_masses_of_clusters_like_the_data_are_unbiased_and_error_bars_right(table, tmp_path):
    choices = choose(measure_tables([table]), n=12_000)
    options = TrainingOptions(members=1, max_updates=1500, alarm=0, device="cpu")
    estimator = train_for(choices, tmp_path / "run", options=options, n_jobs=1)
    masses = MASSES.draw(2000, seed=9)  # error bars hold for the prior
    test = choices.model.simulate(masses, seed=9, surveys=choices.surveys, physics=PhysicsPrior())
    posteriors = estimator.posterior(test)
    low, high = posteriors.quantile([0.16, 0.84])
    inside = ((test.log10_mass > low) & (test.log10_mass < high)).mean()
    residual = posteriors.mean - test.log10_mass
    # .4 dex over 1200 clusters: .012 by chance, three times that and as much for one small network
    assert abs(residual.mean()) < 0.05
    assert abs(inside - 0.68) < 0.06  # .013 by chance; one network alone is too sure of itself by some points


def test_an_interrupted_run_goes_on_to_the_same_estimator(folder, table, tmp_path, capsys, monkeypatch):
    def stop(*arguments, **named):
        raise OSError("the machine stopped")

    command = ["train", "--for", table, "--out", tmp_path / "mine", *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr("sbi_clustermass.estimator.training_run.train", stop)
        assert run(*command) == 2
    assert not (tmp_path / "mine" / "estimator.json").exists()
    (part,) = (tmp_path / "mine" / "mocks").glob("part-00000.parquet")
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
    assert "40 of 40 clusters at 0.3" in out
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
        (["train", "mocks.parquet", "--out", "tr", "--n", "2000", "--cleaned"], "--n, --cleaned"),
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

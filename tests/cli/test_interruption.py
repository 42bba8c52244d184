"""Ctrl-C and SIGTERM end a command with one line on how to go on, and a status of their own; so does a gone reader."""

import os
import signal

import pytest

import clustermocks.mocks.run
from sbi_clustermass import StackedAffine, Training
from sbi_clustermass.cli.interruption import Terminated
from sbi_clustermass.estimator import training_run
from tests.cli.test_cli import KNOWN, phase_space, run, write


@pytest.fixture
def chunks_of_ten(monkeypatch):
    monkeypatch.setattr(clustermocks.mocks.run, "CHUNK", 10)
    monkeypatch.setattr(clustermocks.mocks.run, "PART", 1)


def stopping(number: int, how):
    """A function for `_reported` that stops the work at the given chunk."""
    reported = clustermocks.mocks.run._reported

    def stop(chunks, progress, done=0):
        for i, chunk in enumerate(reported(chunks, progress, done)):
            if i == number:
                how()
            yield chunk

    return stop


def interrupt() -> None:
    raise KeyboardInterrupt


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(("how", "status"), [(interrupt, 130), (terminate, 143)])
@pytest.mark.usefixtures("chunks_of_ten")
def test_a_simulation_that_is_stopped_says_how_to_go_on_and_does(capsys, tmp_path, monkeypatch, how, status):
    command = ("simulate", f"{tmp_path / 'mocks'}/", "--n", 40, "--low", 14.5, "--jobs", 1)
    with monkeypatch.context() as patch:
        patch.setattr(clustermocks.mocks.run, "_reported", stopping(2, how))
        found, _, err = run(capsys, *command)
    assert found == status
    assert err == f"clustermass: stopped. The same command goes on with {tmp_path / 'mocks'}/.\n"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    kept = (tmp_path / "mocks" / "part-00000.parquet").stat().st_mtime_ns
    assert run(capsys, *command)[0] == 0
    assert (tmp_path / "mocks" / "part-00000.parquet").stat().st_mtime_ns == kept


@pytest.mark.usefixtures("chunks_of_ten")
def test_a_single_file_that_is_stopped_is_not_there_and_the_message_says_so(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(clustermocks.mocks.run, "_reported", stopping(1, interrupt))
    status, _, err = run(capsys, "simulate", tmp_path / "mocks.parquet", "--n", 40, "--jobs", 1)
    assert status == 130
    assert "the same command begins again" in err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), 130), (Terminated(), 143)])
def test_training_inference_of_a_folder_and_others_say_how_to_go_on(
    capsys, tmp_path, model, monkeypatch, error, status
):
    def stop(*_, **__):
        raise type(error)

    mocks = tmp_path / "mocks.parquet"
    monkeypatch.setattr("sbi_clustermass.estimator.training_run.run_training", stop)
    monkeypatch.setattr("sbi_clustermass.observations.infer_parts", stop)
    monkeypatch.setattr("sbi_clustermass.population.run.run_population", stop)
    out = tmp_path / "out"
    for command, how in (
        (("train", mocks, "--out", out), f"goes on with the training in {out}/"),
        (("infer", tmp_path, "--model", model, "--out", out), f"goes on with the tables that {out}/ lacks"),
        (("population", mocks, "--out", out), "begins again"),
    ):
        found, _, err = run(capsys, *command)
        assert (found, len(err.splitlines())) == (status, 1)
        assert how in err


def test_a_reader_that_has_gone_ends_the_command_quietly(capsys, model, tmp_path, monkeypatch):
    ended = []
    monkeypatch.setattr("sbi_clustermass.cli.main.leave_broken_pipe", lambda: ended.append(1) or exit(141))

    def broken(*_, **__):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("rich.console.Console._write_buffer", broken)
    path = write(phase_space(), tmp_path / "coma.csv")
    status, _, err = run(capsys, "infer", path, "--model", model, *KNOWN)
    assert (status, err, ended) == (141, "", [1])


@pytest.fixture
def quick(monkeypatch):
    """A training of a moment."""
    monkeypatch.setattr(training_run, "flow_for", lambda options: StackedAffine(blocks=1, hidden=(8,)))
    monkeypatch.setattr(training_run, "training_for", lambda options: Training(max_updates=3, seed=options.seed))


@pytest.mark.usefixtures("quick")
def test_a_finished_training_given_again_says_so_and_trains_nothing(capsys, mocks, tmp_path):
    path, out = tmp_path / "mocks.parquet", tmp_path / "run"
    mocks.to_parquet(path)
    command = ("train", path, "--out", out, "--device", "cpu")
    with pytest.warns(UserWarning, match=r"No alarm: it takes 1000 mocks .* there are 1500"):
        status, text, _ = run(capsys, *command)
    assert (status, text.splitlines()[-2].startswith(f"Wrote {out}/")) == (0, True)
    before = {each.name: each.stat().st_mtime_ns for each in out.iterdir()}
    status, text, _ = run(capsys, *command)
    assert (status, "nothing was done" in text) == (0, True)
    assert {each.name: each.stat().st_mtime_ns for each in out.iterdir()} == before
    for changed in (("--alarm", 0, "--seed", 2), ("--alarm", 0)):  # another training is one
        assert "nothing was done" not in run(capsys, *command, *changed)[1]
    mocks.select(range(1200)).to_parquet(path)
    assert "nothing was done" not in run(capsys, *command, "--alarm", 0)[1]
    (out / "estimator.json").write_text("{}")  # damaged: it is trained anew
    assert "nothing was done" not in run(capsys, *command, "--alarm", 0)[1]


@pytest.mark.usefixtures("quick")
def test_a_mass_from_fewer_than_a_thousand_mocks_is_doubtful(capsys, mocks, tmp_path):
    mocks.select(range(500)).to_parquet(tmp_path / "few.parquet")
    run(capsys, "train", tmp_path / "few.parquet", "--out", tmp_path / "run", "--device", "cpu", "--alarm", 0)
    path = write(phase_space(), tmp_path / "coma.csv")
    status, text, _ = run(capsys, "infer", path, "--model", tmp_path / "run", *KNOWN)
    assert status == 0
    assert "trained on 500 mock clusters; its error bars are not reliable" in text
    assert text.startswith("This model has no alarm")
    assert "\ncoma: care\n" in text

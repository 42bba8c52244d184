"""kill -9 at any moment: nothing corrupt, nothing half-written, and the same command ends in the same result.

Moments are in seconds of the process's own work, so that they mean the same on a busy machine.
"""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import clustermocks.mocks.run
from clustermocks import Catalogue
from clustermocks.io.atomic import remove_leftovers, replacing

PARTS = "import clustermocks.mocks.run\nclustermocks.mocks.run.PART = 1\n"
SOON = """
import signal, {imported}
signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process at once: no exception, no clearing up
signal.setitimer(signal.ITIMER_PROF, {moment})
"""
AT_A_LOOK = """
import os, signal
import sbi_clustermass.training.ensemble_training
class Last(sbi_clustermass.training.ensemble_training.Checkpoint):
    looks = 0
    def write(self, state, *, last=False):
        self.every = 0.0  # at each look, not each half minute
        super().write(state, last=last)
        Last.looks += 1
        if Last.looks == {look}:
            os.kill(os.getpid(), signal.SIGKILL)
sbi_clustermass.training.ensemble_training.Checkpoint = Last
"""
UNNAMED = """
import os, signal
import clustermocks.io.atomic
def _to_disk(path, left=[{files}]):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
clustermocks.io.atomic._to_disk = _to_disk
"""  # between a file's writing and its renaming


def content(folder: Path) -> dict[str, bytes]:
    """Every file under a folder but pictures and web pages, whose bytes tell the time."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".png", ".html")
    }


def soon(moment: float, imported: str = "clustermocks.mocks.halo_model") -> str:
    """Python that ends its process after so many seconds of work, those of its imports not counted."""
    return SOON.format(moment=moment, imported=imported)


def ended(process) -> int:
    """Its exit status, once it has ended."""
    process.communicate()
    return process.returncode


def moments(longest: float, n: int) -> list[float]:
    """Random moments [s]."""
    return np.random.default_rng(3).uniform(0.01, longest, n).round(3).tolist()


def unnamed(folder: Path) -> list[str]:
    """Files that have not got their names, or are of a claim."""
    return [path.name for path in folder.rglob(".*")]


@pytest.fixture
def simulated(tmp_path, command, monkeypatch):
    """Arguments of a simulation in four parts, and the catalogue that it gives when nobody disturbs it."""
    monkeypatch.setattr(clustermocks.mocks.run, "PART", 1)
    arguments = ("--n", 1000, "--low", 13.5, "--preset", "ho2019")
    assert command("simulate", f"{tmp_path / 'whole'}/", *arguments, "--jobs", 1)[0] == 0
    return arguments, Catalogue.from_parquet(tmp_path / "whole")


def check_resumed(folder: Path, arguments: tuple, whole: Catalogue, command) -> None:
    status, _, err = command("simulate", f"{folder}/", *arguments, "--jobs", 1)
    assert status == 0, err
    assert not unnamed(folder)
    back = Catalogue.from_parquet(folder)
    assert back.clusters.equals(whole.clusters)
    assert back.attempts.equals(whole.attempts)


def test_a_killed_simulation_into_a_folder_goes_on_to_the_same_clusters(tmp_path, start, command, simulated):
    killed = {  # while the first file, the folder's header, has no name yet; and the second part
        files: start(
            *("simulate", f"{tmp_path / str(files)}/", *simulated[0], "--jobs", 1),
            first=PARTS + UNNAMED.format(files=files),
        )
        for files in (1, 3)
    }
    for files, process in killed.items():
        assert ended(process) == -signal.SIGKILL
        assert len(unnamed(tmp_path / str(files))) == 3  # the claim, its owner, the file
        check_resumed(tmp_path / str(files), *simulated, command)


@pytest.mark.slow
def test_a_simulation_into_a_folder_may_be_killed_at_any_moment(tmp_path, start, command, simulated):
    statuses = []
    for number, moment in enumerate(moments(1.2, 12)):
        folder = tmp_path / str(number)
        statuses.append(ended(start("simulate", f"{folder}/", *simulated[0], "--jobs", 1, first=PARTS + soon(moment))))
        check_resumed(folder, *simulated, command)
    assert statuses.count(-signal.SIGPROF) > 6


@pytest.mark.slow
@pytest.mark.parametrize("files", [2, 3])
def test_the_workers_of_a_killed_simulation_end_with_it(tmp_path, start, command, simulated, files):
    first = PARTS + UNNAMED.format(files=files)
    process = start("simulate", f"{tmp_path / 'mocks'}/", *simulated[0], "--jobs", 2, first=first)
    began = time.monotonic()
    assert ended(process) == -signal.SIGKILL  # its output ends when nobody holds the other end any more
    assert time.monotonic() - began < 200  # joblib's own workers wait for 300 s
    check_resumed(tmp_path / "mocks", *simulated, command)


@pytest.mark.slow
def test_a_simulation_into_a_file_may_be_killed_at_any_moment(tmp_path, start, command):
    out, arguments = tmp_path / "mocks.parquet", ("--n", 300, "--jobs", 1)
    assert command("simulate", out, *arguments, "--seed", 2)[0] == 0
    before = out.read_bytes()
    for first in (UNNAMED.format(files=1), *map(soon, moments(1.0, 6))):
        status = ended(start("simulate", out, *arguments, first=first))
        assert (out.read_bytes() == before) == (status != 0)
        if status == 0:
            assert command("simulate", out, *arguments, "--seed", 2)[0] == 0
    assert command("simulate", out, *arguments)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mocks.parquet"]
    assert Catalogue.from_parquet(out).provenance.seed == 1


@pytest.fixture
def training(tmp_path, mocks) -> Callable[[Path], tuple]:
    """The arguments of a short training."""
    mocks.select(np.arange(300)).to_parquet(tmp_path / "mocks.parquet")
    return lambda out: (
        *("train", tmp_path / "mocks.parquet", "--out", out, "--embedding", "summary", "--flow", "mdn"),
        *("--max-updates", 120, "--alarm", 0, "--device", "cpu"),
    )


def check_trained(out: Path, arguments: tuple, whole: dict[str, bytes], command) -> None:
    status, _, err = command(*arguments)
    assert status == 0, err
    assert content(out) == whole
    assert not unnamed(out)


def test_a_killed_training_ends_in_the_same_files_bit_for_bit(tmp_path, start, command, training):
    out = tmp_path / "model"
    killed = start(*training(out), first=AT_A_LOOK.format(look=1))
    assert command(*training(tmp_path / "whole"))[0] == 0
    whole = content(tmp_path / "whole")
    assert ended(killed) == -signal.SIGKILL
    assert (out / "checkpoint" / "member-0.safetensors").exists()  # to go on from
    check_trained(out, training(out), whole, command)


@pytest.mark.slow
def test_a_training_may_be_killed_at_any_moment(tmp_path, start, command, training):
    assert command(*training(tmp_path / "whole"))[0] == 0
    whole = content(tmp_path / "whole")
    firsts = [soon(moment, "sbi_clustermass.estimator.training_run") for moment in moments(4.0, 8)]
    firsts += [UNNAMED.format(files=files) for files in range(1, 6)]  # the state, weights, card, history, picture
    for number, first in enumerate(firsts):
        out = tmp_path / str(number)
        ended(start(*training(out), first=AT_A_LOOK.format(look=-1) + first))
        check_trained(out, training(out), whole, command)


@pytest.fixture
def inference(tmp_path, survey, plain_model) -> tuple:
    """The arguments of an inference of many clusters."""
    return ("infer", survey(60, 40), "--model", plain_model, "--out", tmp_path / "masses.csv", "--device", "cpu")


@pytest.mark.slow
def test_a_killed_inference_leaves_what_was_there_and_can_be_repeated(tmp_path, start, command, inference):
    out = tmp_path / "masses.csv"
    assert command(*inference)[0] == 0
    whole = out.read_bytes()
    out.write_text("what was there before")
    assert ended(start(*inference, first=UNNAMED.format(files=1))) == -signal.SIGKILL
    assert out.read_bytes() == b"what was there before"
    assert unnamed(tmp_path)
    assert command(*inference)[0] == 0
    assert out.read_bytes() == whole
    assert not unnamed(tmp_path)


@pytest.mark.slow
def test_an_inference_may_be_killed_at_any_moment(tmp_path, start, command, inference):
    out = tmp_path / "masses.csv"
    assert command(*inference)[0] == 0
    whole = out.read_bytes()
    for moment in moments(1.5, 10):
        out.write_text("what was there before")
        ended(start(*inference, first=soon(moment, "sbi_clustermass.estimator.mass_estimator")))
        assert out.read_bytes() in (b"what was there before", whole)
    assert command(*inference)[0] == 0
    assert out.read_bytes() == whole
    assert not unnamed(tmp_path)


def test_leftovers_of_dead_processes_go_and_those_of_the_living_stay(tmp_path, start):
    path, dead = tmp_path / "mocks.parquet", start(first="raise SystemExit")
    dead.wait()
    with replacing(path) as living:
        mark = living.name.removeprefix(".mocks.parquet.")
        host, ours = mark.split("-")[:2]
        left = tmp_path / f".mocks.parquet.{host}-{dead.pid}-0123abcd"
        folder = tmp_path / f".mocks.parquet.{host}-{dead.pid}-0123abce"
        elsewhere = tmp_path / f".mocks.parquet.{'0' * 8}-{dead.pid}-0123abcd"  # of another machine: who knows
        hidden = tmp_path / ".mocks.parquet.backup"
        for each in (left, elsewhere, hidden):
            each.write_text("half")
        folder.mkdir()
        (folder / "a").write_text("half")
        remove_leftovers(tmp_path, path.name)
        assert {each.name for each in tmp_path.iterdir()} == {living.name, elsewhere.name, hidden.name}
        assert int(ours) > 0
    assert path.exists()


@pytest.mark.parametrize("name", ["a" * 250 + ".csv", "é" * 120 + ".csv"])
def test_a_name_as_long_as_the_file_system_takes_is_written(tmp_path, name):
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("a")
    assert [path.name for path in tmp_path.iterdir()] == [name]

"""Two processes never write into one folder: the second says who the first is, and stops."""

import json
import os
import platform
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from filelock import FileLock

from clustermocks import FlatMasses, HaloModel
from clustermocks.io import lock as claim
from clustermocks.io.lock import claimed
from sbi_clustermass import MassPosteriors

HOLD = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from clustermocks.io.lock import claimed
with ExitStack() as stack:
    for folder in sys.argv[1:]:
        stack.enter_context(claimed(Path(folder)))
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder():
    """Start a process that holds some folders."""
    processes = []

    def hold(*folders):
        arguments = [sys.executable, "-c", HOLD, *map(str, folders)]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in processes:
        process.kill()
        process.communicate()


def commands(folder, mocks, masses):
    """Every command that writes a folder of many files, and that folder."""
    fit = ("--form", "normal", "--sampler", "laplace")
    return {
        "simulate": (folder / "mocks", ("simulate", folder / "mocks", "--n", 300, "--jobs", 1)),
        "train": (folder / "model", ("train", mocks, "--out", folder / "model", "--max-updates", 20)),
        "demo": (folder / "demo", ("demo", "--out", folder / "demo")),
        "population": (folder / "fit", ("population", masses, "--out", folder / "fit", *fit)),
    }


def test_every_command_stops_at_a_folder_that_another_process_writes_and_names_that(tmp_path, mocks, command, holder):
    mocks.select(np.arange(200)).to_parquet(tmp_path / "mocks.parquet")
    grid = np.linspace(13, 15.6, 64)
    MassPosteriors.from_normal(np.full(20, 14.5), np.full(20, 0.2), grid).to_parquet(tmp_path / "masses.parquet")
    every = commands(tmp_path, tmp_path / "mocks.parquet", tmp_path / "masses.parquet")
    held = [folder for folder, _ in every.values()]
    process = holder(*held, tmp_path / "model" / "checkpoint")
    before = {path for folder in held for path in folder.rglob("*")}
    for name, (folder, arguments) in every.items():
        status, _, err = command(*arguments)
        assert status == 2, name
        assert f"process {process.pid} on {platform.node()}, since 20" in err
        assert str(folder) in err
        assert "another folder" in err
        assert len(err.splitlines()) <= 3
    assert {path for folder in held for path in folder.rglob("*")} == before
    process.send_signal(signal.SIGKILL)
    process.wait()
    status, _, err = command(*every["simulate"][1])
    assert status == 0, err  # the dead process's claim is void
    assert sorted(path.name for path in (tmp_path / "mocks").iterdir()) == ["_catalogue.json", "part-00000.parquet"]


def test_of_two_simulations_into_one_folder_one_ends_and_the_other_says_so(tmp_path, start, command):
    arguments = ("simulate", tmp_path / "mocks", "--n", 1000, "--jobs", 1)
    first = start(*arguments)
    assert "simulating" in first.stdout.readline()
    while not (tmp_path / "mocks" / claim.OWNER).exists() and first.poll() is None:
        pass
    status, _, err = command(*arguments)
    assert status == 2
    assert f"process {first.pid} on" in err
    assert "simulate" in err  # what it is doing
    assert first.wait(60) == 0
    assert command(*arguments)[0] == 0  # the whole folder is nobody's, and all there


def test_a_claim_excludes_other_threads_too_and_leaves_nothing(tmp_path):
    seen = []

    def other():
        with pytest.raises(BlockingIOError, match=f"process {os.getpid()} on"), claimed(tmp_path):
            pass
        seen.append(True)

    with claimed(tmp_path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert claim.holds_only_a_claim(tmp_path)
    assert seen
    assert not list(tmp_path.iterdir())
    with claimed(tmp_path):  # and can be had again
        pass


def test_a_claim_whose_owner_has_not_signed_yet_or_signed_nonsense_is_respected(tmp_path):
    lock = FileLock(str(tmp_path / claim.LOCK))
    for text in (None, "", "{", "[]", json.dumps({"process": 1})):
        if text is not None:
            (tmp_path / claim.OWNER).write_text(text)
        with lock, pytest.raises(BlockingIOError, match="just begun or is about to end"), claimed(tmp_path):
            pass


def test_without_locks_in_the_file_system_work_goes_on_with_a_warning(tmp_path, monkeypatch):
    def refuse(self, **_):
        raise OSError(37, os.strerror(37))  # ENOLCK, of a network file system without its lock server

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.warns(UserWarning, match="has no locks"), claimed(tmp_path):
        pass


def test_a_finished_catalogue_in_a_folder_that_cannot_be_written_is_read_all_the_same(tmp_path, read_only):
    masses = FlatMasses(13.5, 15.0).draw(50, seed=1)
    made = HaloModel.ho2019().simulate_to(tmp_path / "mocks", masses, seed=1)
    read_only(tmp_path / "mocks")
    told = []
    again = HaloModel.ho2019().simulate_to(tmp_path / "mocks", masses, seed=1, progress=told.append)
    assert len(again) == len(made)
    assert told == [50]

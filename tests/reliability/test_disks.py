"""Full disks and folders that cannot be written: one message, exit status 2, and what was there is as it was."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from clustermocks.io.atomic import check_output, make_folder, new_folder, replacing
from sbi_clustermass import MassEstimator
from sbi_clustermass.training.dataset import GalaxyWriter, Storage


def hidden(folder: Path) -> list[str]:
    """Files without a name of their own."""
    return [path.name for path in folder.rglob(".*")]


def commands(tmp_path: Path, out: Path, survey, model) -> dict[str, tuple]:
    """Commands that write into a folder, by what they write."""
    infer = ("infer", survey(40, 30), "--model", model, "--device", "cpu", "--out")
    simulate = ("--n", 400, "--preset", "ho2019", "--low", 14, "--jobs", 1)
    return {
        "mocks.parquet": ("simulate", out / "mocks.parquet", *simulate),
        "mocks/": ("simulate", f"{out / 'mocks'}/", *simulate),
        "masses.csv": (*infer, out / "masses.csv"),
        "masses.parquet": (*infer, out / "masses.parquet"),
        "report.html": ("report", model, "--out", out / "report.html"),
    }


def check_refusal(answer: tuple[int, str, str], where: Path) -> None:
    status, out, err = answer
    assert status == 2, (out, err)
    assert str(where) in err
    assert 1 <= len(err.splitlines()) <= 3, err
    assert "Traceback" not in out + err
    assert "try:" in err or "goes on from there" in err


def test_a_limit_on_files_stops_each_command_with_one_message(tmp_path, command, survey, plain_model, limited):
    every = commands(tmp_path, tmp_path / "out", survey, plain_model)
    (tmp_path / "out").mkdir()
    for name, arguments in every.items():
        path = tmp_path / "out" / name
        if "." in name:
            path.write_text("what was there before")
        with limited(3000):
            check_refusal(command(*arguments), path)
        assert not hidden(tmp_path / "out")
        if "." in name:
            assert path.read_text() == "what was there before"
        else:
            assert [each.name for each in path.iterdir()] == ["_catalogue.json"]


def test_a_full_disk_stops_each_command_with_one_message(tmp_path, command, survey, plain_model, small_disk):
    every = commands(tmp_path, small_disk, survey, plain_model)
    (small_disk / "all of it").write_bytes(bytes(240 * 1024))
    for name in ("mocks.parquet", "mocks/", "report.html"):
        check_refusal(command(*every[name]), small_disk / name)
        assert not hidden(small_disk)
        shutil.rmtree(small_disk / "mocks", ignore_errors=True)
    (small_disk / "all of it").unlink()
    assert command(*every["masses.csv"])[0] == 0  # there is room again


def test_a_folder_that_cannot_be_written_stops_each_command_before_its_work(
    tmp_path, command, survey, plain_model, read_only
):
    (tmp_path / "out").mkdir()
    every = commands(tmp_path, tmp_path / "out", survey, plain_model)
    read_only(tmp_path / "out")
    for arguments in (*every.values(), ("demo", "--out", tmp_path / "out" / "demo")):
        check_refusal(command(*arguments), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_training_on_a_full_disk_says_so_and_leaves_no_model(tmp_path, command, mocks, limited):
    mocks.select(np.arange(200)).to_parquet(tmp_path / "mocks.parquet")
    arguments = ("train", tmp_path / "mocks.parquet", "--out", tmp_path / "model", "--flow", "mdn")
    with limited(50_000):
        answer = command(*arguments, "--embedding", "summary", "--max-updates", 10)
    check_refusal(answer, tmp_path / "model")
    assert not (tmp_path / "model" / "estimator.json").exists()
    assert not hidden(tmp_path / "model")


def test_a_model_that_finds_no_room_leaves_the_one_before_as_it_was(tmp_path, plain, limited):
    plain.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    sizes = sorted(map(len, before.values()))
    for most in (0, 100, sizes[0] - 1, sizes[1] - 1):  # nothing fits, or one of the two files does not
        with (
            limited(most),
            pytest.raises(OSError, match=r"cannot be written \(file too large\).*\n  try:    raise the"),
        ):
            plain.save(tmp_path)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert MassEstimator.load(tmp_path, device="cpu").prior == plain.prior


def test_galaxies_that_find_no_room_on_the_disk_end_in_a_message_not_a_bus_error(tmp_path, small_disk):
    import torch

    storage = Storage(torch.device("cpu"), small_disk)
    with pytest.raises(OSError, match=r"cannot be written \(no space left on device\)"):
        storage.empty(1_000_000)
    writer = GalaxyWriter(storage)
    with pytest.raises(OSError, match=r"cannot be written \(no space left on device\)"):
        writer.append(np.ones((100_000, 2), np.float32), np.array([100_000]))


def test_files_keep_the_mode_that_the_user_asked_for(tmp_path, plain):
    plain.save(tmp_path)
    (tmp_path / "other").write_text("")
    modes = {path.name: path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(set(modes.values())) == 1, modes  # a model is for others, too: nobody asked for 0600


def test_an_error_of_the_work_itself_is_not_taken_for_one_of_the_disk(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"), replacing(tmp_path / "a.txt"):
        (tmp_path / "absent").read_text()
    with pytest.raises(ValueError, match="mine"), new_folder(tmp_path / "a"):
        raise ValueError("mine")
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_is_refused_at_once_with_its_reason(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"no folder can be made here"):
        check_output(tmp_path / "file" / "masses.csv", [".csv"])
    with pytest.raises(OSError, match=r"something else has this name"):
        make_folder(tmp_path / "file")
    with pytest.raises(OSError, match=r"file name too long.*\n  try:    a shorter name"):
        check_output(tmp_path / f"{'a' * 300}.csv", [".csv"])
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        check_output(tmp_path / "a.csv", [".csv"])


def test_a_file_is_waited_for_through_a_handle_that_may_write(tmp_path, monkeypatch):
    fcntl, modes = pytest.importorskip("fcntl"), []  # Windows, which minds, has no such module
    monkeypatch.setattr(os, "fsync", lambda handle: modes.append(fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE))
    with replacing(tmp_path / "a") as temporary:
        temporary.write_text("a")
    assert modes == [os.O_RDWR]

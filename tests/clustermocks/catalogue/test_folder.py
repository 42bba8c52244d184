"""Simulations of any size: written part by part, resumed, nothing half-written."""

import resource
import shutil
import signal
import time
import tracemalloc
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import clustermocks.mocks.run
from clustermocks import Catalogue, FlatMasses, HaloModel, Observation, StoredCatalogue
from clustermocks.io.settings import REVISION
from clustermocks.mocks.run import CHUNK

MODEL = HaloModel.ho2019()
MASSES = FlatMasses(13.5, 15.0).draw(4 * CHUNK + 10, seed=5)


def same(first: Catalogue, second: Catalogue) -> bool:
    return first.clusters.equals(second.clusters) and first.attempts.equals(second.attempts)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(clustermocks.mocks.run, "PART", 2)


@pytest.fixture(scope="module")
def whole():
    return MODEL.simulate(MASSES, seed=3)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clustermocks.mocks.run, "PART", 2)
        return MODEL.simulate_to(tmp_path_factory.mktemp("original") / "mocks", MASSES, seed=3).folder


@pytest.fixture
def stored(original, tmp_path):
    """A copy of the folder, to be damaged."""
    return StoredCatalogue.open(shutil.copytree(original, tmp_path / "mocks"))


def test_a_folder_holds_what_simulate_returns(stored, whole):
    back = Catalogue.from_parquet(stored.folder)
    assert same(back, whole)
    assert (back.observation, back.cosmology, back.provenance) == (
        whole.observation,
        whole.cosmology,
        whole.provenance,
    )
    assert back.clusters.schema == whole.clusters.schema
    assert len(stored) == len(whole)
    assert [len(part.attempts) for part in stored] == [2 * CHUNK, 2 * CHUNK, 10]
    assert len({*back.attempts["host_id"].to_pylist()}) == len(MASSES)


def test_a_run_that_was_killed_resumes_with_the_missing_parts(tmp_path, whole):
    folder = tmp_path / "mocks"
    first, last = (folder / f"part-0000{index}.parquet" for index in (0, 2))

    def wait(done: int) -> None:
        if done > 2 * CHUNK:  # in the second part
            time.sleep(60)

    # a fork has the tables of this process and needs no imports
    arguments = {"folder": folder, "log10_masses": MASSES, "seed": 3, "progress": wait}
    process = get_context("fork").Process(target=MODEL.simulate_to, kwargs=arguments, daemon=True)
    process.start()
    until = time.monotonic() + 50
    while not first.exists() and process.is_alive() and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert first.exists()
    assert not last.exists()
    with pytest.raises(ValueError, match=r"of 3 parts are missing .* part-0000[12].parquet"):
        Catalogue.from_parquet(folder)
    (folder / ".part-00001.parquet.0123abcd").write_bytes(b"as a kill in the middle of writing leaves it")
    before, done = first.stat().st_mtime_ns, []
    MODEL.simulate_to(folder, MASSES, seed=3, progress=done.append)
    assert first.stat().st_mtime_ns == before  # not made again
    assert done[0] >= 2 * CHUNK
    assert done[-1] == len(MASSES)
    assert same(Catalogue.from_parquet(folder), whole)
    assert sorted(p.name for p in folder.iterdir()) == ["_catalogue.json", *(f"part-0000{i}.parquet" for i in range(3))]


def test_an_exception_in_the_middle_keeps_the_parts_before_it(tmp_path, whole):
    def stop(done: int) -> None:
        if done > 2 * CHUNK:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MODEL.simulate_to(tmp_path / "mocks", MASSES, seed=3, progress=stop)
    assert StoredCatalogue.open(tmp_path / "mocks").missing() == [1, 2]
    assert same(MODEL.simulate_to(tmp_path / "mocks", MASSES, seed=3).load(), whole)


@pytest.mark.parametrize("n", [2 * CHUNK, 3 * CHUNK, 4 * CHUNK + 3])  # ends of a part, of a chunk, and of neither
def test_a_folder_with_more_masses_is_what_one_call_with_all_of_them_writes_to_the_byte(original, tmp_path, n):
    folder, done = tmp_path / "mocks", []
    MODEL.simulate_to(folder, MASSES[:n], seed=3)
    kept = (folder / "part-00000.parquet").stat().st_mtime_ns
    MODEL.simulate_to(folder, MASSES, seed=3, progress=done.append)
    assert (folder / "part-00000.parquet").stat().st_mtime_ns == kept
    assert done[0] == n // (2 * CHUNK) * 2 * CHUNK  # whole parts are not simulated again
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in original.iterdir()
    }


def test_an_extension_that_was_interrupted_goes_on(original, tmp_path):
    folder = tmp_path / "mocks"

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    MODEL.simulate_to(folder, MASSES[: 2 * CHUNK + 5], seed=3)
    with pytest.raises(KeyboardInterrupt):
        MODEL.simulate_to(folder, MASSES, seed=3, progress=lambda done: done > 3 * CHUNK and stop(done))
    assert MODEL.simulate_to(folder, MASSES, seed=3).folder == folder
    for path in original.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()


def test_lines_of_sight_that_differ_are_not_extended(tmp_path):
    MODEL.simulate_to(tmp_path / "mocks", MASSES[:3], seed=3, lines_of_sight=np.array([1, 3, 3]))
    with pytest.raises(ValueError, match="lines_of_sight"):  # parts on record state their range
        MODEL.simulate_to(tmp_path / "mocks", MASSES[:4], seed=3, lines_of_sight=np.array([1, 3, 3, 4]))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 4}, "seed: 3 there, 4 asked for"),
        ({"log10_masses": MASSES[:-1]}, r"log10_masses: 1010 from .* there, 1009 from .* asked for"),
        ({"log10_masses": MASSES[::-1]}, r"log10_masses: 1010 from"),
        ({"log10_masses": np.append(MASSES[1:], [14.0, 14.0])}, r"log10_masses: 1010 from .* there, 1011 from"),
        ({"model": replace(MODEL, completeness=0.5)}, "completeness: 1 there, 0.5 asked for"),
        (
            {"model": replace(MODEL, observation=Observation(min_galaxies=5))},
            "observation.min_galaxies: 10 there, 5 asked for",
        ),
    ],
)
def test_other_settings_are_refused_and_named(stored, change, named):
    arguments = {"model": MODEL, "log10_masses": MASSES, "seed": 3, **change}
    before = {path.name: path.stat().st_mtime_ns for path in stored.folder.iterdir()}
    with pytest.raises(ValueError, match=named) as error:
        arguments.pop("model").simulate_to(stored.folder, **arguments)
    assert len(str(error.value).splitlines()) == 3  # what, the one difference, what to do
    assert {path.name: path.stat().st_mtime_ns for path in stored.folder.iterdir()} == before


def test_a_folder_of_another_revision_of_the_simulator_is_refused_with_the_cure(stored, monkeypatch):
    monkeypatch.setattr(clustermocks.mocks.run, "REVISION", REVISION + 1)
    with pytest.raises(ValueError, match=rf"simulator_revision: {REVISION} there, {REVISION + 1} asked for") as error:
        MODEL.simulate_to(stored.folder, MASSES, seed=3)
    assert str(error.value).splitlines()[-1].strip().startswith("try:    the version of this package that began it")
    assert Catalogue.from_parquet(stored.folder).provenance.revision == REVISION


def test_a_whole_number_and_the_same_as_a_float_are_one_setting(tmp_path):
    masses = MASSES[:20]
    for error, aperture in ((0, 2), (0.0, 2.0), (np.float32(0), np.int64(2))):
        model = replace(MODEL, velocity_error=error, observation=Observation(aperture=aperture))
        mocks = model.simulate_to(tmp_path / "mocks", masses, seed=3).load()
        assert mocks.provenance.settings["velocity_error"] == 0


def test_lines_of_sight_are_on_record(tmp_path):
    lines = np.array([1, 3, 3])
    stored = MODEL.simulate_to(tmp_path / "mocks", MASSES[:3], seed=3, lines_of_sight=lines)
    assert stored.load().provenance.lines_of_sight == (1, 3)
    assert stored.settings["lines_of_sight"].startswith("1 to 3 ")
    assert MODEL.simulate(MASSES[:3], seed=3, lines_of_sight=2).provenance.lines_of_sight == (2, 2)


def test_a_truncated_part_is_named_and_made_again(stored, whole):
    part = stored.path(1)
    part.write_bytes(part.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"1 of 3 parts .* part-00001"):
        stored.load()
    with pytest.raises(ValueError, match=r"part-00001.*damaged"):
        list(stored)
    assert same(MODEL.simulate_to(stored.folder, MASSES, seed=3).load(), whole)


def test_a_flipped_byte_is_found(stored):
    part = stored.path(1)
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 0xFF
    part.write_bytes(content)
    whole = StoredCatalogue.open(stored.folder)
    with pytest.raises(ValueError, match=r"(?s)part-00001.*damaged.*delete part-00001.parquet"):
        whole.load()
    part.unlink()  # the cure that the message names
    assert stored.missing() == [1]


def test_a_part_of_another_size_is_not_taken_for_a_whole_one(stored):
    stored.path(2).replace(stored.path(1))
    assert stored.missing() == [1, 2]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(ValueError, match="holds other files"):
        MODEL.simulate_to(tmp_path, MASSES, seed=3)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ValueError, match="not a folder that simulate_to wrote"):
        Catalogue.from_parquet(tmp_path)
    with pytest.raises(FileNotFoundError, match="absent"):
        StoredCatalogue.open(tmp_path / "absent")
    with pytest.raises(OSError, match=r"thesis\.tex"):
        MODEL.simulate_to(tmp_path / "thesis.tex", MASSES, seed=3)


@pytest.mark.parametrize("text", ["{", "{}", '{"format": 2}', "[]"])
def test_a_damaged_header_is_named(stored, text):
    (stored.folder / "_catalogue.json").write_text(text)
    with pytest.raises(ValueError, match=r"mocks: not a folder that simulate_to wrote, or damaged"):
        Catalogue.from_parquet(stored.folder)


def test_a_full_disk_leaves_whole_parts_only_and_can_be_resumed(tmp_path, whole):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # bytes a file, as if the disk had no more
    try:
        with pytest.raises(OSError, match=r"mocks: cannot write part 0(?s:.*)Is the disk full\?"):
            MODEL.simulate_to(tmp_path / "mocks", MASSES, seed=3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in (tmp_path / "mocks").iterdir()] == ["_catalogue.json"]
    assert same(MODEL.simulate_to(tmp_path / "mocks", MASSES, seed=3).load(), whole)


def peak_memory(folder: Path, n: int) -> int:
    """Bytes that NumPy and Arrow hold at most while n clusters are simulated into a folder."""
    masses, before = np.full(n, 14.0), pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        MODEL.simulate_to(folder, masses, seed=1)
        return tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


def test_memory_does_not_grow_with_the_number_of_clusters(tmp_path):
    MODEL.simulate(MASSES[:10], seed=1)  # builds the tables
    few, many = (peak_memory(tmp_path / str(n), n) for n in (2 * CHUNK, 12 * CHUNK))
    # parts differ by chance in their number of galaxies, the largest of six by a few per cent; 2500 clusters are 9 MB
    assert many < 1.15 * few

"""Catalogues become folders of Parquet whole or not at all, in bounded memory; damaged folders say so."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from clustermocks.nbody import ArrayBox, RockstarHlist, StoredBox, UniverseMachineBinary, convert
from clustermocks.nbody.universemachine import LAYOUT

SIDE = 125.0  # two slabs
AXES = ("x", "y", "z")


@pytest.fixture
def source(formats, rows, tmp_path):
    return formats["universemachine_binary"].write(tmp_path, rows)


@pytest.fixture
def stored(source, tmp_path):
    return convert(UniverseMachineBinary(rows=10), source, tmp_path / "box", kind="galaxies", side=SIDE)


def test_a_converted_catalogue_holds_every_row_once_in_its_slab(stored, rows):
    assert stored.n_slabs == 2
    assert stored.counts == (np.sum(rows["x"] < SIDE / 2), np.sum(rows["x"] >= SIDE / 2))
    table = stored.between(0, SIDE).sort_by("id")
    np.testing.assert_array_equal(table["id"], rows["id"])
    np.testing.assert_array_equal(table["x"], rows["x"])


def test_other_tools_read_the_folder_as_a_partitioned_data_set(stored, rows):
    table = ds.dataset(stored.folder, partitioning="hive").to_table()
    assert len(table) == len(rows["id"])
    assert set(table["slab"].to_pylist()) == {0, 1}


@pytest.mark.parametrize("edges", [(0.0, 62.5), (62.5, 125.0), (-20.0, 30.0), (100.0, 140.0), (-80.0, 80.0)])
def test_rows_between_two_planes_are_those_around_the_box(stored, rows, edges):
    low, high = edges
    turns = rows["x"][:, None] + SIDE * np.arange(-1, 2)
    inside = ((turns >= low) & (turns < high)).any(axis=1)
    np.testing.assert_array_equal(stored.between(low, high).sort_by("id")["id"], rows["id"][inside])


def test_every_host_is_in_exactly_one_slab_even_at_a_face(tmp_path):
    n = 3000
    rng = np.random.default_rng(1)
    x = np.concatenate([np.linspace(0, 350, 8), np.nextafter(np.linspace(50, 350, 7), 0), rng.uniform(0, 350, n)])
    box = ArrayBox.from_arrays("haloes", 350.0, _haloes(x % 350))
    found = [box.between(i * 350 / 7, (i + 1) * 350 / 7)["id"].to_numpy() for i in range(7)]
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(len(x)))


def _haloes(x):
    n, zero = len(x), np.zeros(len(x))
    place = {"x": x, "y": zero, "z": zero, "vx": zero, "vy": zero, "vz": zero}
    return {**place, "id": np.arange(n), "host_id": np.arange(n), "is_central": np.ones(n, bool), "M200c": zero + 1e14}


def test_a_minimum_keeps_the_rows_above_it(source, rows, tmp_path):
    least = float(np.median(rows["stellar_mass"]))
    box = convert(
        UniverseMachineBinary(), source, tmp_path / "cut", kind="galaxies", side=SIDE, minimum={"stellar_mass": least}
    )
    assert sum(box.counts) == np.sum(rows["stellar_mass"] >= least)


@pytest.mark.parametrize(
    ("minimum", "message"),
    [
        ({"luminosity": 1.0}, "no column luminosity"),
        ({"accretion_mass": 1.0}, "finds no"),
        ({"stellar_mass": 1e20}, "no row"),
    ],
)
def test_a_minimum_that_cannot_be_is_refused_and_nothing_is_left(source, tmp_path, minimum, message):
    with pytest.raises(ValueError, match=message):
        convert(UniverseMachineBinary(), source, tmp_path / "cut", kind="galaxies", side=SIDE, minimum=minimum)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


@pytest.mark.parametrize("side", [20.0, 0.0, -1.0, np.nan])
def test_a_side_that_the_positions_contradict_is_refused(source, tmp_path, side):
    with pytest.raises(ValueError, match="side"):
        convert(UniverseMachineBinary(), source, tmp_path / "box", kind="galaxies", side=side)


@pytest.mark.parametrize("name", ["rockstar_hlist", "subfind"])
def test_the_side_that_files_state_is_taken_and_checked(name, formats, rows, tmp_path):
    path = formats[name].write(tmp_path, rows)
    assert convert(formats[name].reader(50), path, tmp_path / "box", kind="haloes").side == pytest.approx(
        SIDE, rel=1e-12
    )
    with pytest.raises(ValueError, match="states a box of 125"):
        convert(formats[name].reader(50), path, tmp_path / "other", kind="haloes", side=130.0)


def test_a_side_that_is_neither_stated_nor_given_is_asked_for(source, tmp_path):
    with pytest.raises(ValueError, match="give side="):
        convert(UniverseMachineBinary(), source, tmp_path / "box", kind="galaxies")
    with pytest.raises(ValueError, match="no source"):
        convert(UniverseMachineBinary(), [], tmp_path / "box", kind="galaxies")


def test_positions_a_little_outside_are_wrapped_and_damaged_ones_refused(formats, rows, tmp_path):
    outside = {**rows, "x": np.where(np.arange(len(rows["x"])) == 0, -0.25, rows["x"])}
    path = formats["universemachine_binary"].write(tmp_path, outside)
    box = convert(UniverseMachineBinary(), path, tmp_path / "box", kind="galaxies", side=SIDE)
    assert box.between(0, SIDE).sort_by("id")["x"][0].as_py() == SIDE - 0.25
    path = formats["universemachine_binary"].write(tmp_path, {**rows, "vy": np.full(len(rows["x"]), np.nan)})
    with pytest.raises(ValueError, match="vy is not a finite number"):
        convert(UniverseMachineBinary(), path, tmp_path / "other", kind="galaxies", side=SIDE)


def test_a_source_that_breaks_off_leaves_nothing(formats, rows, tmp_path):
    path = formats["rockstar_hlist"].write(tmp_path, rows)
    path.write_text(path.read_text()[:-200])
    with pytest.raises(ValueError, match="truncated"):
        convert(RockstarHlist(rows=10), path, tmp_path / "box", kind="haloes", side=SIDE)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_nothing_is_written_over(source, stored):
    with pytest.raises(FileExistsError, match="exists already"):
        convert(UniverseMachineBinary(), source, stored.folder, kind="galaxies", side=SIDE)
    assert sum(StoredBox.open(stored.folder).counts) == 57


def test_a_full_disk_leaves_nothing(source, tmp_path):
    script = f"""
import resource
from clustermocks.nbody import UniverseMachineBinary, convert
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
try:
    convert(UniverseMachineBinary(), {str(source)!r}, {str(tmp_path / "box")!r}, kind="galaxies", side={SIDE})
except OSError as error:
    print("refused:", error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert f"refused: {tmp_path / 'box'}: cannot be written (file too large)" in done.stdout, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_a_truncated_a_missing_and_a_swapped_part_are_named(stored):
    first, second = (stored.folder / f"slab={i}" / "part-0.parquet" for i in range(2))
    whole = first.read_bytes()
    first.write_bytes(whole[:-50])
    with pytest.raises(ValueError, match=r"slab=0.*truncated"):
        stored.between(0, 10)
    first.unlink()
    with pytest.raises(ValueError, match=r"slab=0.*missing"):
        stored.between(0, 10)
    second.write_bytes(whole)
    with pytest.raises(ValueError, match=r"slab=1.*expected"):
        StoredBox.open(stored.folder).between(70, 80)


def test_a_folder_that_is_no_box_is_refused(stored, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        StoredBox.open(tmp_path / "absent")
    for text in ("{", "{}", '{"format": 2}', "[]"):
        (stored.folder / "_box.json").write_text(text)
        with pytest.raises(ValueError, match="not a box"):
            StoredBox.open(stored.folder)


def peak_memory(path: Path, n_blocks: int) -> int:
    """Bytes that NumPy and Arrow hold at most while a file of n_blocks times 50 000 rows is converted."""
    rng, block = np.random.default_rng(1), np.zeros(50_000, LAYOUT)
    with path.open("wb") as file:
        for _ in range(n_blocks):
            block["pos"] = rng.uniform(0, SIDE, (len(block), 6))
            block.tofile(file)
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        box = convert(UniverseMachineBinary(rows=20_000), path, path.parent / f"{n_blocks}", kind="galaxies", side=SIDE)
        peak = tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)
    assert sum(box.counts) == n_blocks * len(block)
    return peak


def test_memory_does_not_grow_with_the_file(tmp_path):
    small, large = (peak_memory(tmp_path / f"sfr_catalog_{n}.bin", n) for n in (3, 9))
    # 2 slabs of up to 50 000 waiting rows of 77 bytes, and their compression, against files of 19 and 58 MB
    assert large < 1.2 * small
    assert large < 30e6

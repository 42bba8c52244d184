"""Group catalogues as IllustrisTNG's data specifications describe them: groups and subhaloes in chunks, ckpc/h, km/s/a.

Three groups of 4, 0 and 2 subhaloes in two files, the first group's subhaloes on both sides of their boundary.
"""

import h5py
import numpy as np
import pyarrow as pa
import pytest

from clustermocks.nbody import Subfind, convert

A, H = 0.9, 0.6774
GROUP = np.array([0, 0, 0, 0, 2, 2])
POSITION = np.arange(18.0).reshape(6, 3) + 1  # [h^-1 Mpc]
STARS = np.array([1e12, 3e10, 2e10, 1e9, 5e11, 1e10])  # [Msun]
FLAG = np.array([1, 1, 0, 1, 1, 1])


def _header(n_groups, n_subhaloes):
    return {
        "BoxSize": 205_000.0,
        "FlagDoubleprecision": 0,
        "HubbleParam": H,
        "Ngroups_ThisFile": n_groups,
        "Ngroups_Total": 3,
        "Nids_ThisFile": 0,
        "Nids_Total": 0,
        "Nsubgroups_ThisFile": n_subhaloes,
        "Nsubgroups_Total": 6,
        "NumFiles": 2,
        "Omega0": 0.3089,
        "OmegaLambda": 0.6911,
        "Redshift": 1 / A - 1,
        "Time": A,
    }


def _subhaloes(rows):
    types = np.zeros((6, 6), np.float32)
    types[:, 1], types[:, 4] = 100.0, STARS * H / 1e10
    columns = {
        "SubhaloPos": 1000 * POSITION,
        "SubhaloVel": 100 * POSITION,
        "SubhaloMass": types.sum(axis=1),
        "SubhaloMassType": types,
        "SubhaloGrNr": GROUP.astype(np.int32),
        "SubhaloFlag": FLAG.astype(bool),
        "SubhaloParent": np.zeros(6, np.int32),
    }
    return {name: values[rows] for name, values in columns.items()}


def _groups(rows):
    columns = {
        "GroupPos": 1000 * POSITION[[0, 3, 4]],
        "GroupVel": 100 * A * POSITION[[0, 3, 4]],
        "Group_M_Crit200": np.array([5e4, 10.0, 2e4], np.float32),
        "Group_R_Crit200": np.array([1300.0, 80.0, 900.0]),
        "Group_R_TopHat200": np.array([1700.0, 100.0, 1200.0]),
        "GroupFirstSub": np.array([0, -1, 4], np.int32),
        "GroupNsubs": np.array([4, 0, 2], np.int32),
    }
    return {name: values[rows] for name, values in columns.items()}


@pytest.fixture
def first_file(tmp_path):
    for i, (groups, subhaloes) in enumerate(((slice(0, 2), slice(0, 2)), (slice(2, 3), slice(2, 6)))):
        with h5py.File(tmp_path / f"fof_subhalo_tab_091.{i}.hdf5", "w") as file:
            parts = {"Group": _groups(groups), "Subhalo": _subhaloes(subhaloes)}
            numbers = [len(next(iter(part.values()))) for part in parts.values()]
            file.create_group("Header").attrs.update(_header(*numbers))
            for name, columns in parts.items():
                for theirs, values in columns.items():
                    file[f"{name}/{theirs}"] = values
    return tmp_path / "fof_subhalo_tab_091.0.hdf5"


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_main_subhaloes_are_those_of_group_first_sub_wherever_files_and_blocks_end(first_file, rows):
    table = pa.concat_tables(list(Subfind(unit_length=0.001, rows=rows).read(first_file, "galaxies")))
    kept = FLAG == 1  # the third is no galaxy
    np.testing.assert_array_equal(table["id"], np.arange(6)[kept])
    np.testing.assert_array_equal(table["host_id"], GROUP[kept])
    np.testing.assert_array_equal(table["id"].to_numpy()[table["is_central"].to_numpy()], [0, 4])
    np.testing.assert_allclose(table["stellar_mass"], STARS[kept], rtol=1e-6)  # single precision
    np.testing.assert_allclose(table["halo_mass"], 1e12 + STARS[kept] * H, rtol=1e-6)
    np.testing.assert_allclose(table["y"], POSITION[kept, 1], rtol=1e-12)
    np.testing.assert_allclose(table["vz"], 100 * POSITION[kept, 2], rtol=1e-6)


def test_groups_are_hosts_with_the_box_and_units_of_the_header(first_file, tmp_path):
    reader = Subfind(unit_length=0.001)
    haloes = pa.concat_tables(list(reader.read(first_file, "haloes")))
    np.testing.assert_allclose(haloes["M200c"], [5e14, 1e11, 2e14], rtol=1e-6)
    np.testing.assert_allclose(haloes["R_vir"], [1.7, 0.1, 1.2])
    np.testing.assert_allclose(haloes["vx"], 100 * POSITION[[0, 3, 4], 0], rtol=1e-6)  # GroupVel is in km/s/a
    box = convert(reader, first_file, tmp_path / "galaxies", kind="galaxies", minimum={"stellar_mass": 5e9})
    assert box.side == pytest.approx(205)
    assert sum(box.counts) == 4


def test_the_file_says_what_it_lacks(first_file):
    with pytest.raises(ValueError, match=r"does not state its units.*\n.*unit_length=0.001"):
        list(Subfind().read(first_file, "galaxies"))
    with h5py.File(first_file, "a") as file:
        del file["Subhalo/SubhaloGrNr"]
    with pytest.raises(ValueError, match="no dataset Subhalo"):
        list(Subfind(unit_length=0.001).read(first_file, "galaxies"))

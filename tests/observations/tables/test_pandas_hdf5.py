"""HDF5 files that pandas wrote, by default and as tables."""

import h5py
import numpy as np
import pytest
from astropy.table import Table

from sbi_clustermass.observations.tables import TableError, read_table
from tests.observations.tables.conftest import galaxies


def frame(path, columns, text):
    """The layout of `to_hdf`, which needs PyTables: a block of values for each type, and pickled text."""
    with h5py.File(path, "w") as file:
        group = file.create_group("df")
        group["axis0"], group["axis1"] = np.array([b"ra", b"dec", b"n", b"z", text]), np.arange(240)
        group["block0_items"], group["block0_values"] = (
            np.array([b"ra", b"dec", b"z"]),
            np.stack([*columns.values()], 1),
        )
        group["block1_items"], group["block1_values"] = np.array([b"n"]), np.arange(240)[:, None]
        group["block2_items"] = np.array([text])
        group.create_dataset("block2_values", (1,), h5py.vlen_dtype(np.uint8))[0] = np.frombuffer(b"pickle", np.uint8)
    return path


def test_a_frame_is_read_and_its_text_costs_only_itself(columns, expected, tmp_path):
    np.testing.assert_array_equal(galaxies(frame(tmp_path / "t.h5", columns, b"name")), expected)


def test_indices_of_pytables_are_no_tables_of_galaxies(columns, expected, tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["df/table"] = Table(columns).as_array()
        file["df/_i_table/index/bounds"], file["df/_i_table/index/sorted"] = np.zeros(5), np.zeros(5)
    np.testing.assert_array_equal(galaxies(tmp_path / "t.h5"), expected)


def test_blocks_without_names_are_refused_with_the_way_out(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["df/table"] = np.zeros(240, [("index", "i8"), ("values_block_0", "f8", (3,))])
    with pytest.raises(TableError, match=r"found:  values_block_0\n.*pandas.read_hdf"):
        read_table(tmp_path / "t.h5")


def test_text_that_pandas_pickled_is_blamed_where_it_is_needed(columns, tmp_path):
    with pytest.raises(TableError, match=r"column cluster cannot be read.\n.*pandas.read_hdf"):
        read_table(frame(tmp_path / "t.h5", columns, b"cluster"))

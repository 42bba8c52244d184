"""Every table of a file can be named, and no name means two of them, whatever the tables are called."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable.tree import Resource, TableElement, VOTableFile
from astropy.table import Table
from hypothesis import given, strategies as st

from sbi_clustermass.observations.tables import TableError
from sbi_clustermass.observations.tables.chosen_table import chosen_table
from sbi_clustermass.observations.tables.files import read_file

HERE = Path("t.fits")
NAMES = st.lists(
    st.sampled_from(["", "A", "B", "1", "2", "3", "A#1", "A#2", "#1", "1#1", "A#1#3"]), min_size=2, max_size=6
)


def asked(names, wanted=None):
    with pytest.raises(TableError) as caught:
        chosen_table(HERE, [(name, i) for i, name in enumerate(names)], wanted)
    lines = str(caught.value).splitlines()
    return lines[1].removeprefix("  found:  ").split(", "), lines


@given(NAMES)
def test_each_table_that_the_question_lists_is_the_one_that_its_name_chooses(names):
    labels, _ = asked(names)
    assert [chosen_table(HERE, [(name, i) for i, name in enumerate(names)], each) for each in labels] == list(
        range(len(names))
    )


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["GALAXIES", "GALAXIES"], ["GALAXIES#1", "GALAXIES#2"]),
        (["", "STARS", ""], ["1", "STARS", "3"]),
        (["2", "STARS"], ["2#1", "STARS"]),
        (["STARS", "2"], ["STARS", "2"]),
    ],
)
def test_the_shortest_name_that_is_clear_is_listed(names, labels):
    assert asked(names)[0] == labels


def test_a_name_that_is_also_the_number_of_another_table_is_a_question():
    labels, lines = asked(["2", "STARS"], "2")
    assert labels == ["2#1", "STARS"]
    assert lines[0] == "t.fits: 2 tables could be '2'."
    assert lines[2] == "  try:    --table '2#1'"


def test_a_table_that_is_not_there_is_answered_by_those_that_are():
    labels, lines = asked(["GALAXIES", "GALAXIES"], "STARS")
    assert labels == ["GALAXIES#1", "GALAXIES#2"]
    assert lines[0] == "t.fits: no table 'STARS'."
    assert "number from 1" in lines[2]


def write(path, values):
    tables = [Table({"z": [value]}) for value in values]
    if path.suffix == ".fits":
        parts = [fits.BinTableHDU(table, name="GALAXIES") for table in tables]
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((2, 2))), *parts]).writeto(path)
    else:
        file, resource = VOTableFile(), Resource()
        file.resources.append(resource)
        for table in tables:
            element = TableElement.from_table(file, table)
            element.name, element.ID = "GALAXIES", None
            resource.tables.append(element)
        file.to_xml(str(path))


@pytest.mark.parametrize("suffix", [".fits", ".vot"])
def test_either_of_two_tables_of_one_name_can_be_read(suffix, tmp_path):
    path = tmp_path / f"t{suffix}"
    write(path, [0.1, 0.2])
    with pytest.raises(TableError, match="GALAXIES#1, GALAXIES#2"):
        read_file(path)
    with pytest.raises(TableError, match="2 tables could be 'GALAXIES'"):
        read_file(path, "GALAXIES")
    for wanted, value in {"GALAXIES#1": 0.1, "GALAXIES#2": 0.2, "1": 0.1, "2": 0.2}.items():
        assert read_file(path, wanted)["z"].tolist() == [value]


def test_a_group_of_an_hdf5_file_that_is_named_by_a_number_is_told_from_the_table_of_that_number(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        for name, value in {"2": 0.1, "a": 0.2}.items():
            file[f"{name}/z"], file[f"{name}/ra"] = [value], [1.0]
    with pytest.raises(TableError, match="2 tables could be '2'"):
        read_file(tmp_path / "t.h5", "2")
    assert read_file(tmp_path / "t.h5", "2#1")["z"].tolist() == [0.1]
    assert read_file(tmp_path / "t.h5", "a")["z"].tolist() == [0.2]

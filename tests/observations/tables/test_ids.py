"""Names of clusters are text, as it is written, also where they look like numbers."""

import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, Table

from sbi_clustermass.observations.tables import TableError, TableOptions, Unreadable, read_cluster_list, read_clusters
from sbi_clustermass.observations.tables.column_reader import id_texts

LOOK_LIKE_NUMBERS = ("0012", "012", "12", "1E0657", "1e3", "1000", "1_000", "007", "7", "1.10", "1.1", "+5", "0x10")
WORDS = ("A 85", "A  85", "\u00c5 1", "MACS J0717.5+3745", "infinity")


def save(path, names, columns, mark=",", name="cluster"):
    rows = [f"{each}{mark}{mark.join(map(str, row))}" for each in names for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join([mark.join([name, *columns]), *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("names", [LOOK_LIKE_NUMBERS, WORDS, ("0012", "012"), ("1e3", "1000")])
@pytest.mark.parametrize(("name", "options"), [("cluster", {}), ("field", {"id": "field"}), ("field", {"id": "1"})])
def test_clusters_whose_names_differ_only_as_text_are_as_many(names, name, options, columns, tmp_path):
    few = {key: values[:60] for key, values in columns.items()}
    path = save(tmp_path / "t.csv", names, few, name=name)
    found = list(read_clusters(path, options=TableOptions(**options)))
    assert [each.name for each in found] == list(names)
    assert [each.counts.rows for each in found] == [60] * len(names)


@pytest.mark.parametrize("mark", [" ", "\t", ";", "|"])
def test_zeros_are_kept_in_text_of_any_dialect(mark, columns, tmp_path):
    few = {key: values[:60] for key, values in columns.items()}
    assert [each.name for each in read_clusters(save(tmp_path / "t.txt", ["0012", "012"], few, mark))] == [
        "0012",
        "012",
    ]


def test_a_list_of_clusters_keeps_their_names_and_says_which_one_is_nearly_meant(columns, tmp_path):
    few = {key: values[:60] for key, values in columns.items()}
    (tmp_path / "c.csv").write_text("name,ra,dec,z\n0012,359.9,40,.1\n12,359.9,40,.11\n007,359.9,40,.1\n")
    listed = read_cluster_list(tmp_path / "c.csv")
    assert [each.name for each in listed] == ["0012", "12", "007"]
    path = save(tmp_path / "t.csv", ["0012", "12", "7"], few)
    first, second, last = read_clusters(path, options=TableOptions(clusters=listed))
    assert (first.redshift, second.redshift) == (0.1, 0.11)
    assert isinstance(last, Unreadable)
    assert "no cluster '7'" in last.reason
    assert "rename it to 007" in last.reason


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (Column([12.0, np.nan, 13.0]), ["12", "", "13"]),
        (Column(["12.0", "", "13.0"]), ["12", "", "13"]),  # as pandas writes whole numbers of which one is missing
        (Column(["12.0", "12.5"]), ["12.0", "12.5"]),
        (Column(np.array([2**63 - 2, 2**53 + 1])), ["9223372036854775806", "9007199254740993"]),
        (Column(np.array([5, 2**64 - 1], np.uint64)), ["5", ""]),
        (Column(np.array([5, 2**32 - 1], np.uint32)), ["5", ""]),
        (Column([5, -1, -99, -9999]), ["5", "", "", ""]),
        (Column(["None", "NaN", "--", " ", "-1", "nano"]), ["", "", "", "", "", "nano"]),
        (MaskedColumn([1, 2], mask=[False, True]), ["1", ""]),
    ],
)
def test_numbers_of_clusters_are_whole_and_conventions_for_none_are_known(values, expected):
    assert id_texts(values, "t") == expected


@pytest.mark.parametrize("values", [[2.0**53 + 2, 3.0], np.array([2.0**24 + 2], np.float32)])
def test_numbers_that_floating_point_has_rounded_are_refused(values):
    with pytest.raises(TableError, match=r"t: column id .* two may have become one"):
        id_texts(Column(values, name="id"), "t")


def test_columns_of_numbers_are_as_they_were(columns, tmp_path):
    from sbi_clustermass.observations.tables.files import read_file

    path = save(tmp_path / "t.csv", ["0012"], columns)
    table = read_file(path)
    for name, values in columns.items():
        np.testing.assert_array_equal(table[name], values)
    assert table["cluster"].dtype.kind == "U"
    assert isinstance(table, Table)


def test_two_spellings_of_one_name_are_two_clusters_that_warn_of_each_other(columns, tmp_path):
    found = list(read_clusters(save(tmp_path / "t.csv", ["a85", "A_85", "A119"], columns)))
    warned = {each.name: [w for w in each.warnings if "one name for both" in w] for each in found}
    assert warned == {
        "a85": ["a85 may be the same cluster as A_85: one name for both"],
        "A_85": ["A_85 may be the same cluster as a85: one name for both"],
        "A119": [],
    }

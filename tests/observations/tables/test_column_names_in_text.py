"""Column names of text files: behind a preamble, in comments, with units below, or missing."""

import numpy as np
import pytest
from astropy.table import Table

from sbi_clustermass.observations.tables import TableError, TableOptions, read_cluster_list, read_clusters
from sbi_clustermass.observations.tables.files import read_file
from tests.observations.tables.conftest import galaxies

NUMBERED = TableOptions(redshift=0.1, centre=(359.9, 40.0), columns={"ra": "1", "dec": "2", "z": "3"})


@pytest.fixture
def save(columns, tmp_path):
    """Write lines above the rows of the made-up cluster."""

    def write(*head, mark=" ", name="t.txt"):
        rows = [mark.join(map(repr, row)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)]
        path = tmp_path / name
        path.write_text("\n".join([*head, *rows]) + "\n")
        return path

    return write


PREAMBLE = [
    "NASA/IPAC EXTRAGALACTIC DATABASE",
    "Queried 2026-11-20, by us, 3 times",
    "",
    "  Search within 60.0 arcmin of 359.9 40.0",
]


@pytest.mark.parametrize("mark", ["|", ",", "\t", " ", ";"])
def test_names_stand_behind_a_preamble(mark, save, expected):
    np.testing.assert_array_equal(galaxies(save(*PREAMBLE, mark.join(["RA", "DEC", "Redshift"]), mark=mark)), expected)


@pytest.mark.parametrize(
    "comments",
    [
        ["# ra dec z", "#"],
        ["# ra dec z", "# deg deg -"],
        ["# by the three of us", "# ra dec z", "# with a spectrograph", "", "# ---------"],
        ["# ra, dec, z"],
        ["% ra   dec   z", "% measured in 2026"],
        ["# 1 ra  Right ascension [deg]", "# 2 dec  Declination [deg]", "# 3 z"],
        ["# Column 1: ra", "# Column 2: dec", "# Column 3: z"],
        ["# (1) ra: degrees", "# (2) dec: degrees", "# (3) z"],
    ],
)
def test_names_stand_in_any_comment(comments, save, expected):
    np.testing.assert_array_equal(galaxies(save(*comments)), expected)


def test_units_stand_below_the_names(columns, tmp_path):
    rows = [
        f"{ra!r},{dec!r},{z * 299_792.458!r}"
        for ra, dec, z in zip(*(c.tolist() for c in columns.values()), strict=True)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["ra,dec,cz", "[deg],[deg],[km/s]", *rows]))
    table = read_file(tmp_path / "t.csv")
    assert [str(table[name].unit) for name in table.colnames] == ["deg", "deg", "km / s"]
    assert len(table) == len(rows)


def test_a_file_without_names_says_how_its_columns_are_counted(save, expected):
    with pytest.raises(TableError) as caught:
        galaxies(save())
    assert str(caught.value).splitlines()[0] == "t.txt: no line of column names."
    assert "--column ra=1 --column dec=2 --column z=3" in str(caught.value)
    np.testing.assert_array_equal(galaxies(save(), NUMBERED), expected)


def test_columns_with_names_can_be_counted_too_but_a_name_comes_first(save, columns, tmp_path, expected):
    np.testing.assert_array_equal(galaxies(save("# a b c"), NUMBERED), expected)
    path = tmp_path / "t.ecsv"
    Table({"2": columns["ra"], "3": columns["dec"], "1": columns["z"]}).write(path)
    chosen = TableOptions(redshift=0.1, centre=(359.9, 40.0), columns={"ra": "2", "dec": "3", "z": "1"})
    np.testing.assert_array_equal(galaxies(path, chosen), expected)


def test_counted_columns_stay_the_same_where_a_table_is_divided_into_clusters(columns, write, expected):
    more = {"x": columns["ra"] + 1, **columns, "group": np.full(240, 7)}
    table = {f"c{i}": values for i, values in enumerate(more.values(), 1)}
    chosen = TableOptions(redshift=0.1, centre=(359.9, 40.0), id="5", columns={"ra": "2", "dec": "3", "z": "4"})
    (cluster,) = read_clusters(write(table), options=chosen)
    np.testing.assert_array_equal(np.stack(cluster.catalogue.galaxies(0)), expected)


def test_the_columns_of_a_list_of_clusters_can_be_counted(tmp_path):
    (tmp_path / "t.txt").write_text("A1 10.0 20.0 0.1\nA2 30.0 40.0 0.2\n")
    found = read_cluster_list(tmp_path / "t.txt", columns={"id": "1", "ra": "2", "dec": "3", "z": "4"})
    assert found.get("A2").centre == (30.0, 40.0)

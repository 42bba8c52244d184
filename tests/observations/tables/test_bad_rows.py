"""A bad field or line costs its row, which is counted and said; a column or file that is mostly bad is refused."""

import numpy as np
import pytest
from astropy.table import Table

from sbi_clustermass.observations.tables import (
    ObservedCluster,
    TableError,
    read_cluster_list,
    read_clusters,
    read_table,
)
from sbi_clustermass.observations.tables.files import read_file
from sbi_clustermass.observations.tables.literature_masses import read_published_masses
from tests.observations.tables.conftest import GIVEN, galaxies


@pytest.fixture
def lines(columns):
    """Lines of a CSV file of the made-up cluster, names included."""
    return [
        "ra,dec,z",
        *(",".join(map(repr, row)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)),
    ]


@pytest.fixture
def save(tmp_path):
    def write(lines, name="t.csv", end="\n"):
        (tmp_path / name).write_text("\n".join(lines) + end)
        return tmp_path / name

    return write


BAD = {"ra": "12h59", "dec": "+27:58", "z": "about .1"}


@pytest.mark.parametrize("name", BAD)
def test_a_field_that_is_no_number_costs_its_row(name, columns, write):
    values = {key: each.astype(object) for key, each in columns.items()}
    values[name][[16, 20]] = BAD[name]
    table = read_table(write(values), options=GIVEN)
    assert table.counts.dropped == 2
    assert (
        f"2 rows without a number in column {name}, taken as missing (the first has {BAD[name]!r} in row 17)"
        in table.warnings
    )
    without = {key: np.delete(each, [16, 20]) for key, each in columns.items()}
    np.testing.assert_array_equal(np.stack(table.catalogue.galaxies(0)), galaxies(write(without)))


@pytest.mark.parametrize("row", [0, 7])
def test_a_sexagesimal_field_that_is_none_costs_its_row(row, columns, write):
    from astropy.coordinates import SkyCoord

    sky = SkyCoord(columns["ra"], columns["dec"], unit="deg")
    ra, dec = (each.astype(object) for each in (sky.ra.to_string("hourangle", sep=":"), sky.dec.to_string(sep=":")))
    ra[row] = "unknown"
    table = read_table(write({"ra": ra, "dec": dec, "z": columns["z"]}), options=GIVEN)
    assert table.counts.without_position == 1
    assert any("column ra" in each and f"row {row + 1}" in each for each in table.warnings)


def test_a_position_off_the_sky_costs_its_row(columns, write):
    dec = columns["dec"].copy()
    dec[3] = -999.0
    table = read_table(write({**columns, "dec": dec}), options=GIVEN)
    assert table.counts.without_position == 1
    assert any("dec lies outside -90 to 90 degrees (the first has -999 in row 4)" in each for each in table.warnings)


def test_a_decimal_comma_among_points_costs_its_row(columns, write):
    z = columns["z"].astype(object)
    z[5] = "0;1"
    assert read_table(write({**columns, "z": z}), options=GIVEN).counts.dropped == 1


def test_a_column_that_is_mostly_no_number_is_refused(columns, write):
    z = columns["z"].astype(object)
    z[:130] = "good"
    with pytest.raises(TableError, match="column z is not a number"):
        read_table(write({**columns, "z": z}), options=GIVEN)


def test_rows_are_numbered_as_in_the_file_also_in_one_of_many_clusters(columns, write):
    z = np.concatenate([columns["z"], columns["z"]]).astype(object)
    z[250] = "bad"
    both = {key: np.concatenate([each, each]) for key, each in columns.items()}
    first, second = read_clusters(write({"cluster": np.repeat(["A", "B"], 240), **both, "z": z}), options=GIVEN)
    assert not any("without a number" in each for each in first.warnings)
    assert any("'bad' in row 251" in each for each in second.warnings)


def test_a_missing_name_of_a_cluster_costs_its_row(columns, write):
    names = np.array(["A 1"] * 240, object)
    names[[3, 9, 11, 12]] = ["", "--", "nan", "None"]
    cluster, rest = read_clusters(write({"cluster": names, **columns}), options=GIVEN)
    assert isinstance(cluster, ObservedCluster)
    assert cluster.counts.rows == 236
    assert "4 rows belong to no cluster" in rest.reason


@pytest.mark.parametrize("bad", ["1,2,.1,4", "1,2", "(240 rows affected)"])
def test_a_line_of_more_or_fewer_fields_costs_itself(bad, lines, save):
    expected = galaxies(save(lines))
    for at in (1, 9, len(lines)):
        table = read_table(save([*lines[:at], bad, *lines[at:]]), options=GIVEN)
        np.testing.assert_array_equal(np.stack(table.catalogue.galaxies(0)), expected)
        assert any("1 line left out" in each and f"line {at + 1} has" in each for each in table.warnings)


def test_blanks_that_separate_too_much_cost_their_lines(lines, save):
    rows = [line.replace(",", " ") for line in lines]
    expected = galaxies(save(rows, "t.dat"))
    table = read_table(save([*rows[:5], "NGC 1275 49.9 41.5 0.017", *rows[5:]], "t.dat"), options=GIVEN)
    np.testing.assert_array_equal(np.stack(table.catalogue.galaxies(0)), expected)


def test_rows_above_the_names_are_counted(lines, save):
    table = read_table(save([*lines[1:4], *lines]), options=GIVEN)
    assert "3 rows left out, above the column names (the first in line 1)" in table.warnings


@pytest.mark.parametrize("where", ["rows", "names", "both"])
@pytest.mark.parametrize("mark", [",", "\t", ";", "|"])
def test_a_separator_at_the_end_of_rows_or_names_costs_nothing(mark, where, lines, save):
    expected = galaxies(save(lines))
    names, *rows = (line.replace(",", mark) for line in lines)
    names, ends = names + mark * (where != "rows"), mark * (where != "names")
    table = read_table(save([names, *(row + ends for row in rows)]), options=GIVEN)
    np.testing.assert_array_equal(np.stack(table.catalogue.galaxies(0)), expected)
    assert table.warnings == ()


def test_a_missing_last_field_is_no_missing_field(save):
    assert len(read_file(save(["ra,dec,z,note", "1,2,.1,", "1,2,.1,a", "1,2,.1,"]))) == 3


def test_a_text_file_that_is_cut_in_a_row_is_refused(lines, save):
    with pytest.raises(TableError, match="ends in the middle of a row"):
        read_table(save([*lines[:-1], lines[-1].split(",")[0]], end=""), options=GIVEN)


def test_marks_of_arc_seconds_are_no_quotes(save):
    table = read_file(save(["ra,dec,z", "12h59m48.7s,+27°58'48\",.02", "12h59'48\",+27°58'48\",.03"]))
    assert len(table) == 2


@pytest.mark.parametrize(("form", "name"), [("ascii.ipac", "t.tbl"), ("ascii.mrt", "t.mrt"), ("ascii.ecsv", "t.ecsv")])
def test_a_bad_field_of_a_table_of_archives_and_journals_costs_its_row(form, name, columns, tmp_path):
    path = tmp_path / name
    Table({key: np.round(each, 5) for key, each in columns.items()}, units={"ra": "deg"}).write(path, format=form)
    text = path.read_text()
    z = f"{np.round(columns['z'], 5)[20]:g}"
    assert text.count(f"{z}\n") + text.count(f"{z} \n") == 1
    path.write_text(text.replace(f"{z}\n", f"{'x' * len(z)}\n").replace(f"{z} \n", f"{'x' * len(z)} \n"))
    table = read_table(path, options=GIVEN)
    assert table.counts.rows == 240
    assert any("'xxx" in each and "in row 21" in each for each in table.warnings)
    assert str(read_file(path)["ra"].unit) == "deg"


def test_bad_rows_of_lists_of_clusters_and_of_published_masses_are_warned_of(save):
    path = save(["name,ra,dec,z", "A1,10,20,.1", "A2,10,20", "A3,30,40,.2", "A4,30,50,about .2", "A5,30,60,.3"])
    with pytest.warns(UserWarning, match="line|row") as caught:
        assert [each.name for each in read_cluster_list(path)] == ["A1", "A3", "A4", "A5"]
    assert ["line 3 has 3" in str(caught[0].message), "'about .2' in row 3" in str(caught[1].message)] == [True, True]
    path = save(["name,log10_mass,err", "A1,14.5,.1", "A2,about 14,.1", "A3,14.6,.1"])
    with pytest.warns(UserWarning, match="1 row without a number in column log10_mass"):
        assert len(read_published_masses(path, h=0.7).masses) == 2


def test_members_keep_their_rows_where_a_line_is_left_out(lines, save):
    path = save([*lines[:5], "1,2", *lines[5:]])
    fates = read_table(path, options=GIVEN).fates
    np.testing.assert_array_equal(fates.number, np.arange(240))
    assert len(read_file(path)) == 240

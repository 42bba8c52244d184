"""Tables as archives hand them out, each with what is right for it; they stand beside the repository, if at all."""

import numpy as np
import pytest

from sbi_clustermass.observations.tables import TableError, TableOptions, Unreadable, read_clusters, read_table
from tests.paths import SHARED

FOLDER = SHARED / "cases"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the tables of cases are not here")


def galaxies(name, options=None):
    return [np.stack(each.catalogue.galaxies(0)) for each in read_clusters(FOLDER / name, options=options)]


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("category_ids.parquet", [210, 210]),
        ("text_column_with_missing.parquet", [204, 205]),
        ("ids_0012_and_012.csv", [210, 210]),
    ],
)
def test_a_table_of_two_clusters_gives_both_and_a_missing_name_costs_its_row(name, numbers):
    found = [each for each in read_clusters(FOLDER / name) if not isinstance(each, Unreadable)]
    assert [each.counts.rows for each in found] == numbers
    assert len({each.name for each in found}) == 2


def test_a_column_that_is_not_needed_costs_a_fits_table_nothing():
    assert read_table(FOLDER / "tdisp_integer_with_nan.fits").counts.rows == 210


def test_either_of_two_tables_of_one_name_can_be_read():
    with pytest.raises(TableError, match="GALAXIES#1, GALAXIES#2"):
        read_table(FOLDER / "two_tables_of_one_name.fits")
    one, two = (read_table(FOLDER / "two_tables_of_one_name.fits", options=TableOptions(table=str(i))) for i in (1, 2))
    assert one.ra != two.ra


def test_a_table_behind_a_preamble_is_read():
    table = read_table(FOLDER / "ned_phot_flag.txt")
    assert table.counts.rows == 609
    assert table.redshift == pytest.approx(0.117, abs=0.003)


def test_names_in_a_comment_above_an_empty_one_are_found():
    options = TableOptions(
        redshift=0.117, h=1, distance="physical", columns={"v_los": "v_z(km/s)", "v_err": "err_vz(km/s)"}
    )
    assert read_table(FOLDER / "header_then_empty_comment.dat", options=options).n_galaxies > 100

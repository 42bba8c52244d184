"""Tables as archives hand them out, each with what is right for it; they stand beside the repository, if at all."""

import numpy as np
import pytest
from astropy.table import Table

from clustermocks.haloes.cosmology import MDPL2
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
    options = TableOptions(redshift=0.117, h=1, distance="physical")
    table = read_table(FOLDER / "header_then_empty_comment.dat", options=options)
    assert table.n_galaxies > 100
    assert table.velocity_error > 0


@pytest.mark.parametrize("name", ["distance_in_100kpc.ecsv", "distance_in_h70_kpc.ecsv"])
def test_a_factor_and_an_h_in_the_unit_count(name):
    # both files hold the galaxies of one cluster, rounded to .1 kpc; h stands in the unit of one of them
    options = TableOptions(redshift=0.09018, distance="physical", h=None if "h70" in name else 0.7)
    reference = TableOptions(redshift=0.09018, distance="physical", h=0.7, columns={"R_proj": "R_proj [0.1 Mpc]"})
    found, right = galaxies(name, options), galaxies("distance_in_100kpc.ecsv", reference)
    np.testing.assert_allclose(found[0], right[0], rtol=1e-4, atol=1e-4)


def test_a_distance_without_a_unit_is_a_question_that_names_arcmin():
    with pytest.raises(TableError, match="Mpc, kpc, arcmin") as asked:
        read_table(FOLDER / "r_in_arcmin.csv")
    assert "--column 'R_proj=R [arcmin]'" in str(asked.value)
    with pytest.raises(TableError, match="Mpc, kpc, arcmin"):
        read_table(FOLDER / "r_in_arcmin.csv", options=TableOptions(columns={"R_proj": "R"}, h=0.7, redshift=0.117))
    options = TableOptions(redshift=0.117, columns={"R_proj": "R [arcmin]"})
    arcmin = np.loadtxt(FOLDER / "r_in_arcmin.csv", delimiter=",", skiprows=1)[:, 0]
    found = read_table(FOLDER / "r_in_arcmin.csv", options=options).fates.R_proj
    scale = float(MDPL2.comoving_distance(0.117)) * np.pi / 180 / 60
    np.testing.assert_allclose(found, arcmin * scale, rtol=1e-5)  # float32


def test_groups_are_read_at_the_centres_and_redshifts_of_their_rows():
    table = Table.read(FOLDER / "groups_with_their_centres.csv", format="ascii.csv")
    right = {str(row["group_id"]): (row["group_ra"], row["group_dec"], row["group_z"]) for row in table}
    found = list(read_clusters(FOLDER / "groups_with_their_centres.csv"))
    assert {each.name: (each.ra, each.dec, each.redshift) for each in found} == right
    assert all(each.reason is None for each in found)


def test_ids_are_text():
    assert [each.name for each in read_clusters(FOLDER / "ids_0012_and_012.csv")] == ["0012", "012"]

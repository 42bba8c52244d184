"""Bad input: one message that says where, what was found and what to do."""

import numpy as np
import pytest
from astropy.table import Table

from clustermocks import FlatMasses, HaloModel
from sbi_clustermass.observations.tables import TableError, TableOptions, read_table


def message(path, options=None):
    with pytest.raises(TableError) as caught:
        read_table(path, options=options)
    text = str(caught.value)
    assert "Traceback" not in text
    assert len(text.splitlines()) <= 3
    return text


@pytest.fixture
def text(tmp_path):
    def write(content, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_a_missing_file(tmp_path):
    assert message(tmp_path / "none.csv").startswith("none.csv: no such file.")


def test_a_folder(tmp_path):
    assert "a folder" in message(tmp_path)


def test_an_unknown_suffix(text):
    assert message(text("ra,dec,z\n", "t.doc")).splitlines() == [
        "t.doc: unknown kind of file '.doc'.",
        "  try:    save it as one of .csv, .tsv, .txt, .dat, .tbl, .mrt, .cat, .asc, .ecsv, .fits, .fit, .vot, "
        ".votable, .xml, .h5, .hdf5, .parquet",
    ]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("t.xlsx", "save its sheet as .csv"),
        ("t.csv.xz", "unpack it first"),
        ("t.feather", "pyarrow.feather.read_table"),
        ("t.jsonl", "pandas.read_json"),
        ("galaxies", "name it after what is in it"),
    ],
)
def test_the_way_out_depends_on_the_kind_of_file(name, advice, text):
    assert advice in message(text("ra,dec,z\n", name)).splitlines()[-1]


@pytest.mark.parametrize(("true", "suffix"), [("fits", "csv"), ("h5", "fits"), ("csv", "fits"), ("csv", "parquet")])
def test_a_file_that_is_named_after_another_kind_is_told_to_be_renamed(true, suffix, columns, tmp_path):
    Table(columns).write(tmp_path / f"t.{true}", **({"path": "t"} if true == "h5" else {}))
    (tmp_path / f"t.{true}").rename(tmp_path / f"odd.{suffix}")
    assert f"rename it to end in .{true}" in message(tmp_path / f"odd.{suffix}").splitlines()[-1]


@pytest.mark.parametrize("suffix", ["csv", "dat", "ecsv", "fits", "vot", "h5", "parquet"])
def test_an_empty_file(text, suffix):
    assert "the file is empty" in message(text(b"", f"t.{suffix}"))


@pytest.mark.parametrize("suffix", ["csv", "ecsv", "fits", "vot", "h5", "parquet"])
@pytest.mark.parametrize("junk", [bytes(range(256)) * 20, b"\0" * 4000, b"plain words\nand, more, of, them\n"])
def test_a_file_that_is_no_table(text, suffix, junk):
    found = message(text(junk, f"t.{suffix}"))
    assert "not a readable" in found or "no positions" in found


def test_names_without_rows(text):
    assert "no rows" in message(text("ra,dec,z\n"))


def test_rows_of_different_length(text):
    assert message(text("ra,dec,z\n1,2,.1\n1,2,.1,4\n")).splitlines() == [
        "t.csv: not a readable table: 1 row of 2 without the 3 fields of the column names.",
        "  found:  line 3 has 4: '1,2,.1,4'",
        "  try:    name all columns, and quote fields that hold blanks or separators",
    ]


def test_missing_positions_list_the_columns_and_the_nearest_name(text):
    assert message(text("RightAscen,dec,z\n1,2,.1\n")).splitlines() == [
        "t.csv: no positions. It needs columns ra and dec [deg], or R_proj [Mpc].",
        "  found:  RightAscen, dec, z",
        "  try:    rename RightAscen to ra, or pass --column ra=RightAscen",
    ]


def test_a_missing_velocity_lists_the_columns_and_the_nearest_name(text):
    assert message(text("ra,dec,redshfit\n1,2,.1\n")).splitlines() == [
        "t.csv: no velocity. It needs column z (redshift), cz [km/s] or v_los [km/s].",
        "  found:  ra, dec, redshfit",
        "  try:    rename redshfit to z, or pass --column z=redshfit",
    ]


def test_the_nearest_name_is_not_another_quantitys(text):
    said = message(text("alpha_gal,delta_gal,z\n1,2,.1\n"))
    assert "delta_gal to ra" not in said
    assert "--column ra=NAME" in said


def test_two_columns_that_could_be_meant(text):
    assert "--column z=z" in message(text("ra,dec,z,zspec\n1,2,.1,.1\n"))


def test_a_chosen_column_that_is_not_there(text):
    found = message(text("ra,dec,zspec\n1,2,.1\n"), TableOptions(columns={"z": "zpsec"}))
    assert found.splitlines()[0] == "t.csv: no column 'zpsec' for z."
    assert found.endswith("--column z=zspec")


def test_a_choice_for_an_unknown_quantity(text):
    found = message(text("ra,dec,zspec\n1,2,.1\n"), TableOptions(columns={"vlos": "zspec"}))
    assert found.splitlines()[0] == "t.csv: 'vlos' is none of our quantities."
    assert found.endswith("--column v_los=zspec")


def test_text_in_a_numbers_place_names_row_and_value(text):
    assert message(text("ra,dec,z\n1,2,.1\n1,2,about .1\n")).splitlines() == [
        "t.csv: column z is not a number.",
        "  found:  'about .1' in row 2 of 2",
        "  try:    correct it, or leave missing values empty; or --column z=NAME of another column",
    ]


@pytest.mark.parametrize(("row", "what"), [("361,2,.1", "0 to 360"), ("1,-91,.1", "-90 to 90"), ("-999,2,.1", "row 2")])
def test_positions_off_the_sky(text, row, what):
    assert what in message(text(f"ra,dec,z\n1,2,.1\n{row}\n"))


def test_a_negative_distance(text):
    assert "-0.5 in row 2 of 2" in message(text("R_proj,v_los\n1,2\n-.5,2\n"))


def test_distances_in_kpc(text):
    options = TableOptions(redshift=0.1, h=0.7, distance="physical")
    found = message(text("R_proj_Mpc,v_los\n100,2\n900,2\n800,3\n"), options)
    assert found.splitlines()[0] == "t.csv: R_proj_Mpc looks like kpc."
    assert "median 800 Mpc" in found


def test_all_that_is_missing_to_convert_a_distance_is_named_at_once(text):
    assert message(text("R_proj_Mpc,v_los\n1,2\n")).splitlines()[1:] == [
        "  try:    --h 0.7 (1 if they are h^-1 Mpc) --distance physical --redshift Z"
    ]


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (TableOptions(redshift=0.1, distance="physical"), "--h 0.7"),
        (TableOptions(redshift=0.1, h=0.7), "--distance physical"),
        (TableOptions(h=0.7, distance="physical"), "--redshift Z"),
    ],
)
def test_each_missing_option_is_named(text, options, advice):
    assert message(text("R_proj_Mpc,v_los\n1,2\n"), options).splitlines()[1].startswith(f"  try:    {advice}")


def test_an_option_against_the_name_of_the_column(text):
    options = TableOptions(redshift=0.1, distance="physical")
    assert "says comoving, the option says physical" in message(text("R_cMpc_h,v_los\n1,2\n"), options)


def test_relative_velocities_on_the_sky_need_the_redshift(text):
    assert "--redshift Z" in message(text("ra,dec,v_los\n1,2,30\n"))


def test_no_galaxy_in_the_cylinder(text):
    options = TableOptions(redshift=0.3, centre=(1.0, 2.0))
    found = message(text("ra,dec,z\n1,2,.1\n1,2.1,.11\n"), options)
    assert "no galaxies in the cylinder R_proj < 1.6 comoving h^-1 Mpc, |v_los| < 2500 km/s" in found
    assert "2 galaxies, the nearest at -4" in found


def test_no_galaxy_near_the_redshift_where_the_centre_is_unknown(text):
    assert "within 2500 km/s of redshift 0.3" in message(text("ra,dec,z\n1,2,.1\n"), TableOptions(redshift=0.3))


def test_velocities_in_the_place_of_redshifts(text):
    found = message(text("ra,dec,z\n1,2,30000\n1,2,30100\n"))
    assert "no row has both" in found
    assert "--column cz=NAME" in found


def test_several_clusters_in_one_table(text):
    assert "more than one cluster" in message(text("ra,dec,z,z_cl\n1,2,.1,.1\n1,2,.2,.2\n"))


def test_a_unit_that_does_not_fit(tmp_path):
    from astropy.table import Table

    table = Table({"ra": [1.0], "dec": [2.0], "cz": [3e4]})
    table["cz"].unit = "kg"
    table.write(tmp_path / "t.ecsv")
    assert "column cz cannot be read in km / s" in message(tmp_path / "t.ecsv").replace("km/s", "km / s")


def test_lists_in_a_column(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"R_proj": [[0.1, 0.2]], "v_los": [[1.0, 2.0]]}), tmp_path / "t.parquet")
    assert "column R_proj is not" in message(tmp_path / "t.parquet", TableOptions(redshift=0.1))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"redshift": 0.0}, "between 0 and 2"),
        ({"redshift": -0.1}, "between 0 and 2"),
        ({"redshift": 2.5}, "between 0 and 2"),
        ({"redshift": np.nan}, "between 0 and 2"),
        ({"redshift": 7000.0}, "z is 0.0233"),
        ({"centre": (400.0, 0.0)}, "right ascension"),
        ({"centre": (10.0, 95.0)}, "declination"),
        ({"h": 70.0}, "0.7"),
        ({"distance": "angular"}, "physical or comoving"),
    ],
)
def test_an_impossible_option(options, what):
    with pytest.raises(TableError, match=what):
        TableOptions(**options)


def test_galaxies_of_our_own_neighbourhood_are_no_cluster(text):
    rows = "\n".join(f"{1 + i / 100},2,-0.00{i}" for i in range(1, 6))
    assert "between 0 and 2" in message(text(f"ra,dec,z\n{rows}\n"))


def test_a_catalogue_of_mocks_is_no_table_of_galaxies(tmp_path):
    HaloModel().simulate(FlatMasses(14.5, 15.0).draw(3, seed=1), seed=1).to_parquet(tmp_path / "mocks.parquet")
    with pytest.raises(TableError, match=r"clustermass posteriors mocks\.parquet"):
        read_table(tmp_path / "mocks.parquet")

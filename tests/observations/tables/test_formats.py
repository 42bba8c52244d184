"""The same galaxies come out of every kind of file and under every usual name."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn, Table

from sbi_clustermass.observations.tables import TableOptions, read_table
from sbi_clustermass.observations.tables.parquet_tables import read_parquet
from tests.observations.tables.conftest import GIVEN, galaxies


@pytest.mark.parametrize(("suffix", "form"), [("ecsv", "ascii.ecsv"), ("fits", "fits"), ("parquet", "parquet")])
def test_every_format_gives_what_csv_gives(suffix, form, columns, expected, tmp_path):
    path = tmp_path / f"cluster.{suffix}"
    Table(columns).write(path, format=form)
    # rtol: float32 holds 7 digits; CSV keeps float64 exactly
    np.testing.assert_allclose(galaxies(path), expected, rtol=1e-6, atol=1e-3)


def test_comments_windows_line_ends_a_byte_order_mark_quotes_and_blanks_do_not_matter(columns, expected, tmp_path):
    rows = [
        f'"{ra!r}", {dec!r} ,{z!r},"A, B"' for ra, dec, z in zip(*(c.tolist() for c in columns.values()), strict=True)
    ]
    text = (
        '# observed by us\n\n RA_deg , Dec_deg,"zspec" ,name\n'
        + "\n".join(rows[:100])
        + "\n# second night\n"
        + "\n".join(rows[100:])
    )
    path = tmp_path / "cluster.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    np.testing.assert_array_equal(galaxies(path), expected)


@pytest.mark.parametrize(
    "names",
    [
        ("RAJ2000", "DEJ2000", "redshift"),
        ("_RAJ2000", "_DEJ2000", "z_spec"),
        ("Ra [deg]", "DEC", "Z"),
        ("alpha_j2000", "Decl", "specz"),
    ],
)
def test_usual_names_are_recognised(names, columns, expected, write):
    np.testing.assert_array_equal(galaxies(write(dict(zip(names, columns.values(), strict=True)))), expected)


def test_a_column_can_be_chosen_by_name(columns, expected, write):
    path = write({"ra": columns["ra"], "dec": columns["dec"], "photo": columns["z"] + 0.01, "best": columns["z"]})
    options = TableOptions(redshift=0.1, centre=(359.9, 40.0), columns={"z": "best"})
    np.testing.assert_array_equal(galaxies(path, options), expected)


def test_velocities_cz_and_units_of_columns_are_converted(columns, expected, tmp_path):
    table = Table({"ra": columns["ra"] / 15, "dec": np.deg2rad(columns["dec"]), "cz": columns["z"] * 299_792_458.0})
    table["ra"].unit, table["dec"].unit, table["cz"].unit = "hourangle", "rad", "m/s"
    table.write(tmp_path / "cluster.ecsv")
    # atol: rounding of the conversions, 1e-13 of c z = 30000 km/s, then float32
    np.testing.assert_allclose(galaxies(tmp_path / "cluster.ecsv"), expected, rtol=1e-6, atol=1e-3)


def test_sexagesimal_positions_are_read_as_hours_and_degrees(columns, expected, write):
    from astropy.coordinates import SkyCoord

    sky = SkyCoord(columns["ra"], columns["dec"], unit="deg")
    ra, dec = sky.ra.to_string("hourangle", sep=":", precision=7), sky.dec.to_string(sep=" ", precision=7)
    # atol: 1e-7 arcsec is nothing; float32
    np.testing.assert_allclose(
        galaxies(write({"ra": ra, "dec": dec, "z": columns["z"]})), expected, rtol=1e-6, atol=1e-3
    )


def test_rows_without_a_redshift_or_a_position_are_dropped_and_counted(columns, write):
    z = columns["z"].astype(object)
    z[[0, 1, 2, 3, 4]] = ["", "nan", "--", -99.0, 0.0]
    ra = columns["ra"].astype(object)
    ra[[4, 5]] = ["", "null"]
    table = read_table(write({**columns, "z": z, "ra": ra}), options=GIVEN)
    assert (table.counts.rows, table.counts.dropped) == (240, 6)
    assert table.catalogue.column("n_dropped").tolist() == [6]


@pytest.mark.parametrize("suffix", ["fits", "ecsv", "parquet"])
def test_masked_values_are_dropped_and_counted(suffix, columns, tmp_path):
    mask = np.arange(240) < 7
    path = tmp_path / f"cluster.{suffix}"
    Table({**columns, "z": MaskedColumn(columns["z"], mask=mask)}).write(path)
    assert read_table(path, options=GIVEN).counts.dropped == 7


WORDS = pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()
IN_DICTIONARIES = pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int32(), pa.binary())


@pytest.mark.parametrize("kind", [*WORDS, *IN_DICTIONARIES], ids=str)
def test_text_of_a_parquet_file_is_read_however_it_is_stored_and_masked_where_it_is_missing(kind, tmp_path):
    names = pa.array(["Coma", None, "A119", "Coma"], kind)
    try:
        pq.write_table(pa.table({"name": names, "z": [0.1, None, 0.2, 0.3]}), tmp_path / "t.parquet")
    except pa.ArrowNotImplementedError:
        pytest.skip("older pyarrow does not write it")
    table = read_parquet(tmp_path / "t.parquet")
    assert table["name"].dtype.kind == "U"
    assert table["name"].tolist() == ["Coma", None, "A119", "Coma"]
    np.testing.assert_array_equal(table["z"], [0.1, np.nan, 0.2, 0.3])


def test_names_of_a_fits_table_that_astropy_wrote_to_a_parquet_file_are_text(tmp_path):
    Table({"name": ["Coma", "A119"], "z": [0.1, 0.2]}).write(tmp_path / "t.fits")
    Table.read(tmp_path / "t.fits", character_as_bytes=True).write(tmp_path / "t.parquet")
    assert pq.read_schema(tmp_path / "t.parquet").field("name").type == pa.binary()
    found = read_parquet(tmp_path / "t.parquet")["name"]
    assert found.dtype.kind == "U"
    assert found.tolist() == ["Coma", "A119"]


def test_units_that_astropy_wrote_to_a_parquet_file_are_read(tmp_path):
    written = Table({"v": [1.0, 2.0]}, units={"v": "km / s"}, meta={"survey": "HeCS"})
    written.write(tmp_path / "t.parquet")
    found = read_parquet(tmp_path / "t.parquet")
    assert found["v"].unit == written["v"].unit
    assert found.meta == written.meta


def test_nulls_in_a_parquet_file_of_another_program_are_dropped(columns, tmp_path):
    z = [None, None, *columns["z"][2:].tolist()]
    pq.write_table(pa.table({**columns, "z": z}), tmp_path / "cluster.parquet")
    assert read_table(tmp_path / "cluster.parquet", options=GIVEN).counts.dropped == 2

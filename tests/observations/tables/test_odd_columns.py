"""A column that cannot be read costs only itself: the galaxies stay the same, and it is blamed where it is needed."""

import datetime
import subprocess
import sys
from decimal import Decimal

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.time import Time

from sbi_clustermass.observations.tables import TableError, TableOptions, read_clusters, read_table
from sbi_clustermass.observations.tables.files import read_file
from tests.observations.tables.conftest import GIVEN, galaxies

N = 240


def complaint(path, options=GIVEN):
    with pytest.raises(TableError) as caught:
        read_table(path, options=options)
    assert len(str(caught.value).splitlines()) == 3
    return str(caught.value)


DAY = datetime.datetime(2026, 1, 2, 3, 4, 5)
ARROWS = {
    "text": pa.array([None, *"ab" * 119, "c"]),
    "category": pa.array([None, "a", "b"] * 80).dictionary_encode(),
    "category of numbers": pa.array([None, 1, 2] * 80).dictionary_encode(),
    "struct": pa.array([{"a": 1, "b": "x"}] * N),
    "map": pa.array([[("a", 1)]] * N, pa.map_(pa.string(), pa.int64())),
    "list": pa.array([[1.0, 2.0]] * N),
    "ragged": pa.array([[1.0] * (i % 3) for i in range(N)]),
    "list or none": pa.array([None, *[[1.0, 2.0]] * (N - 1)]),
    "list of structs": pa.array([[{"a": 1}]] * N),
    "decimal": pa.array([Decimal("1.23"), None] * 120),
    "date": pa.array([DAY.date(), None] * 120),
    "timestamp": pa.array([DAY, None] * 120),
    "zoned": pa.array([DAY] * N, pa.timestamp("ns", "UTC")),
    "time": pa.array([DAY.time(), None] * 120),
    "duration": pa.array([datetime.timedelta(1), None] * 120),
    "boolean": pa.array([True, None] * 120),
    "nothing": pa.nulls(N),
    "integers": pa.array([1, None] * 120),
}


@pytest.mark.parametrize("kind", ARROWS)
def test_a_parquet_file_is_read_whatever_kind_another_column_has(kind, columns, expected, tmp_path):
    pq.write_table(pa.table({**columns, "note": ARROWS[kind]}), tmp_path / "t.parquet")
    np.testing.assert_array_equal(galaxies(tmp_path / "t.parquet"), expected)


@pytest.mark.parametrize("kind", ["struct", "map", "ragged", "list", "list of structs", "timestamp"])
def test_a_column_of_a_parquet_file_that_is_needed_and_holds_no_numbers_is_blamed(kind, columns, tmp_path):
    pq.write_table(pa.table({**columns, "z": ARROWS[kind]}), tmp_path / "t.parquet")
    found = complaint(tmp_path / "t.parquet")
    assert found.startswith("t.parquet: column z ")
    assert "--column z=NAME" in found


def test_a_sound_column_is_preferred_to_one_that_cannot_be_read(columns, expected, tmp_path):
    table = pa.table({"ra": columns["ra"], "dec": columns["dec"], "z": ARROWS["struct"], "zspec": columns["z"]})
    pq.write_table(table, tmp_path / "t.parquet")
    np.testing.assert_array_equal(galaxies(tmp_path / "t.parquet"), expected)


def test_whole_numbers_of_64_bits_beside_a_missing_one_stay_exact(columns, tmp_path):
    ids = [None, 2**60 + 1, *[2**60] * (N - 2)]
    pq.write_table(pa.table({**columns, "cluster": pa.array(ids, pa.int64())}), tmp_path / "t.parquet")
    assert {each.name for each in read_clusters(tmp_path / "t.parquet")} == {
        str(2**60 + 1), str(2**60), "t (no cluster)"
    }  # fmt: skip


def test_masked_columns_that_astropy_wrote_to_a_parquet_file_need_no_pandas(columns, tmp_path, monkeypatch):
    mask = np.arange(N) < 7
    table = Table(
        {**columns, "z": MaskedColumn(columns["z"], mask=mask), "seen": Time(np.full(N, 60000.0), format="mjd")}
    )
    table.write(tmp_path / "t.parquet")
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert read_table(tmp_path / "t.parquet", options=GIVEN).counts.dropped == 7


FITS_COLUMNS = {
    "a display format that does not fit": fits.Column("note", "D", disp="I10", array=[np.nan, *range(N - 1)]),
    "whole numbers with a null": fits.Column("note", "J", null=-9, disp="I4", array=[-9, *range(N - 1)]),
    "arrays": fits.Column("note", "6E", dim="(3,2)", array=np.zeros((N, 2, 3))),
    "lists": fits.Column("note", "PD()", array=np.array([np.zeros(i % 3) for i in range(N)], dtype=object)),
    "complex": fits.Column("note", "M", array=np.full(N, 1j)),
    "logical": fits.Column("note", "L", array=np.arange(N) % 2 == 0),
    "bits": fits.Column("note", "11X", array=np.zeros((N, 11), bool)),
    "text": fits.Column("note", "3A", array=["", *["abc"] * (N - 1)]),
    "an odd unit": fits.Column("note", "D", unit="furlong/?", array=np.zeros(N)),
}


@pytest.mark.parametrize("kind", FITS_COLUMNS)
def test_a_fits_table_is_read_whatever_kind_another_column_has(kind, columns, expected, tmp_path):
    sky = [fits.Column(name, "D", array=values) for name, values in columns.items()]
    fits.BinTableHDU.from_columns([*sky, FITS_COLUMNS[kind]]).writeto(tmp_path / "t.fits")
    np.testing.assert_array_equal(galaxies(tmp_path / "t.fits"), expected)


@pytest.mark.parametrize("kind", ["lists", "complex", "arrays"])
def test_a_column_of_a_fits_table_that_is_needed_and_holds_no_numbers_is_blamed(kind, columns, tmp_path):
    z = FITS_COLUMNS[kind].copy()
    z.name = "z"
    sky = [fits.Column(name, "D", array=columns[name]) for name in ("ra", "dec")]
    fits.BinTableHDU.from_columns([*sky, z]).writeto(tmp_path / "t.fits")
    assert complaint(tmp_path / "t.fits").startswith("t.fits: column z ")


def doubled(path, columns, name, second):
    """A FITS table with two columns of one name, which astropy does not write."""
    sky = [fits.Column(key, "D", array=values) for key, values in columns.items()]
    fits.BinTableHDU.from_columns([*sky, fits.Column("other", "D", array=second)]).writeto(path)
    path.write_bytes(path.read_bytes().replace(b"= 'other   '", f"= '{name:8}'".encode()))


def test_two_columns_of_one_name_in_a_fits_table_are_a_question_only_where_they_are_needed(columns, expected, tmp_path):
    doubled(tmp_path / "t.fits", {"note": np.zeros(N), **columns}, "note", np.ones(N))
    table = read_file(tmp_path / "t.fits")
    assert "note#1" in table.colnames
    np.testing.assert_array_equal(galaxies(tmp_path / "t.fits"), expected)
    doubled(tmp_path / "z.fits", columns, "z", columns["z"] + 1)
    assert "found:  z#3, z#4" in complaint(tmp_path / "z.fits")
    chosen = TableOptions(redshift=0.1, centre=(359.9, 40.0), columns={"z": "3"})
    np.testing.assert_array_equal(galaxies(tmp_path / "z.fits", chosen), expected)
    chosen = TableOptions(redshift=0.1, centre=(359.9, 40.0), columns={"z": "z#3"})
    np.testing.assert_array_equal(galaxies(tmp_path / "z.fits", chosen), expected)


def test_two_columns_whose_names_differ_by_capitals_keep_their_values(columns, tmp_path):
    doubled(tmp_path / "t.fits", columns, "Z", columns["z"] + 1)
    table = read_file(tmp_path / "t.fits")
    np.testing.assert_array_equal(table["z"], columns["z"])
    np.testing.assert_array_equal(table["Z"], columns["z"] + 1)


def test_whole_numbers_of_a_fits_table_are_scaled_and_missing_where_their_stored_value_is_the_null(tmp_path):
    hdu = fits.BinTableHDU.from_columns([fits.Column("n", "J", null=-9, array=[1, -9, 3])])
    hdu.header["TSCAL1"], hdu.header["TZERO1"] = 0.5, 10.0
    hdu.writeto(tmp_path / "t.fits")
    assert read_file(tmp_path / "t.fits")["n"].tolist() == [10.5, None, 11.5]


def test_blank_and_null_fields_of_a_fits_table_of_text_are_missing(tmp_path):
    columns = [
        fits.Column("z", "F10.4", null="-99.0000", array=[0.1, -99.0, 0.3], ascii=True),
        fits.Column("n", "I5", null="-1", array=[1, -1, 3], ascii=True),
        fits.Column("name", "A3", array=["a", "", "c"], ascii=True),
    ]
    fits.TableHDU.from_columns(columns).writeto(tmp_path / "t.fits")
    table = read_file(tmp_path / "t.fits")
    assert table["z"].tolist() == [0.1, None, 0.3]
    assert table["n"].tolist() == [1, None, 3]
    assert table["name"].tolist() == ["a", None, "c"]


def odd_dataset(file, kind, n=N):
    """Add a dataset of some kind, a row each."""
    enum = h5py.enum_dtype({"A": 1, "B": 2}, "i1")
    kinds = {
        "text": ([b"a"] * n, h5py.string_dtype()),
        "enumeration": (np.ones(n, "i1"), enum),
        "ragged": (np.array([np.zeros(i % 3) for i in range(n)], dtype=object), h5py.vlen_dtype(float)),
        "references": (np.array([file.ref] * n, dtype=object), h5py.ref_dtype),
        "arrays": (np.zeros((n, 3)), float),
        "complex": (np.full(n, 1j), complex),
        "opaque": (np.zeros(n, "V4"), "V4"),
        "boolean": (np.ones(n, bool), bool),
    }
    values, dtype = kinds[kind]
    file.create_dataset("note", (n, *np.shape(values)[1:]), dtype)[...] = values


HDF5_KINDS = ["text", "enumeration", "ragged", "references", "arrays", "complex", "opaque", "boolean"]


@pytest.mark.parametrize("kind", HDF5_KINDS)
def test_a_group_of_an_hdf5_file_is_read_whatever_kind_another_dataset_has(kind, columns, expected, tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        for name, values in columns.items():
            file[name] = values
        file["history"] = np.zeros(3)  # of another length
        odd_dataset(file, kind)
    np.testing.assert_array_equal(galaxies(tmp_path / "t.h5"), expected)


def test_records_of_an_hdf5_file_are_read_whatever_kind_another_field_has(columns, expected, tmp_path):
    kinds = {
        "inner": np.dtype([("a", "f4"), ("b", "i2")]),
        "enum": h5py.enum_dtype({"A": 0}, "i1"),
        "word": h5py.string_dtype(),
    }
    dtype = np.dtype(
        [*((name, "f8") for name in columns), *kinds.items(), ("ref", h5py.ref_dtype), ("list", "f4", (2,))]
    )
    records = np.zeros(N, dtype)
    for name, values in columns.items():
        records[name] = values
    records["word"] = "abc"
    with h5py.File(tmp_path / "t.h5", "w") as file:
        records["ref"] = file.ref
        file["galaxies"] = records
    np.testing.assert_array_equal(galaxies(tmp_path / "t.h5"), expected)


@pytest.mark.parametrize("version", ["earliest", "latest"])
def test_an_hdf5_file_that_is_open_elsewhere_is_read(version, columns, expected, tmp_path):
    path = tmp_path / "t.h5"
    with h5py.File(path, "w", libver=version) as file:
        for name, values in columns.items():
            file[name] = values
        file.flush()
        if version == "latest":  # else such a file may be read by nobody
            file.swmr_mode = True
        code = "import sys, pathlib; from sbi_clustermass.observations.tables.files import read_file; "
        code += "print(len(read_file(pathlib.Path(sys.argv[1]))))"
        other = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
        assert other.stdout.split() == [str(N)], other.stderr
        np.testing.assert_array_equal(galaxies(path), expected)  # open in this process


VOTABLE = """<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>
<FIELD name="ra" datatype="double" unit="deg"/><FIELD name="dec" datatype="double"/><FIELD name="z" datatype="double"/>
<FIELD name="note" datatype="double" arraysize="*"/><FIELD name="note" datatype="int"/>
<FIELD name="word" datatype="char" arraysize="*"/><FIELD name="c" datatype="floatComplex"/>
<FIELD name="yes" datatype="boolean"/><DATA><TABLEDATA>{}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"""


def test_a_votable_is_read_whatever_kind_other_columns_have_and_a_bad_field_costs_its_row(columns, tmp_path):
    rows = [
        [repr(ra), repr(dec), repr(z), " ".join("12"[: i % 3]), "" if i % 2 else "3", "abc", "1 2", "T"]
        for i, (ra, dec, z) in enumerate(zip(*(c.tolist() for c in columns.values()), strict=True))
    ]
    rows[7][2] = "about .1"
    cells = "".join(f"<TR>{''.join(f'<TD>{field}</TD>' for field in row)}</TR>" for row in rows)
    (tmp_path / "t.vot").write_text(VOTABLE.format(cells))
    table = read_table(tmp_path / "t.vot", options=GIVEN)
    assert table.counts.rows == N
    assert table.counts.dropped == 1


def test_columns_of_objects_records_and_times_cost_an_ecsv_table_nothing(columns, expected, tmp_path):
    table = Table({**columns, "seen": Time(np.full(N, 60000.0), format="mjd"), "c": np.full(N, 1j)})
    table["object"] = np.array([{"a": 1}] * N, dtype=object)
    table["record"] = np.zeros(N, [("a", "f4")])
    table.write(tmp_path / "t.ecsv")
    np.testing.assert_array_equal(galaxies(tmp_path / "t.ecsv"), expected)
    table["z"] = table["object"]
    table.write(tmp_path / "t.ecsv", overwrite=True)
    assert complaint(tmp_path / "t.ecsv").startswith("t.ecsv: column z cannot be read.")


@pytest.mark.parametrize("ours", ["z_err", "weight"])
def test_errors_and_weights_that_cannot_be_read_are_left_out_and_named(ours, columns, expected, tmp_path):
    pq.write_table(pa.table({**columns, ours: ARROWS["struct"]}), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", options=GIVEN)
    np.testing.assert_array_equal(np.stack(table.catalogue.galaxies(0)), expected)
    assert any(f"column {ours} cannot be read, and is not used" in warning for warning in table.warnings)

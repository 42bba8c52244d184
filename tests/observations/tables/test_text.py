"""Text files of every dialect hold the same galaxies."""

import gzip

import numpy as np
import pytest

from sbi_clustermass.observations.tables import TableError, read_table
from tests.observations.tables.conftest import GIVEN, galaxies

NAMES = ("ra", "dec", "z")


@pytest.fixture
def rows(columns):
    return [list(map(repr, row)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)]


def save(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.dat"])
@pytest.mark.parametrize("mark", [",", ";", "\t", "|", " ", "   "])
def test_any_separator_may_stand_in_any_text_file(mark, name, rows, expected, tmp_path):
    text = "\n".join(mark.join(row) for row in [NAMES, *rows])
    np.testing.assert_array_equal(galaxies(save(tmp_path, text, name)), expected)


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_line_ends_and_encodings_do_not_matter(end, encoding, rows, expected, tmp_path):
    text = end.join(["# Jos\xe9 measured these", *(",".join(row) for row in [NAMES, *rows])]) + end
    np.testing.assert_array_equal(galaxies(save(tmp_path, text.encode(encoding))), expected)


def test_names_may_stand_in_a_comment(rows, expected, tmp_path):
    text = "# our survey\n# ra dec z\n" + "\n".join(" ".join(row) for row in rows)
    np.testing.assert_array_equal(galaxies(save(tmp_path, text, "t.dat")), expected)


def test_decimal_commas_are_read(rows, expected, tmp_path):
    text = "\n".join(";".join(row).replace(".", ",") for row in [NAMES, *rows])
    np.testing.assert_array_equal(galaxies(save(tmp_path, text)), expected)


def test_commas_that_may_be_thousands_are_refused(tmp_path):
    with pytest.raises(TableError, match="'30,100' in row 1"):
        read_table(save(tmp_path, "ra;dec;cz\n1;2;30,100\n1;2;30,200\n"))


def test_the_lines_of_units_and_dashes_of_vizier_are_understood(rows, expected, tmp_path):
    head = ["#   VizieR", "_RAJ2000\t_DEJ2000\tcz", "deg\tdeg\tkm/s", "-----\t-----\t-----"]
    text = "\n".join([*head, *(f"{ra}\t{dec}\t{float(z) * 299_792.458!r}" for ra, dec, z in rows)])
    # atol: rounding of c z / c at 30000 km/s is 4e-12 km/s, then float32
    np.testing.assert_allclose(galaxies(save(tmp_path, text, "t.tsv")), expected, rtol=1e-6, atol=1e-3)


def test_gzipped_text_fits_and_votables_are_read(rows, expected, columns, tmp_path):
    from astropy.table import Table

    text = "\n".join(",".join(row) for row in [NAMES, *rows])
    np.testing.assert_array_equal(galaxies(save(tmp_path, gzip.compress(text.encode()), "a.b.csv.gz")), expected)
    assert read_table(tmp_path / "a.b.csv.gz", options=GIVEN).name == "a.b"
    for name, form in (("t.fits", "fits"), ("t.vot", "votable")):
        Table(columns).write(tmp_path / name, format=form)
        zipped = save(tmp_path, gzip.compress((tmp_path / name).read_bytes()), f"{name}.gz")
        np.testing.assert_array_equal(galaxies(zipped), expected)


@pytest.mark.parametrize(("form", "name"), [("ascii.ipac", "t.tbl"), ("ascii.mrt", "t.mrt"), ("ascii.mrt", "t.txt")])
def test_tables_of_archives_and_journals_are_read(form, name, columns, expected, tmp_path):
    from astropy.table import Table

    Table(columns).write(tmp_path / name, format=form)
    # rtol, atol: these formats may round the last digits; float32
    np.testing.assert_allclose(galaxies(tmp_path / name), expected, rtol=1e-5, atol=0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("14.1,2.1,.1\n14.2,2.1,.1\n", "no line of column names"),
        ("ra,dec,z,z\n1,2,.1,.1\n", "more than one column could be z"),
        ("ra,dec,z\n1,2,.1\n1,2,.1,4\n", "not a readable table: 1 row of 2"),
        ("ra,dec,z\n1,2,.1\n1,2", "ends in the middle of a row"),
        ("# nothing\n", "comment lines only"),
    ],
)
def test_text_that_is_no_table_is_refused_with_its_reason(text, words, tmp_path):
    with pytest.raises(TableError, match=words):
        read_table(save(tmp_path, text))

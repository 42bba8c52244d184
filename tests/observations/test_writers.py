"""Tables of masses: what is read back is what was inferred, units included; nothing half-written; harmless text."""

import csv
import warnings

import numpy as np
import pandas
import pytest
from astropy import units as u
from astropy.cosmology import FlatLambdaCDM
from astropy.table import Table
from hypothesis import given, strategies as st

from sbi_clustermass.cli.infer import infer
from sbi_clustermass.observations import (
    COLUMNS,
    SUFFIXES,
    MassResult,
    ModelStamp,
    NoMassResult,
    as_table,
    mass_row,
    table_file,
)
from sbi_clustermass.observations.sanitize import no_formula

HOSTILE = (
    "=1+1",
    "@SUM(A1)",
    "-2+3",
    "+cmd|' /C calc'!A0",
    "a\nb\r\nc",
    '"quoted", and; more',
    "\tA 1",
    "Ωμέγα 星",
    "",
)


@pytest.fixture
def hostile(results):
    """Clusters without a mass whose names and reasons mean harm."""
    return [*results[:5], *(NoMassResult(name, f"{name}: bad\n  try: {name}") for name in HOSTILE)]


def read(path):
    if path.suffix == ".csv":
        return Table.from_pandas(pandas.read_csv(path, keep_default_na=False, na_values=["nan"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # astropy says so if a header lacks something
        warnings.filterwarnings("ignore", message=".*littleh.*")
        return Table.read(path)


def write_table(results, path, stamp):
    with table_file(path, stamp) as add:
        for result in results:
            add(result)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_back_every_number_and_word(results, stamp, tmp_path, suffix):
    path = tmp_path / f"masses{suffix}"
    write_table(results, path, stamp)
    table = read(path)
    assert table.colnames == [column.name for column in COLUMNS]
    for row, result in zip(table, results, strict=True):
        for column, value in mass_row(result, stamp).items():
            found = row[column]
            if isinstance(value, str):
                assert ("" if np.ma.is_masked(found) else str(found)) == " ".join(value.split("\n"))
            else:
                number = np.nan if np.ma.is_masked(found) else float(found)
                assert number == pytest.approx(value, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("suffix", [".ecsv", ".parquet"])
def test_units_and_descriptions_belong_to_the_columns(results, stamp, tmp_path, suffix):
    write_table(results, tmp_path / f"m{suffix}", stamp)
    table = read(tmp_path / f"m{suffix}")
    assert (1 * table["M200c"].unit).to_value(u.solMass) == pytest.approx(1e14)
    assert table["r200c"].unit == u.Mpc
    assert table["velocity_dispersion"].unit == u.km / u.s
    assert all(table[column.name].description == column.description for column in COLUMNS)


def test_masses_and_radii_agree_with_astropys_critical_density(results, stamp):
    cosmology = FlatLambdaCDM(H0=100 * stamp.h, Om0=stamp.cosmology.Om0, Tcmb0=0)
    table = as_table([result for result in results if isinstance(result, MassResult)], stamp)
    z = np.asarray(table["redshift"])
    mass = np.asarray(table["M200c"]) * 1e14 * u.solMass
    radius = np.cbrt(3 * mass / (800 * np.pi * cosmology.critical_density(z))).to_value(u.Mpc)
    np.testing.assert_allclose(table["r200c"], radius, rtol=1e-5)  # two values of G
    np.testing.assert_allclose(table["r200c_comoving"], radius * stamp.h * (1 + z), rtol=1e-5)
    np.testing.assert_allclose(np.log10(table["M200c_per_h"]) + 14, table["log10_mass_p50"])
    assert (table["M200c_p16"] < table["M200c"]).all()
    assert (table["r200c"] < table["r200c_p84"]).all()


def test_the_h_of_masses_in_msun_is_the_users_unless_that_stands_for_no_h(estimator):
    own = estimator.cosmology.h
    assert [ModelStamp.from_estimator(estimator, h=h).h for h in (None, 1.0, 0.7)] == [own, own, 0.7]


def test_a_checksum_changes_with_the_model(estimator, model, tmp_path):
    text = (model / "estimator.json").read_text()
    (tmp_path / "estimator.json").write_text(text + " ")
    first, other = (ModelStamp.from_estimator(estimator, folder=folder).checksum for folder in (model, tmp_path))
    assert len(first) == 12
    assert first != other


def test_hostile_names_start_no_formula_and_no_line_in_a_csv(hostile, stamp, tmp_path):
    write_table(hostile, tmp_path / "m.csv", stamp)
    lines = (tmp_path / "m.csv").read_text(encoding="utf-8").split("\n")
    assert len(lines) == len(hostile) + 2  # head, rows, and nothing behind the last end of line
    rows = list(csv.DictReader(lines[:-1]))
    texts = [text for row in rows for text in row.values()]
    assert not [text for text in texts if text.lstrip()[:1] in tuple("=+-@") and not is_number(text)]
    assert rows[5]["name"] == "'=1+1"
    assert rows[12]["name"] == "Ωμέγα 星"


@pytest.mark.parametrize("name", ["a;=cmd|'/c calc'!A0;b", 'a; "=1+1"', ";-2+3", 'b;""@SUM(A1)', "=1;=2"])
def test_a_spreadsheet_that_divides_at_semicolons_sees_no_formula_either(name, results, stamp, tmp_path):
    path = tmp_path / "m.csv"
    write_table([*results[:2], NoMassResult(name, f"{name}: bad")], path, stamp)
    with path.open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file, delimiter=";") for cell in row]
    assert not [cell for cell in cells if cell.lstrip()[:1] in tuple("=+-@") and not is_number(cell)]
    assert not [cell for cell in path.read_text().split(";") if cell.lstrip(' "')[:1] in tuple("=+-@")]
    for found in (pandas.read_csv(path)["name"], Table.read(path, format="ascii.csv")["name"]):
        assert str(found[2]).replace("'", "") == name.replace("'", "")


def test_all_text_of_a_csv_is_quoted(results, stamp, tmp_path):
    write_table(results[:1], tmp_path / "m.csv", stamp)
    row = (tmp_path / "m.csv").read_text().splitlines()[1]
    assert row.startswith('"C0",')
    assert f',"{stamp.version}",' in row


@given(st.text())
def test_whatever_the_text_is_no_spreadsheet_takes_it_for_a_formula(text):
    found = no_formula(text)
    assert found.lstrip()[:1] not in tuple("=+-@") or is_number(found)
    assert len(found.splitlines()) <= 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interrupted_run_leaves_the_old_file_and_nothing_else(results, stamp, tmp_path, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_text("old")

    def run():
        with table_file(path, stamp) as add:
            add(results[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_another_suffix_is_refused_with_a_list_of_those_that_work(stamp, tmp_path):
    with pytest.raises(ValueError, match=r"\.ecsv"):
        write_table([], tmp_path / "m.xlsx", stamp)


def test_the_help_names_the_columns():
    text = infer.__doc__ or ""
    stems = {column.name.removesuffix("_p16").removesuffix("_p84") for column in COLUMNS}
    short = {stem for stem in stems if not stem.startswith("log10_mass_p")}
    summed_up = {"redshift_error", "redshift_source", "centre_error", "centre_source"}  # "with errors and sources"
    assert not {stem for stem in short - summed_up if stem not in text}


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

"""Columns are found by name, UCD and unit; what could be two things is refused."""

import astropy.cosmology.units as cu
import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import Angle, SkyCoord
from astropy.io.votable.ucd import check_ucd
from astropy.table import QTable, Table
from hypothesis import given, strategies as st

from sbi_clustermass.observations.tables import TableError, TableOptions, read_table
from sbi_clustermass.observations.tables.column_names import UCDS, ucd_contradicts, ucd_quantity
from sbi_clustermass.observations.tables.parsing import angles
from tests.observations.tables.conftest import GIVEN, galaxies

C = 299_792.458
PHYSICAL = TableOptions(redshift=0.1, h=0.7, distance="physical")


@pytest.fixture
def distances(columns):
    return {"R": np.linspace(0.01, 2.0, 240), "v": (columns["z"] - 0.1) * 3e5}


def save(table, path, **options):
    table.write(path, **options)
    return path


# ---- files that hold several tables ---------------------------------------------------------------------------------


def test_hdf5_is_read_as_a_dataset_of_records_or_a_group_of_columns(columns, expected, tmp_path):
    import h5py

    Table(columns).write(tmp_path / "a.h5", path="deep/galaxies", serialize_meta=True)
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        for name, values in columns.items():
            file["survey/" + name] = values
        file["survey/ra"].attrs["unit"] = "deg"
    for name in ("a.h5", "b.hdf5"):
        np.testing.assert_array_equal(galaxies(tmp_path / name), expected)


@pytest.mark.parametrize("form", ["fits", "hdf5", "votable"])
def test_of_several_tables_in_a_file_one_must_be_chosen(form, columns, expected, tmp_path):
    from astropy.io import fits
    from astropy.io.votable.tree import Resource, TableElement, VOTableFile

    path, tables = tmp_path / "t", {"GALAXIES": Table(columns), "STARS": Table({"x": [1.0, 2.0]})}
    if form == "fits":
        path = path.with_suffix(".fits")
        parts = [fits.BinTableHDU(table, name=name) for name, table in tables.items()]
        fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(path)
    elif form == "hdf5":
        path = path.with_suffix(".h5")
        for name, table in tables.items():
            table.write(path, path=name, append=True, serialize_meta=True)
    else:
        path, file, resource = path.with_suffix(".vot"), VOTableFile(), Resource()
        file.resources.append(resource)
        for name, table in tables.items():
            element = TableElement.from_table(file, table)
            element.name = name
            resource.tables.append(element)
        file.to_xml(str(path))
    with pytest.raises(TableError, match="several tables") as caught:
        read_table(path, options=GIVEN)
    assert "GALAXIES, STARS" in str(caught.value)
    assert "--table GALAXIES" in str(caught.value)
    chosen = TableOptions(redshift=0.1, centre=(359.9, 40.0), table="GALAXIES")
    np.testing.assert_array_equal(galaxies(path, chosen), expected)
    with pytest.raises(TableError, match="--table GALAXIES"):
        read_table(path, options=TableOptions(table="GALAXY"))


# ---- UCDs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [word for word in UCDS if "_" not in word and "." in word])
def test_every_ucd_that_is_known_is_one_of_the_controlled_vocabulary(word):
    assert check_ucd(word, check_controlled_vocabulary=True)


@pytest.mark.parametrize("spoken", ["src.redshift;meta.main", "spect.dopplerVeloc.opt", "REDSHIFT_HC"])
def test_columns_without_a_usual_name_are_found_by_ucd(spoken, columns, expected, tmp_path):
    velocity = "Veloc" in spoken
    table = Table({"a": columns["ra"], "b": columns["dec"], "c": columns["z"] * (C if velocity else 1)})
    for name, ucd in zip("abc", ("pos.eq.ra;meta.main", "pos.eq.dec;meta.main", spoken), strict=True):
        table[name].meta["ucd"] = ucd
    path = save(table, tmp_path / "t.ecsv", format="ascii.ecsv")
    # rtol, atol: c z / c and float32
    np.testing.assert_allclose(galaxies(path), expected, rtol=1e-6, atol=1e-3)


def test_ucds_of_votables_and_fits_choose_among_columns_of_one_kind(columns, expected, tmp_path):
    from astropy.io import fits

    other = {"RAJ2000": columns["ra"] + 0.01, "DEJ2000": columns["dec"], "z": columns["z"] * 0 + 17.5}
    table = Table({"ra": columns["ra"], "dec": columns["dec"], "zspec": columns["z"], **other})
    kinds = {
        "ra": "pos.eq.ra;meta.main",
        "dec": "pos.eq.dec;meta.main",
        "RAJ2000": "pos.eq.ra",
        "DEJ2000": "pos.eq.dec",
        "z": "phot.mag;em.opt.i",
        "zspec": "src.redshift",
    }
    for name, ucd in kinds.items():
        table[name].meta["ucd"] = ucd
    np.testing.assert_array_equal(galaxies(save(table, tmp_path / "t.vot", format="votable")), expected)
    unit = fits.BinTableHDU(Table({name: np.asarray(table[name]) for name in table.colnames}))
    for i, name in enumerate(table.colnames, 1):
        unit.header[f"TUCD{i}"] = kinds[name]
    unit.writeto(tmp_path / "t.fits")
    np.testing.assert_array_equal(galaxies(tmp_path / "t.fits"), expected)


def test_radio_velocities_are_not_c_z(columns, expected, tmp_path):
    table = Table({"ra": columns["ra"], "dec": columns["dec"], "vel": (columns["z"] + 1) * 0})
    spectral = (columns["z"] + 1) ** -1 * 1420.40575 * u.MHz  # the 21 cm line, by astropy's own equivalency
    table["vel"] = spectral.to_value(u.km / u.s, u.doppler_radio(1420.40575 * u.MHz))
    table["vel"].meta["ucd"] = "spect.dopplerVeloc.radio"
    # rtol, atol: 1 / (1 - v/c) costs two digits of float64; float32
    options = TableOptions(redshift=0.1, centre=(359.9, 40.0), columns={"cz": "vel"})
    path = save(table, tmp_path / "t.ecsv", format="ascii.ecsv")
    np.testing.assert_allclose(galaxies(path, options), expected, rtol=1e-5, atol=1e-2)


def test_an_error_is_no_redshift_and_a_photometric_redshift_neither():
    assert ucd_quantity("stat.error;src.redshift") == "z_err"
    assert ucd_quantity("src.redshift.phot") == ""
    assert ucd_contradicts("src.redshift.phot", "z")
    assert ucd_contradicts("phot.mag;em.opt.i", "z")
    assert not ucd_contradicts("src.redshift", "z_cluster")


# ---- units ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "unit", "factor"),
    [
        ("R_kpc", None, 1e3),
        ("R_proj_Mpc", None, 1.0),
        ("R_proj", u.kpc, 1e3),
        ("R_proj", u.pc, 1e6),
        ("radius", "Mpc", 1.0),
        ("R_proj", cu.littleh**-1 * u.Mpc, 0.7),
        ("R_proj", "Mpc/h", 0.7),
        ("r_hinvMpc", None, 0.7),
    ],
)
def test_lengths_in_any_unit_are_the_same(name, unit, factor, distances, write, tmp_path):
    expected = galaxies(write({"R_proj_Mpc": distances["R"], "v_los": distances["v"]}), PHYSICAL)
    table = Table({name: distances["R"] * factor, "v_los": distances["v"]})
    table[name].unit = unit
    options = TableOptions(redshift=0.1, distance="physical") if factor == 0.7 else PHYSICAL
    path = save(table, tmp_path / "t.ecsv", format="ascii.ecsv")
    np.testing.assert_allclose(galaxies(path, options), expected, rtol=1e-6)  # float32


@pytest.mark.parametrize(("name", "unit"), [("r_arcmin", u.arcmin), ("theta_deg", u.deg), ("sep", u.arcsec)])
def test_angles_from_the_centre_become_distances_as_astropy_has_them(name, unit, distances, tmp_path):
    from astropy.cosmology import FlatLambdaCDM

    from clustermocks.haloes.cosmology import MDPL2

    table = Table({name: distances["R"] / 100 * u.rad.to(unit), "v_los": distances["v"]})
    table[name].unit = unit
    path = save(table, tmp_path / "t.ecsv", format="ascii.ecsv")
    comoving = FlatLambdaCDM(H0=100, Om0=MDPL2.Om0, Tcmb0=0).comoving_distance(0.1).value * distances["R"] / 100
    ours = galaxies(path, TableOptions(redshift=0.1))[0]
    np.testing.assert_allclose(ours, comoving[comoving < 1.6][: len(ours)], rtol=1e-6)  # float32
    with pytest.raises(TableError, match="--redshift Z"):
        read_table(path)


def test_words_of_units_that_astropy_does_not_know_are_understood(columns, expected, tmp_path):
    table = Table({"ra": columns["ra"], "dec": columns["dec"], "cz": columns["z"] * C})
    for name, unit in {"ra": "Degrees", "dec": "degree", "cz": "km/sec"}.items():
        table[name].unit = u.Unit(unit, parse_strict="silent")
    path = save(table, tmp_path / "t.ecsv", format="ascii.ecsv")
    np.testing.assert_allclose(galaxies(path), expected, rtol=1e-6, atol=1e-3)  # c z / c, float32


@pytest.mark.parametrize(
    ("name", "unit", "words"),
    [("R_proj_Mpc", "kpc", "two units"), ("R_Mpc_h", "Mpc", "two units"), ("R_proj", "s", "cannot be read in deg")],
)
def test_a_unit_against_the_name_or_against_the_quantity_is_refused(name, unit, words, distances, tmp_path):
    table = Table({name: distances["R"], "v_los": distances["v"]})
    table[name].unit = unit
    with pytest.raises(TableError, match=words):
        read_table(save(table, tmp_path / "t.ecsv", format="ascii.ecsv"), options=PHYSICAL)


def test_columns_with_odd_names_are_found_by_their_units(distances, write, tmp_path):
    expected = galaxies(write({"R_proj_Mpc": distances["R"], "v_los": distances["v"]}), PHYSICAL)
    table = Table({"apart": distances["R"], "speed": distances["v"]})
    table["apart"].unit, table["speed"].unit = "Mpc", "km/s"
    path = save(table, tmp_path / "t.ecsv", format="ascii.ecsv")
    np.testing.assert_array_equal(galaxies(path, PHYSICAL), expected)
    assert read_table(path, options=PHYSICAL).notes == ("column speed read as velocity relative to the cluster",)


def test_quantities_and_coordinates_of_astropy_are_unpacked(columns, expected, tmp_path):
    sky = SkyCoord(columns["ra"], columns["dec"], unit="deg")
    table = QTable({"sky": sky, "cz": columns["z"] * C * 1e3 * u.m / u.s})
    path = save(table, tmp_path / "t.ecsv", format="ascii.ecsv")
    np.testing.assert_allclose(galaxies(path), expected, rtol=1e-6, atol=1e-3)  # conversions, float32


# ---- velocities of unclear kind -------------------------------------------------------------------------------------


def test_a_velocity_is_c_z_or_relative_by_its_values_or_refused(columns, expected, write):
    sky = {"ra": columns["ra"], "dec": columns["dec"]}
    recession = write({**sky, "velocity_kms": columns["z"] * C})
    np.testing.assert_allclose(galaxies(recession), expected, rtol=1e-6, atol=1e-3)  # c z / c, float32
    assert read_table(recession, options=GIVEN).notes == ("column velocity_kms read as c z",)
    relative = write({**sky, "v": (columns["z"] - 0.1) / 1.1 * C})
    assert read_table(relative, options=GIVEN).notes == ("column v read as velocity relative to the cluster",)
    with pytest.raises(TableError, match="--column cz=v, or --column v_los=v"):
        read_table(write({**sky, "v": (columns["z"] - 0.09) / 1.1 * C}), options=GIVEN)


@pytest.mark.parametrize(
    ("name", "factor", "words"),
    [("cz", 1.0, "no c z in km/s"), ("v_los", 1e-3, "no velocity in km/s"), ("v_los", 1e3, "above c")],
)
def test_velocities_in_another_unit_than_km_per_second_are_refused(name, factor, words, columns, write):
    values = columns["z"] if name == "cz" else (columns["z"] - 0.1) * C * factor
    path = write({"ra": columns["ra"], "dec": columns["dec"], name: values})
    with pytest.raises(TableError, match=words):
        read_table(path, options=GIVEN)


# ---- sexagesimal positions ------------------------------------------------------------------------------------------


@given(st.floats(0, 359.99), st.floats(-89.9, 89.9), st.sampled_from([":", " ", "hms"]))
def test_sexagesimal_angles_are_those_of_astropy(ra, dec, sep):
    texts = (
        Angle(ra, "deg").to_string("hourangle", sep=sep, precision=6, pad=True),
        Angle(dec, "deg").to_string("deg", sep=sep if sep != "hms" else "dms", precision=6, alwayssign=True),
    )
    # atol: six decimals of a second of time are 15e-6 arcsec = 4e-9 degrees
    assert angles(texts[:1], hours=True)[0] == pytest.approx(ra, abs=1e-8)
    assert angles(texts[1:], hours=False)[0] == pytest.approx(dec, abs=1e-8)


def test_positions_in_columns_of_hours_minutes_and_seconds_keep_the_sign_of_minus_zero(columns, write):
    sky = SkyCoord(columns["ra"], columns["dec"] - 40, unit="deg")
    ra, dec = sky.ra.hms, sky.dec.signed_dms
    parts = {"RAh": ra.h, "RAm": ra.m, "RAs": ra.s, "DE-": np.where(dec.sign < 0, "-", "+")}
    parts |= {"DEd": dec.d, "DEm": dec.m, "DEs": dec.s, "z": columns["z"]}
    options = TableOptions(redshift=0.1, centre=(359.9, 0.0))
    whole = galaxies(write({**columns, "dec": columns["dec"] - 40}, "whole.csv"), options)
    np.testing.assert_allclose(galaxies(write(parts), options), whole, rtol=1e-6, atol=1e-6)  # float32
    with pytest.raises(TableError, match="sign of the declination"):
        read_table(write({name: values for name, values in parts.items() if name != "DE-"}), options=options)

"""Units of columns: in the file, in a name, in brackets by hand; factors and the Hubble constant count."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from sbi_clustermass.observations.tables import TableError, TableOptions, read_cluster_list, read_table
from sbi_clustermass.observations.tables.column_names import base_name, is_scaled_distance
from sbi_clustermass.observations.tables.units import Length, Unit
from tests.observations.tables.conftest import GIVEN, galaxies

C = 299_792.458
H70 = "h_70^-1 kpc", "kpc/h70", "kpc / h_70", "h70^-1 kpc", "h_{70}^{-1} kpc", "$h_{70}^{-1}$ kpc", "h^{-1}_{70} kpc"
H70 = *H70, "h70-1 kpc", "h_0.7^-1 kpc", "kpc h70**-1", "h_70^(-1) kpc", "kpch70", "1/h70 kpc"
NAMES = "R_h70_kpc", "R_kpc_h70", "R_kpc/h_70", "R [h_70^-1 kpc]", "R (kpc/h70)"


def options(**columns):
    return TableOptions(redshift=0.1, centre=(359.9, 40.0), columns=columns)


def ecsv(tmp_path, columns, **units):
    """A table whose units stand in its header as they are, whether or not astropy knows them."""
    table = Table(dict(columns))
    table.write(tmp_path / "t.ecsv", format="ascii.ecsv", overwrite=True)
    text = (tmp_path / "t.ecsv").read_text()
    for name, unit in units.items():
        text = text.replace(f"name: {name}, ", f"name: {name}, unit: '{unit}', ")
    (tmp_path / "t.ecsv").write_text(text)
    return tmp_path / "t.ecsv"


@pytest.mark.parametrize("unit", H70)
def test_a_length_per_h70_states_an_h_of_point_seven(unit):
    assert Unit("t", "R_proj", unit).separation() == Length(1e-3, 0.7, None)


@pytest.mark.parametrize("name", NAMES)
def test_so_does_the_name_of_a_column(name):
    assert Unit("t", name, None).separation() == Length(1e-3, 0.7, None)
    assert base_name(name) == "r"


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("h_100^-1 Mpc", Length(1.0, 1.0, None)),
        ("h50^-1 Mpc", Length(1.0, 0.5, None)),
        ("littleh^-1 Mpc", Length(1.0, 1.0, None)),
        ("100 kpc", Length(0.1, None, None)),
        ("0.1Mpc", Length(0.1, None, None)),
        ("10**-3 Mpc", Length(1e-3, None, None)),
        ("10+3pc", Length(1e-3, None, None)),
        ("h^-1 100 kpc", Length(0.1, 1.0, None)),
        ("100 ckpc/h", Length(0.1, 1.0, "comoving")),
        ("15deg", 15.0),
        ("10 arcmin", 1 / 6),
    ],
)
def test_a_factor_before_a_unit_counts(unit, expected):
    found = Unit("t", "R_proj", unit).separation()
    assert found == expected if isinstance(found, Length) else found == pytest.approx(expected)


@pytest.mark.parametrize("unit", ["h_70^-1 kpc", "100 kpc", "0.1Mpc", "h50^-1 Mpc"])
def test_distances_in_odd_units_are_those_in_mpc(unit, columns, write, tmp_path):
    R, v = np.linspace(0.01, 2, 240), (columns["z"] - 0.1) * C
    physical = TableOptions(redshift=0.1, h=0.7, distance="physical")
    right = galaxies(write({"R_proj_Mpc": R, "v_los": v}), physical)
    factor = {"h_70^-1 kpc": 1e3, "100 kpc": 10, "0.1Mpc": 10, "h50^-1 Mpc": 0.7 / 0.5}[unit]  # d = x h_50^-1 = x .5/h
    own = TableOptions(redshift=0.1, distance="physical", h=None if unit.startswith("h") else 0.7)
    path = ecsv(tmp_path, {"R_proj": R * factor, "v_los": v}, R_proj=unit)
    np.testing.assert_allclose(galaxies(path, own), right, rtol=1e-6)  # float32


def test_another_h_than_that_of_the_unit_is_named_and_not_used(columns, tmp_path):
    path = ecsv(tmp_path, {"R_proj": np.linspace(10, 2000, 240), "v_los": (columns["z"] - 0.1) * C}, R_proj="kpc/h70")
    given, none, same = (
        read_table(path, options=TableOptions(redshift=0.1, distance="physical", h=h)) for h in (0.5, None, 0.7)
    )
    assert "R_proj is per h_70^-1: h = 0.5 is not used" in given.warnings
    assert not any("is not used" in warning for each in (none, same) for warning in each.warnings)
    np.testing.assert_array_equal(given.catalogue.galaxies(0)[0], none.catalogue.galaxies(0)[0])


@pytest.mark.parametrize(
    ("name", "unit", "factor"),
    [
        ("ra", "15deg", 1 / 15),
        ("ra", "h", 1 / 15),
        ("dec", "10 arcmin", 6),
        ("z", "1e-3", 1e3),
        ("z", "10**-3", 1e3),
        ("z", "1e3 km/s", C / 1e3),
        ("z", "c", 1),
        ("cz", "1e3 km/s", C / 1e3),
        ("cz", "10+3km/s", C / 1e3),
        ("cz", "m/s", C * 1e3),
        ("cz", "0.01 c", 100),
    ],
)
@pytest.mark.parametrize("place", ["file", "name", "option", "number"])
def test_units_count_for_every_quantity_wherever_they_are_said(place, name, unit, factor, columns, expected, tmp_path):
    table = {**columns, name: columns[name if name != "cz" else "z"] * factor}
    if name == "cz":
        del table["z"]
    if place == "file":
        found = galaxies(ecsv(tmp_path, table, **{name: unit}))
    else:
        table = {f"{key} [{unit}]" if key == name and place == "name" else key: table[key] for key in table}
        column = {"option": name, "number": str(list(table).index(name) + 1) if name in table else ""}.get(place)
        Table(table).write(tmp_path / "t.csv", format="ascii.csv")
        found = galaxies(tmp_path / "t.csv", options(**({name: f"{column} [{unit}]"} if column else {})))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-3)  # conversions of c z = 30000 km/s, float32


@pytest.mark.parametrize("name", ["RAh", "RA_h", "ra_hours", "RA_hr"])
def test_right_ascensions_in_hours_are_known_by_name(name, columns, expected, write):
    path = write({name: columns["ra"] / 15, "dec": columns["dec"], "z": columns["z"]})
    np.testing.assert_allclose(galaxies(path), expected, rtol=1e-6, atol=1e-3)  # float32


def test_a_squeezed_field_of_right_ascensions_below_24_asks_whether_they_are_hours(columns, write):
    table = {**columns, "ra": (columns["ra"] + 180.2) % 360 / 15}
    (asked,) = [text for text in read_table(write(table), options=TableOptions()).warnings if "longer in dec" in text]
    assert "--column 'ra=NAME [hour]'" in asked


@pytest.mark.parametrize(
    ("name", "unit"), [("R_proj", u.arcmin), ("R_proj", u.kpc), ("R", u.arcmin), ("sep", u.arcsec), ("radius", u.Mpc)]
)
def test_a_distance_without_a_unit_is_asked_for_and_may_be_answered(name, unit, columns, tmp_path):
    z, distance = 0.1, {"redshift": 0.1, "h": 0.7, "distance": "physical"}
    R = np.linspace(0.01, 2, 240) * u.Mpc
    values = R.to_value(unit) if unit.physical_type == "length" else np.linspace(5, 25, 240) * u.arcmin.to(unit)
    Table({name: values, "v_los": (columns["z"] - z) * C}).write(tmp_path / "t.csv")
    with pytest.raises(TableError, match=f"in which unit is {name}.*Mpc, kpc, arcmin") as asked:
        read_table(tmp_path / "t.csv", options=TableOptions(**distance))
    assert f"--column 'R_proj={name} [arcmin]'" in str(asked.value)
    answered = TableOptions(**distance, columns={"R_proj": f"{name} [{unit}]"})
    said = ecsv(tmp_path, {name: values, "v_los": (columns["z"] - z) * C}, **{name: unit})
    np.testing.assert_array_equal(
        galaxies(tmp_path / "t.csv", answered), galaxies(said, TableOptions(**distance, columns={"R_proj": name}))
    )


@pytest.mark.parametrize("name", ["R_100kpc", "R_100_kpc"])
def test_a_number_before_the_unit_in_a_name_is_not_dropped(name, columns, write):
    path = write({name: np.linspace(0.1, 20, 240), "v_los": (columns["z"] - 0.1) * C})
    with pytest.raises(TableError, match="part of its unit"):
        read_table(path, options=TableOptions(redshift=0.1, h=0.7, distance="physical", columns={"R_proj": name}))


def test_a_list_of_clusters_has_units_too(tmp_path):
    (tmp_path / "c.csv").write_text("name,RA [hour],dec,cz\nA,12,40,.1\n")
    (listed,) = read_cluster_list(tmp_path / "c.csv", columns={"z": "cz [c]"})
    assert listed.centre == pytest.approx((180.0, 40.0))
    assert listed.redshift == pytest.approx(0.1)


# ---- velocities and errors whose size shows their unit --------------------------------------------------------------


def test_redshifts_that_can_only_be_velocities_are_read_so_with_a_note(columns, expected, write):
    sky = {"ra": columns["ra"], "dec": columns["dec"]}
    recession = write({**sky, "z": columns["z"] * C})
    np.testing.assert_allclose(galaxies(recession), expected, rtol=1e-6, atol=1e-3)  # c z / c, float32
    assert read_table(recession, options=GIVEN).notes == ("column z read as c z",)
    relative = write({**sky, "z": (columns["z"] - 0.1) / 1.1 * C})
    assert read_table(relative, options=GIVEN).notes == ("column z read as velocity relative to the cluster",)
    missing = {**columns, "z": np.where(np.arange(240) % 5 < 3, -99.0, columns["z"])}
    assert read_table(write(missing), options=GIVEN).notes == ()


def test_a_velocity_that_is_a_redshift_is_asked_for(columns, write):
    with pytest.raises(TableError, match="if they are redshifts, --column z=v"):
        read_table(write({"ra": columns["ra"], "dec": columns["dec"], "v": columns["z"]}), options=GIVEN)


@pytest.mark.parametrize(
    ("name", "value", "note"),
    [
        ("z_err", 45.0, "errors in column z_err read as km/s: too large for redshifts"),
        ("z_err", 1.5e-4, None),
        ("v_err", 1.5e-4, "errors in column v_err read in units of c: too small for km/s"),
        ("v_err", 45.0, None),
    ],
)
def test_errors_are_read_in_the_unit_that_their_size_allows(name, value, note, columns, write):
    errors = np.random.default_rng(0).uniform(0.8, 1.2, 240) * value
    table = read_table(write({**columns, name: errors}), options=GIVEN)
    assert table.velocity_error == pytest.approx(45.0, rel=0.2)  # / (1 + z), and a scatter of 20 %
    assert table.notes == (() if note is None else (note,))


@pytest.mark.parametrize("unit", ["km/s", "1e3 km/s", "m/s", "c"])
def test_errors_of_redshifts_have_units_too(unit, columns, tmp_path):
    per = {"km/s": 1.0, "1e3 km/s": 1e3, "m/s": 1e-3, "c": C}[unit]
    path = ecsv(tmp_path, {**columns, "z_err": np.full(240, 45.0 / per)}, z_err=unit)
    assert read_table(path, options=GIVEN).velocity_error == pytest.approx(45.0, rel=0.15)  # / (1 + z)


def test_angles_in_radians_that_nothing_says_are_asked_for_and_may_be_answered(columns, expected, write):
    """In degrees they would be a field of some arc minutes, most of whose galaxies are one another's duplicates."""
    path = write({"ra": np.deg2rad(columns["ra"]), "dec": np.deg2rad(columns["dec"]), "z": columns["z"]})
    with pytest.raises(TableError, match="are ra and dec in radians"):
        galaxies(path)
    found = galaxies(path, options(ra="ra [rad]", dec="dec [rad]"))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-3)  # float32 holds 7 digits


def test_a_small_field_near_zero_in_degrees_is_read_where_the_unit_is_given(columns, write):
    near = {"ra": 3 + (columns["ra"] - 180) % 360 / 1e4, "dec": (columns["dec"] - 40) / 50, "z": columns["z"]}
    small = TableOptions(columns={"ra": "ra [deg]", "dec": "dec [deg]"})
    assert read_table(write(near), options=small).counts.rows == 240


SCALED = "r/r200", "R/R_200", "R_proj/R200", "R [r200]", "r_over_rvir", "dist_r200", "r_norm", "logR", "log10_R_proj"


@pytest.mark.parametrize("name", [*SCALED, "log R [kpc]"])
def test_logarithms_and_distances_in_units_of_the_radius_are_no_distances_even_by_hand(name, columns, write):
    path = write({name: np.linspace(0.1, 2, 240), "v_los": np.linspace(-1000, 1000, 240)})
    for columns_ in ({}, {"R_proj": name}):
        with pytest.raises(TableError, match="is no distance from the centre in Mpc"):
            read_table(path, options=TableOptions(redshift=0.1, h=0.7, distance="physical", columns=columns_))


@pytest.mark.parametrize("name", ["R_proj [Mpc]", "rp_kpc", "r_proj", "dist_mpc", "sep_arcmin", "radius [kpc]"])
def test_names_of_distances_are_no_logarithms(name):
    assert not is_scaled_distance(name)


def test_many_galaxies_at_the_very_centre_are_rows_without_a_distance(columns, tmp_path):
    R, v = np.linspace(0.01, 2, 240), np.random.default_rng(1).normal(0, 700, 240)
    table = Table({"R_proj": np.where(np.arange(240) < 40, 0, R), "v_los": v})
    table.write(tmp_path / "t.csv")
    found = read_table(tmp_path / "t.csv", options=TableOptions(redshift=0.1, h=1, distance="comoving"))
    assert found.counts.without_position == 40
    assert any("40 rows taken as missing: R_proj is 0" in warning for warning in found.warnings)


def test_hours_minutes_and_seconds_are_found_whatever_their_case(columns, expected, write):
    hours, dec = columns["ra"] % 360 / 15, columns["dec"]
    parts = {"rah": hours // 1, "ram": hours * 60 // 1 % 60, "ras": hours * 3600 % 60}
    parts |= {"de_sign": np.full(240, "+"), "ded": dec // 1, "dem": dec * 60 // 1 % 60, "des": dec * 3600 % 60}
    np.testing.assert_allclose(galaxies(write({**parts, "z": columns["z"]})), expected, rtol=1e-4, atol=1e-3)


def test_positions_of_hyperleda_are_in_hours_and_degrees(columns, expected, write):
    path = write({"al2000": columns["ra"] / 15, "de2000": columns["dec"], "v": columns["z"] * C})
    np.testing.assert_allclose(galaxies(path), expected, rtol=1e-4, atol=0.1)  # z * C / C rounds

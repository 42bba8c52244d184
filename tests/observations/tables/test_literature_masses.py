"""Published masses in others' units, as log10 of h^-1 Msun."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from sbi_clustermass.observations import COLUMNS
from sbi_clustermass.observations.tables import TableError
from sbi_clustermass.observations.tables.literature_masses import read_published_masses


def test_every_way_to_write_a_unit_gives_one_mass(tmp_path):
    rows = [
        ("5e14", "Msun", ""),
        ("5", "1e14 Msun", "0.7"),
        ("5", "10^14 solMass", "0.7"),
        ("3.5", "1e14 Msun/h", ""),
        ("3.5", "10^14 h^-1 Msun", "0.5"),
        ("3.5", "1e14 solMass / littleh", ""),
    ]
    text = "\n".join(["name,mass,unit,h", *(f"Abell 1,{value},{unit},{h}" for value, unit, h in rows)])
    (tmp_path / "p.csv").write_text(text + "\n")
    found = read_published_masses(tmp_path / "p.csv", h=0.7).for_cluster("abell_1")
    # M [h^-1 Msun] = h M [Msun]: .7 x 5e14 in each of them; a unit per h takes no other h
    np.testing.assert_allclose([mass.log10_mass for mass in found], np.log10(3.5e14))


def test_errors_become_dex_below_and_above(tmp_path):
    (tmp_path / "p.csv").write_text(
        "name,mass,err_low,err_high,unit,method,reference\nA,4,2,4,1e14 Msun/h,lensing,B 99\n"
    )
    mass = read_published_masses(tmp_path / "p.csv", h=0.7).for_cluster("A")[0]
    assert (mass.below, mass.above) == pytest.approx((np.log10(2), np.log10(2)))
    assert mass.label == "lensing, B 99"


def test_a_unit_of_the_column_counts_and_log_masses_need_none(tmp_path):
    Table({"cluster": ["A"], "mass": [2.0] * u.Unit("1e14 solMass")}).write(tmp_path / "p.ecsv")
    assert read_published_masses(tmp_path / "p.ecsv", h=0.5).for_cluster("A")[0].log10_mass == pytest.approx(14)
    (tmp_path / "p.csv").write_text("name,log10_mass,err\nA,14.5,.1\nB,,\n")
    found = read_published_masses(tmp_path / "p.csv", h=0.5)
    assert (found.for_cluster("A")[0].log10_mass, found.for_cluster("A")[0].above) == pytest.approx((14.5, 0.1))
    assert found.for_cluster("B") == ()


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("log10_mass", "dex", 14.8),
        ("log10_mass", "dex(Msun)", 14.8 + np.log10(0.7)),
        ("log10_mass", "dex(solMass / littleh)", 14.8),
        ("log10_mass", "dex(Msun/littleh)", 14.8),
        ("log10_mass", " DEX ( Msun/h ) ", 14.8),
        ("mass", "dex(Msun)", 14.8 + np.log10(0.7)),
    ],
)
def test_a_logarithm_in_the_unit_is_taken_once(tmp_path, name, unit, expected):
    (tmp_path / "p.csv").write_text(f"name,{name},err,unit\nA,14.8,.1,{unit}\n")
    mass = read_published_masses(tmp_path / "p.csv", h=0.7).for_cluster("A")[0]
    assert (mass.log10_mass, mass.above) == pytest.approx((expected, 0.1))
    if unit in ("dex", "dex(Msun)"):
        table = Table({"name": ["A"], name: [14.8], "err": [0.1]})
        table[name].unit = u.Unit(unit)
        table.write(tmp_path / "p.ecsv")
        assert read_published_masses(tmp_path / "p.ecsv", h=0.7).for_cluster("A")[0].log10_mass == pytest.approx(
            expected
        )


def test_a_table_of_our_own_masses_is_read(tmp_path):
    table = Table({"name": ["A"], "log10_mass": [14.3], "h": [0.68]})
    table["log10_mass"].unit = next(column.unit for column in COLUMNS if column.name == "log10_mass")
    table.write(tmp_path / "ours.ecsv")
    assert read_published_masses(tmp_path / "ours.ecsv", h=0.7).for_cluster("A")[0].log10_mass == pytest.approx(14.3)


@pytest.mark.parametrize("change", [str.upper, str.title, lambda head: head.replace(",", " ,")])
def test_capitals_in_the_names_of_columns_do_not_matter(tmp_path, change):
    head = "name,mass,err_low,err_high,unit,h,method,reference"
    (tmp_path / "p.csv").write_text(f"{change(head)}\nA,4,2,4,1e14 Msun,0.5,lensing,B 99\n")
    mass = read_published_masses(tmp_path / "p.csv", h=0.7).for_cluster("A")[0]
    assert (mass.log10_mass, mass.below, mass.above) == pytest.approx((np.log10(2e14), np.log10(2), np.log10(2)))
    assert mass.label == "lensing, B 99"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,mass\nA,5\n", "no unit of mass"),
        ("name,mass,unit\nA,5,Mpc\n", "no unit of mass"),
        ("name,mass,unit\nA,5,Msun\n", "not the mass of a cluster"),
        ("name,mass,unit\nA,-5,1e14 Msun\n", "not the mass of a cluster"),
        ("name,mass,err,unit\nA,5,-1,1e14 Msun\n", "negative error"),
        ("mass,unit\n5,1e14 Msun\n", "no names"),
        ("name,M500\nA,5\n", "no masses"),
        ("name,mass,unit,h\nA,5,1e14 Msun,70\n", "Hubble"),
        ("name,mass,unit\nA,14.8,dex\n", "no unit of mass"),
        ("name,log10_mass,unit\nA,14.8,mag(Msun)\n", "no unit of mass"),
        ("name,log10_mass,err,Err\nA,14.8,.1,.2\n", "two columns of one name"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_the_reason(text, words, tmp_path):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(TableError, match=words):
        read_published_masses(tmp_path / "p.csv", h=0.7)

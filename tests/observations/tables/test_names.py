"""Units that a column's name or unit spells out."""

import pytest

from sbi_clustermass.observations.tables.column_names import base_name, is_quantity, length_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("R_proj_Mpc", ("Mpc", None, None)),
        ("R_proj_kpc", ("kpc", None, None)),
        ("R [h^-1 Mpc]", ("Mpc", 1.0, None)),
        ("Mpc / littleh", ("Mpc", 1.0, None)),
        ("R_cMpc_h", ("Mpc", 1.0, "comoving")),
        ("r_hinvMpc_comoving", ("Mpc", 1.0, "comoving")),
        ("R_phys_Mpc", ("Mpc", None, "physical")),
        ("pkpc", ("kpc", None, "physical")),
        ("R_proj", (None, None, None)),
    ],
)
def test_a_unit_of_length_is_read_as_people_write_it(text, expected):
    assert length_words(text) == expected


@pytest.mark.parametrize(
    ("name", "base"),
    [("RA_deg", "ra"), ("cz [km s^-1]", "cz"), ("v_los_kms", "vlos"), ("R_proj_cMpc/h", "rproj"), ("RA_h", "rah")],
)
def test_a_name_is_stripped_of_its_unit(name, base):
    assert base_name(name) == base


def test_a_bare_r_is_a_magnitude_and_r_in_mpc_a_distance():
    assert not is_quantity("r", "R_proj")
    assert is_quantity("R_Mpc", "R_proj")

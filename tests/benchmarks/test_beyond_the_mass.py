"""Published haloes: conversions against numbers that the papers give besides, pulls of draws that are known."""

import numpy as np
import pytest

from benchmarks.beyond_the_mass import PUBLISHED, concentration_of, rows
from sbi_clustermass import Posteriors

BY_REFERENCE = {(each.name, each.reference.split()[0]): each for each in PUBLISHED}


def test_m500c_of_a_published_concentration_is_the_one_that_the_same_table_gives():
    assert 10 ** BY_REFERENCE["A383", "Merten"].log10_m500c[0] == pytest.approx(6.1e14, rel=0.01)  # .61, of two digits


@pytest.mark.parametrize(
    ("name", "r_500c", "r_200c"), [("A85", 1.235, 1.921), ("A2029", 1.423, 2.173), ("A2255", 1.196, 2.033)]
)
def test_concentrations_of_xcop_follow_from_their_published_radii_as_from_their_masses(name, r_500c, r_200c):
    by_radii = concentration_of(2.5 * (r_500c / r_200c) ** 3)
    by_masses = 10 ** BY_REFERENCE[name, "Ettori"].log10_c200c[0]
    assert by_radii == pytest.approx(by_masses, rel=0.02)  # radii have four digits, masses three


def test_draws_about_the_published_values_have_no_pull():
    halo = BY_REFERENCE["A209", "Umetsu"]
    rng, n = np.random.default_rng(1), 40_000
    log10_mass, log10_c200c = np.log10(15.4e14 * 0.7), halo.log10_c200c[0]
    samples = np.stack([rng.normal(log10_mass, 0.1, n), rng.normal(log10_c200c, 0.1, n)], axis=-1)[None]
    ours = Posteriors(("log10_mass", "log10_c200c"), samples, np.array([12.0, -1.0]), np.array([17.0, 2.0]), ("A209",))
    (row,) = rows(ours, [halo])
    # a median of 40 000 draws has an error of .13 / 200 dex; that of M500c is of a curved function of c, .003 dex off
    np.testing.assert_allclose(row.difference, 0, atol=0.005)
    assert row.cells[:3] == ("A209", "0.43 ± 0.10", "0.43 ± 0.10")
    np.testing.assert_allclose(row.pull, 0, atol=0.05)

"""What a table's oddities do to the use of its mass: nothing, care, or that it must not be used."""

import numpy as np
import pytest

from sbi_clustermass import TableOptions
from sbi_clustermass.estimator.verdict import Grade
from sbi_clustermass.observations.tables import read_table
from sbi_clustermass.observations.tables.field import NarrowField
from sbi_clustermass.observations.tables.warnings import field_reasons
from tests.observations.tables.conftest import CENTRE, REDSHIFT

GIVEN = TableOptions(redshift=REDSHIFT, centre=CENTRE)
SURVEYS = {"aperture": [0.3, 1.6], "sector": [0.0, 180.0]}


def grades(path, words, options=GIVEN):
    return [each.grade for each in read_table(path, options=options).reasons if words in each.text]


def with_rows(columns, n, **rows):
    return {name: np.concatenate([values, np.broadcast_to(rows[name], n)]) for name, values in columns.items()}


@pytest.mark.parametrize(("n", "expected"), [(10, []), (120, [Grade.CARE])])
def test_stars_ask_for_care_where_there_are_many_and_are_no_second_cluster(columns, write, n, expected):
    ra, dec, z = np.random.default_rng(1).normal((*CENTRE, 0), (0.1, 0.1, 2e-4), (n, 3)).T
    path = write(with_rows(columns, n, ra=ra % 360, dec=dec, z=np.where(z == 0, 1e-4, z)))
    assert grades(path, "redshifts of stars") == expected
    assert grades(path, "in the same line of sight") == []


@pytest.mark.parametrize(("n", "grade"), [(120, Grade.USE), (300, Grade.DO_NOT_USE)])
def test_a_second_cluster_forbids_use_where_it_is_the_richer_one(columns, write, n, grade):
    z = 0.2 + np.random.default_rng(1).normal(0, 0.002, n)
    offset = np.random.default_rng(2).normal(0, 0.06, (n, 2))
    behind = write(with_rows(columns, n, ra=(CENTRE[0] + offset[:, 0]) % 360, dec=CENTRE[1] + offset[:, 1], z=z))
    assert grades(behind, "in the same line of sight") == [grade]
    aside = write(with_rows(columns, n, ra=20 + offset[:, 0], dec=40 + offset[:, 1], z=z))
    assert grades(aside, "choose with --centre", GIVEN) == []  # the centre is given: there is no doubt which
    assert grades(aside, "choose with --centre", TableOptions(redshift=REDSHIFT)) == [grade]


def test_a_wrong_redshift_forbids_use(columns, write):
    options = TableOptions(redshift=REDSHIFT + 0.0037, centre=CENTRE)  # 1000 km/s
    assert grades(write(columns), "km/s from redshift", options) == [Grade.DO_NOT_USE]


@pytest.mark.parametrize(("n", "grade"), [(60, Grade.USE), (150, Grade.CARE)])
def test_dropped_photometric_redshifts_are_a_note_and_most_of_a_table_asks_for_care(columns, write, n, grade):
    path = write({**columns, "z_err": np.where(np.arange(240) < n, 0.02, 1e-4)})
    assert grades(path, "photometric") == [grade]


@pytest.mark.parametrize("options", [{"h": 0.5}, {"Om": 0.2}])
def test_a_cosmology_that_changes_no_mass_is_a_note(columns, write, options):
    table = read_table(write(columns), options=TableOptions(redshift=REDSHIFT, centre=CENTRE, **options))
    assert [each.grade for each in table.reasons] == [Grade.USE]


@pytest.mark.parametrize(
    ("reach", "gap", "surveys", "expected"),
    [
        (0.8, 0.0, SURVEYS, []),
        (0.2, 0.0, SURVEYS, [Grade.CARE]),
        (0.8, 0.0, {}, [Grade.CARE]),
        (None, 170.0, SURVEYS, []),
        (None, 190.0, SURVEYS, [Grade.DO_NOT_USE]),
        (None, 170.0, {}, [Grade.CARE]),
        (None, 190.0, {}, [Grade.DO_NOT_USE]),
    ],
)
def test_a_field_matters_where_no_mocks_had_one_so_small_or_so_incomplete(reach, gap, surveys, expected):
    narrow = None if reach is None else NarrowField(reach, 0.5, 50)
    found = field_reasons(narrow, (0.5, gap), aperture=1.6, surveys=surveys)
    assert [each.grade for each in found] == expected

"""DataFrames of pandas as notebooks have them: named indices, columns of several levels, objects of mixed types."""

import numpy as np
import pandas as pd
import pytest

from sbi_clustermass.observations.tables import TableOptions, read_clusters, read_table
from tests.observations.tables.conftest import galaxies

NAMES = np.where(np.arange(240) % 2, "0012", "012")


@pytest.fixture
def frame(columns):
    return pd.DataFrame(columns)


@pytest.mark.parametrize(
    "index",
    [
        pd.Index(NAMES, name="cluster"),
        pd.CategoricalIndex(NAMES, name="cluster"),
        pd.MultiIndex.from_arrays([NAMES, np.arange(240)], names=["cluster", "galaxy"]),
        pd.MultiIndex.from_arrays([np.arange(240), NAMES], names=[None, "cluster"]),
    ],
)
def test_an_index_of_names_tells_clusters_apart_as_a_column_does(frame, index):
    as_column = list(read_clusters(frame.assign(cluster=NAMES)))
    as_index = list(read_clusters(frame.set_axis(index)))
    assert [each.name for each in as_index] == ["012", "0012"]
    assert [each.counts for each in as_index] == [each.counts for each in as_column]


def test_an_index_may_hold_any_column_and_repeat_one(frame):
    for table in (frame.set_index("ra"), frame.set_index(["ra", "dec"]), frame.set_index("z", drop=False)):
        np.testing.assert_array_equal(galaxies(table), galaxies(frame))


@pytest.mark.parametrize("names", [[("obs", n) for n in ("ra", "dec", "z")], [(n, "") for n in ("ra", "dec", "z")]])
def test_the_last_name_of_several_levels_counts(frame, names):
    np.testing.assert_array_equal(galaxies(frame.set_axis(pd.MultiIndex.from_tuples(names), axis=1)), galaxies(frame))


def test_columns_that_share_their_last_name_are_told_apart_by_all_levels(frame):
    levels = [("obs", "ra"), ("obs", "dec"), ("spec", "z"), ("phot", "z")]
    table = frame.assign(other=0.5).set_axis(pd.MultiIndex.from_tuples(levels), axis=1)
    found = read_table(table, options=TableOptions(redshift=0.1, centre=(359.9, 40.0), columns={"z": "spec_z"}))
    np.testing.assert_array_equal(np.stack(found.catalogue.galaxies(0)), galaxies(frame))


def test_numbers_and_text_may_share_a_column(frame):
    text = np.array([repr(float(z)) if i % 2 else float(z) for i, z in enumerate(frame.z)], object)
    np.testing.assert_array_equal(galaxies(frame.assign(z=text)), galaxies(frame))
    names = np.array([12 if i % 2 else "A85" for i in range(240)], object)
    assert [each.name for each in read_clusters(frame.assign(cluster=names))] == ["A85", "12"]

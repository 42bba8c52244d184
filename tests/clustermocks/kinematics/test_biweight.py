"""The quick biweight is astropy's, and the quick centre that of the mocks."""

import numpy as np
import pytest
from astropy.stats import biweight_location as astropys
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from clustermocks.kinematics.biweight import biweight_location, centre_velocity
from clustermocks.observation import robust_centre_velocity

speeds = st.floats(-6000, 6000, width=32)


@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=speeds))
def test_locations_along_rows_are_astropys(values):
    # equal to rounding of sums over 40 numbers of up to 6000
    np.testing.assert_allclose(biweight_location(values), astropys(values, axis=1), rtol=1e-9, atol=1e-8)


@settings(max_examples=200)
@given(st.integers(0, 2**32 - 1), st.integers(1, 80))
def test_the_centre_of_one_cluster_is_that_of_the_function_that_centres_the_mocks(seed, n):
    rng = np.random.default_rng(seed)
    v = rng.normal(rng.uniform(-1500, 1500), 700, n)
    expected = robust_centre_velocity(v[None], np.ones((1, n), bool), 2500.0)[0]
    assert centre_velocity(v, 2500.0) == pytest.approx(expected, abs=1e-6)  # the same steps, other sums


def test_an_empty_window_leaves_the_centre_where_it_is():
    assert centre_velocity(np.array([4000.0, -5000.0]), 2500.0) == 0
    assert centre_velocity(np.array([]), 2500.0) == 0

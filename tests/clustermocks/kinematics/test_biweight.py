"""The quick biweight is astropy's, bit for bit: mocks of one seed are the same whichever of the two centres them."""

import numpy as np
from astropy.stats import biweight_location as astropys
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from clustermocks.kinematics.biweight import biweight_location

speeds = st.integers(-6_000_000, 6_000_000).map(lambda v: v / 1000)  # to a metre a second
shapes = st.tuples(st.integers(1, 4), st.integers(1, 40))


@settings(max_examples=150)
@given(arrays(float, shapes, elements=speeds | st.just(0.0) | st.just(np.nan)))
def test_locations_along_rows_are_astropys_and_ignore_padding(values):
    values[:, 0] = np.nan_to_num(values[:, 0])  # at least one value a row
    np.testing.assert_array_equal(biweight_location(values), astropys(values, axis=1, ignore_nan=True))
    np.testing.assert_array_equal(biweight_location(values[0]), biweight_location(values[:1])[0])

"""Velocities that were rounded too coarsely, or are all equal, give no mass and the reason."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from sbi_clustermass.observations.tables import read_table
from sbi_clustermass.observations.tables.cluster import coarse_velocities

C = 299_792.458


def rounded(step, *, n=100, sigma=800.0, seed=1):
    z = 0.19 + np.random.default_rng(seed).normal(0, 1.19 * sigma / C, n)
    z = np.round(z / step) * step if step else z
    return C * (z - 0.19) / 1.19


@pytest.mark.parametrize(("step", "refused"), [(0.0, False), (1e-4, False), (1e-3, False), (2e-3, True), (1e-2, True)])
def test_rounding_coarser_than_that_of_mocks_is_refused(step, refused):
    reason = coarse_velocities(rounded(step))
    assert (reason is not None) == refused
    assert not refused or "apart" in reason


def test_equal_velocities_are_refused(columns, write):
    columns = {**columns, "z": np.full(len(columns["z"]), 0.1)}
    found = read_table(write(columns))
    assert found.reason is not None
    assert "all one value" in found.reason


@given(st.integers(0, 10_000), st.integers(5, 60), st.floats(100, 1500))
def test_unrounded_velocities_never_are(seed, n, sigma):
    assert coarse_velocities(rounded(0.0, n=n, sigma=sigma, seed=seed)) is None

"""The radius of the observed field, from where its galaxies end."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.integrate import quad

from sbi_clustermass.observations.tables.field import CHANCE, SCALE_RADIUS, narrow_field, projected_nfw, widest_field


@given(st.floats(0.2, 2.9), st.integers(5, 500))
def test_a_field_is_narrow_where_its_galaxies_cannot_end_so_early_in_the_aperture(reach, n):
    widest = widest_field(reach, n, 3.0)
    assert reach <= widest <= 3
    assert (narrow_field(np.full(n, reach), 3.0) is None) == (widest == 3)


@pytest.mark.parametrize("n", [5, 30, 300])
def test_galaxies_of_an_nfw_cluster_are_in_the_fields_they_allow(n):
    rng, field = np.random.default_rng(n), 1.2
    R = np.linspace(1e-3, field, 4000)
    share = projected_nfw(R / SCALE_RADIUS)
    outermost = [np.interp(rng.random(n), share / share[-1], R).max() for _ in range(300)]
    # an excess of .001 by design: of 300 at most 3, with a chance of failure of .0003
    assert sum(widest_field(reach, n, 3.0) < field for reach in outermost) <= 3
    assert CHANCE == 1e-3


def test_the_profile_is_the_integral_of_its_surface_density():
    def density(x):  # Bartelmann 1996, eq. 7, below one scale radius
        return x * (1 - 2 / np.sqrt(1 - x**2) * np.arctanh(np.sqrt((1 - x) / (1 + x)))) / (x**2 - 1)

    ratio = quad(density, 0, 0.8)[0] / quad(density, 0, 0.4)[0]
    assert float(projected_nfw(0.8) / projected_nfw(0.4)) == pytest.approx(ratio, rel=1e-6)

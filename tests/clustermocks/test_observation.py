"""Velocities against astropy's redshift factors, periodic boxes and sky axes by invariance, the robust centre."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import bisect

from clustermocks.haloes.cosmology import MDPL2, SPEED_OF_LIGHT
from clustermocks.observation import (
    Observation,
    centre_velocities,
    centre_velocity,
    in_cylinder,
    line_of_sight_velocity,
    observed_redshift,
    project,
    relative_velocity,
    sky_basis,
    subtract_velocity,
    wrap,
)

VELOCITY_TOLERANCE = 1e-6  # [km/s], promised; float64 leaves 1e-7
velocities = st.floats(-4000, 4000)
directions = arrays(float, 3, elements=st.floats(-1, 1)).filter(lambda n: np.linalg.norm(n) > 1e-3)


@settings(max_examples=40)  # the first call imports astropy
@given(z_proj=st.floats(-80, 80), v_galaxy=velocities, v_cluster=velocities)
def test_line_of_sight_velocity_composes_astropys_redshift_factors(z_proj, v_galaxy, v_cluster):
    import astropy.cosmology
    import astropy.units as u

    FlatLambdaCDM: Any = astropy.cosmology.FlatLambdaCDM  # its signature is hidden from type checkers
    cosmology = FlatLambdaCDM(H0=100, Om0=MDPL2.Om0, Tcmb0=0)
    distance = cosmology.comoving_distance(0.117).value + z_proj
    # astropy's own z_at_value stops at 7e-12, 2e-6 km/s
    z_hubble: Any = bisect(lambda z: cosmology.comoving_distance(z).value - distance, 1e-6, 1, xtol=1e-15)
    doppler = [(v * u.km / u.s).to(u.one, u.doppler_redshift()).value for v in (v_galaxy, v_cluster)]
    ratio = (1 + z_hubble) * (1 + doppler[0]) / (1.117 * (1 + doppler[1]))
    expected = ((ratio - 1) * u.one).to(u.km / u.s, u.doppler_redshift()).value
    found = line_of_sight_velocity(z_proj, v_galaxy, v_cluster, 0.117, MDPL2)
    assert found == pytest.approx(expected, abs=VELOCITY_TOLERANCE)


@given(z_proj=st.floats(-80, 80), v_galaxy=velocities, v_cluster=velocities)
def test_line_of_sight_velocity_is_the_difference_of_recession_velocities(z_proj, v_galaxy, v_cluster):
    def recession(z):  # Ho et al. 2019, appendix A
        return SPEED_OF_LIGHT * ((1 + z) ** 2 - 1) / ((1 + z) ** 2 + 1)

    def add(a, b):
        return (a + b) / (1 + a * b / SPEED_OF_LIGHT**2)

    z_galaxy = MDPL2.redshift_at(MDPL2.comoving_distance(0.117) + z_proj)
    expected = add(add(recession(z_galaxy), v_galaxy), -add(recession(0.117), v_cluster))
    found = line_of_sight_velocity(z_proj, v_galaxy, v_cluster, 0.117, MDPL2)
    assert found == pytest.approx(expected, abs=VELOCITY_TOLERANCE)


def test_one_comoving_megaparsec_is_94_8_km_per_s():
    assert line_of_sight_velocity(1.0, 0.0) == pytest.approx(94.8, abs=0.05)  # rounding of mock-recipe section 4


@given(z=st.floats(0.001, 2), v=velocities, v_centre=velocities)
def test_velocity_in_a_moving_frame_agrees_with_redshifts(z, v, v_centre):
    expected = relative_velocity(observed_redshift(z, v), observed_redshift(z, v_centre))
    assert subtract_velocity(v, v_centre) == pytest.approx(expected, abs=VELOCITY_TOLERANCE)


@given(d=st.floats(-2000, 2000), turns=st.integers(-3, 3), box=st.floats(30, 1000))
def test_wrap_is_periodic_and_nearest(d, turns, box):
    wrapped = wrap(d, box)
    assert -box / 2 <= wrapped <= box / 2
    shifted = wrap(d + turns * box, box)
    # the two edges of the box are the same place; 1e-9: float64 of numbers of 5000
    assert abs(shifted - wrapped) == pytest.approx(0, abs=1e-9) or abs(shifted - wrapped) == pytest.approx(box)
    assert abs((wrapped - d) / box - round((wrapped - d) / box)) < 1e-9


@given(a=arrays(float, (2, 3), elements=st.floats(0, 100)), shift=arrays(float, 3, elements=st.floats(-100, 100)))
def test_distance_in_the_box_does_not_change_when_both_points_move(a, shift):
    before, after = wrap(a[0] - a[1], 100.0), wrap((a[0] + shift) % 100 - (a[1] + shift) % 100, 100.0)
    np.testing.assert_allclose(np.abs(before), np.abs(after), atol=1e-9)


@given(n=directions)
def test_sky_axes_are_a_right_handed_orthonormal_basis(n):
    basis = np.stack(sky_basis(n))
    np.testing.assert_allclose(basis @ basis.T, np.eye(3), atol=1e-12)  # float64
    np.testing.assert_allclose(np.cross(basis[0], basis[1]), basis[2], atol=1e-12)
    np.testing.assert_allclose(basis[2], n / np.linalg.norm(n), atol=1e-12)


@given(n=directions, separation=arrays(float, (4, 3), elements=st.floats(-50, 50)))
def test_projection_keeps_lengths_and_turns_around_with_the_line_of_sight(n, separation):
    x, y, z = project(separation, n)
    np.testing.assert_allclose(x**2 + y**2 + z**2, (separation**2).sum(1), rtol=1e-10, atol=1e-10)
    x_back, y_back, z_back = project(separation, -n)
    np.testing.assert_allclose(z_back, -z, atol=1e-10)
    np.testing.assert_allclose(np.hypot(x_back, y_back), np.hypot(x, y), atol=1e-6)  # a root of a small difference


def test_box_axes_project_to_themselves():
    np.testing.assert_array_equal(np.stack(project(np.array([[1.0, 2.0, 3.0]]), [0, 0, 1]))[:, 0], [1, 2, 3])


@pytest.mark.parametrize("n", [[0, 0, 0], [1, 2], [np.nan, 0, 1]])
def test_bad_lines_of_sight_are_refused(n):
    with pytest.raises(ValueError, match="line of sight"):
        sky_basis(n)


def test_cylinder_is_open():
    observation = Observation()
    inside = in_cylinder([0, 1.6, 1.59, 1.0, 1.0], [0, 0, 2499, 2500, -2500], observation)
    np.testing.assert_array_equal(inside, [True, False, True, False, False])


@pytest.mark.parametrize("field", ["redshift", "aperture", "v_cut", "min_galaxies"])
def test_impossible_observations_are_refused_by_name(field):
    with pytest.raises(ValueError, match=field):
        Observation(**{field: -1})


def _on_end(rows):
    return np.concatenate(rows), np.repeat(np.arange(len(rows)), [len(row) for row in rows])


def _centres(rows):
    v_los, cluster = _on_end(rows)
    return centre_velocities(v_los, cluster, np.ones(len(v_los), bool), n=len(rows), v_cut=2500.0)


def test_robust_centre_finds_the_cluster_under_a_one_sided_tail():
    rng = np.random.default_rng(1)
    found = _centres([np.r_[rng.normal(300, 600, 80), rng.uniform(1500, 6000, 12)] for _ in range(200)])
    # biweight of 80 members: 600/sqrt(80) = 67 km/s each, 5 km/s over 200; the tail inside the window pulls by < 100
    assert abs(found.mean() - 300) < 100
    assert found.std() < 100


@settings(max_examples=40)
@given(shift=st.floats(-300, 300))
def test_robust_centre_moves_with_the_galaxies_and_ignores_other_clusters(shift):
    row = np.random.default_rng(2).normal(0, 500, 40)
    first, _, moved = _centres([row, row[:25], row + shift])
    assert first == pytest.approx(_centres([row])[0], abs=1e-9)  # the same arithmetic on a narrower array
    assert moved - first == pytest.approx(shift, abs=2.5)  # each iteration stops within 1 km/s


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 80))
def test_the_centre_of_one_cluster_is_that_of_the_function_that_centres_the_mocks(seed, n):
    rng = np.random.default_rng(seed)
    v = rng.normal(rng.uniform(-1500, 1500), 700, n)
    assert centre_velocity(v, 2500.0) == pytest.approx(_centres([v])[0], abs=1e-6)  # the same steps, other sums


def test_galaxies_outside_the_aperture_or_the_window_leave_the_centre_where_it_is():
    v_los, cluster = _on_end([[100.0, 4000.0], [9000.0], []])
    inside = np.array([False, True, True])
    np.testing.assert_array_equal(centre_velocities(v_los, cluster, inside, n=3, v_cut=2500.0), [0.0, 0.0, 0.0])
    assert centre_velocity(np.array([4000.0, -5000.0]), 2500.0) == 0
    assert centre_velocity(np.array([]), 2500.0) == 0

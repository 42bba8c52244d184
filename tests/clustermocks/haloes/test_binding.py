"""Bound galaxies: orbits integrated in time, and a galaxy in a box whose every coordinate is known."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from clustermocks.haloes.binding import TURNAROUND, are_bound, highest_speed
from clustermocks.haloes.cosmology import nfw_mass


def farthest(x, speed, c, angle):
    """Largest distance [r200c] of an orbit that starts at x [r200c] with a speed [V200] at an angle to the radius."""

    def motion(_, state):
        position, velocity = state[:2], state[2:]
        r = np.linalg.norm(position)
        return np.concatenate([velocity, -nfw_mass(c * r) / nfw_mass(c) / r**3 * position])

    start = [x, 0.0, speed * np.cos(angle), speed * np.sin(angle)]
    path = solve_ivp(motion, (0, 60), start, rtol=1e-8, atol=1e-10, max_step=0.05).y
    return float(np.hypot(path[0], path[1]).max())


@pytest.mark.parametrize(("x", "c"), [(0.05, 4.0), (0.7, 4.0), (2.5, 8.0)])
def test_the_highest_speed_brings_a_galaxy_to_the_turnaround_radius(x, c):
    speed = float(highest_speed(np.array(x), np.array(c)))
    assert farthest(x, speed, c, 0.0) == pytest.approx(TURNAROUND, rel=1e-3)  # steps of .05 near the turning point
    assert farthest(x, 0.97 * speed, c, 0.0) < TURNAROUND < farthest(x, 1.03 * speed, c, 0.0)


def test_no_bound_galaxy_gets_beyond_the_turnaround_radius_whatever_its_direction():
    rng, c = np.random.default_rng(1), 5.0
    for x, angle in zip(rng.uniform(0.1, 4.5, 8), rng.uniform(0, np.pi, 8), strict=True):
        speed = float(highest_speed(np.array(x), np.array(c)))
        assert farthest(x, 0.999 * speed, c, angle) < TURNAROUND


@pytest.mark.parametrize(
    ("x", "speed", "bound"), [(0.0, 2.0, True), (0.0, 9.0, False), (4.9, 0.1, True), (5.1, 0.0, False)]
)
def test_a_galaxy_is_bound_by_its_distance_and_its_speed_in_three_dimensions(x, speed, bound):
    rng = np.random.default_rng(2)
    where, way = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    sizes = {"r_200c": np.array([1.2]), "c_200c": np.array([4.0]), "v_200": np.array([700.0])}
    assert are_bound(1.2 * x * where[None], 700.0 * speed * way[None], **sizes)[0] == bound

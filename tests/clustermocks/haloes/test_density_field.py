"""The density field around clusters, against linear theory by quadrature."""

import numpy as np
import pytest
from scipy.integrate import quad

from clustermocks.haloes.cosmology import MDPL2, correlation_function, power_spectrum
from clustermocks.haloes.density_field import DensityField
from clustermocks.haloes.structure import draw_haloes

REDSHIFT, N = 0.117, 20_000
FLOW = MDPL2.matter_fraction(REDSHIFT) ** 0.55 * MDPL2.hubble(REDSHIFT) / (1 + REDSHIFT)  # f H [km/s per h^-1 Mpc]


def relative_dispersion(radius: float, *, along: bool = True) -> float:
    """Linear dispersion of relative velocities along, or across, the separation of two points [km/s] (Gorski 1988)."""

    def integrand(log_k: float) -> float:
        k = np.exp(log_k)
        x = k * radius
        j0, j1_x = np.sin(x) / x, (np.sin(x) - x * np.cos(x)) / x**3
        return k * float(power_spectrum(k, REDSHIFT, MDPL2)) * (1 / 3 - (j0 - 2 * j1_x if along else j1_x))

    variance = quad(integrand, np.log(3e-3), np.log(3.0), limit=400)[0] / np.pi**2
    return float(FLOW * np.sqrt(variance))


@pytest.fixture(scope="module")
def field() -> DensityField:
    return DensityField.draw(N, np.random.default_rng(1), redshift=REDSHIFT, cosmology=MDPL2)


def at(field: DensityField, radius: float, axis: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Contrast and velocity of each realization at one distance from its cluster."""
    position = np.zeros((N, 3))
    position[:, axis] = radius
    return field.contrast(np.arange(N), position), field.velocity(np.arange(N), position)


def test_the_density_is_positive_with_mean_1(field):
    contrast, _ = at(field, 0.0)
    assert contrast.min() > -1
    assert contrast.mean() == pytest.approx(0, abs=4 * np.sqrt(np.expm1(field.variance) / N))  # 4 sigma


@pytest.mark.parametrize("radius", [8.0, 12.0, 20.0])
def test_points_cluster_by_the_linear_correlation_function(field, radius):
    (here, _), (there, _) = at(field, 0.0), at(field, radius, axis=0)
    product = here * there
    # 4 sigma; the smoothing of 1.5 h^-1 Mpc takes 5 % at 8
    expected = float(correlation_function(radius, REDSHIFT, MDPL2))
    assert product.mean() == pytest.approx(expected, rel=0.07, abs=4 * product.std() / np.sqrt(N))


@pytest.mark.parametrize("radius", [3.0, 12.0, 40.0])
@pytest.mark.parametrize("along", [True, False])
def test_relative_velocities_are_those_of_linear_theory(field, radius, along):
    _, velocity = at(field, radius, axis=2 if along else 0)
    expected = relative_dispersion(radius, along=along)
    assert velocity.std() == pytest.approx(expected, rel=0.01 + 4 / np.sqrt(2 * N))  # grids, 4 sigma
    assert abs(velocity.mean()) < 4 * velocity.std() / np.sqrt(N)


def test_matter_streams_towards_where_it_is_dense(field):
    """Points weighted by their density approach each other by -f H r mean xi / 3, each of them (Peebles 1980)."""
    radius = 12.0
    contrast, velocity = at(field, radius)
    shell = quad(lambda r: r**2 * float(correlation_function(r, REDSHIFT, MDPL2)), 0.01, radius, limit=200)[0]
    streaming = (contrast * velocity).mean()
    error = (contrast * velocity).std() / np.sqrt(N)
    # ln(1 + xi) in place of xi below 3 h^-1 Mpc takes 15 % of the mean inside 12
    assert streaming == pytest.approx(-FLOW * radius / 3 * 3 * shell / radius**3, rel=0.2, abs=4 * error)


def test_the_field_of_a_cluster_depends_on_nothing_but_the_stream():
    fields = [DensityField.draw(3, np.random.default_rng(7), redshift=REDSHIFT, cosmology=MDPL2) for _ in range(2)]
    clusters = draw_haloes(
        np.full(3, 14.0), np.random.default_rng(1), concentration_scatter=0.0, redshift=REDSHIFT, cosmology=MDPL2
    )
    position = np.random.default_rng(2).uniform(-5, 5, (30, 3)) * clusters.r_200c[0]
    cluster = np.arange(30) % 3
    for first, second in zip(
        *([f.contrast(cluster, position), f.velocity(cluster, position)] for f in fields), strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_a_point_has_the_same_density_and_velocity_whatever_others_are_asked_for(field):
    cluster, position = np.arange(3000) % 7, np.random.default_rng(3).uniform(-50, 50, (3000, 3))
    for found in (field.contrast, field.velocity):
        whole = found(cluster, position)
        for part in (slice(0, 1), slice(1021, 1033), slice(5, None, 3)):
            np.testing.assert_array_equal(found(cluster[part], position[part]), whole[part])


def test_the_cluster_itself_does_not_move(field):
    here = field.velocity(np.arange(N), np.zeros((N, 3)))
    assert np.abs(here).max() < 1e-2  # of hundreds of km/s, in float32

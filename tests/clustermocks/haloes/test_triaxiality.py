"""Triaxial shapes: axis ratios come out as asked, sides differ, means stay."""

import numpy as np
import pytest

from clustermocks.haloes.cosmology import MDPL2
from clustermocks.haloes.mergers import NONE
from clustermocks.haloes.satellites import HaloGalaxies, draw_satellites
from clustermocks.haloes.structure import draw_haloes
from clustermocks.haloes.triaxiality import SPHERES, TRIAXIAL, Shapes, draw_ellipsoids


def _axis_ratio(matrices):
    """Shortest over longest axis of symmetric matrices."""
    eigenvalues = np.linalg.eigvalsh(matrices)
    return eigenvalues[:, 0] / eigenvalues[:, -1]


def test_ellipsoids_have_the_axis_ratios_asked_for_and_share_their_axes():
    drawn = draw_ellipsoids(4000, np.random.default_rng(1), Shapes(0.7, 0.8, 0.05, 0.6))
    # 4 sigma of a mean of 4000 with deviation .05
    assert _axis_ratio(drawn.position).mean() == pytest.approx(0.7, abs=4 * 0.05 / np.sqrt(4000))
    assert _axis_ratio(drawn.velocity).mean() == pytest.approx(0.8, abs=4 * 0.05 / np.sqrt(4000))
    product = drawn.position @ drawn.velocity
    np.testing.assert_allclose(product, np.swapaxes(product, 1, 2), atol=1e-12)  # they commute: rounding
    np.testing.assert_allclose((drawn.velocity**2).sum((1, 2)), 3, rtol=1e-12)
    longest = np.linalg.eigvalsh(drawn.position)[:, -1]
    np.testing.assert_allclose(longest, 1, rtol=1e-12)


def test_orientations_are_isotropic():
    velocity = draw_ellipsoids(20_000, np.random.default_rng(2), TRIAXIAL).velocity
    along = (velocity**2).sum(axis=2)  # mean square velocity along each axis of space
    np.testing.assert_allclose(along.mean(axis=0), 1, atol=4 * along.std() / np.sqrt(20_000))  # 4 sigma


def _population(shapes, n=3000, anisotropy=0.0):
    quiet = dict.fromkeys(("velocity_scatter", "concentration_scatter", "richness_scatter"), 0.0)
    galaxies = HaloGalaxies(**quiet, shapes=shapes, mergers=NONE, anisotropy=anisotropy)
    rng = np.random.default_rng(3)
    haloes = draw_haloes(np.full(n, 14.5), rng, concentration_scatter=0.0, redshift=0.117, cosmology=MDPL2)
    return haloes, draw_satellites(haloes, rng, galaxies)


def test_shapes_leave_radii_and_mean_dispersions_alone():
    (haloes, round_), (_, triaxial) = _population(SPHERES), _population(TRIAXIAL)
    for drawn in (round_, triaxial):
        assert np.linalg.norm(drawn.separation, axis=1).max() <= haloes.R_vir[0] * (1 + 1e-12)
    mean = [np.linalg.norm(drawn.separation, axis=1).mean() for drawn in (round_, triaxial)]
    assert mean[0] == pytest.approx(mean[1], rel=0.005)  # 250 000 galaxies each with a spread of half the mean: .2 %


@pytest.mark.parametrize("anisotropy", [0.0, 0.5, -1.0, "mamon_lokas"])
def test_shapes_leave_the_jeans_dispersion_alone_whatever_the_anisotropy(anisotropy):
    (_, round_), (_, triaxial) = (_population(shapes, 6000, anisotropy) for shapes in (SPHERES, TRIAXIAL))
    rms = [drawn.v_jeans.std() for drawn in (round_, triaxial)]
    assert rms[0] == pytest.approx(rms[1], rel=0.003)  # 500 000 galaxies each, to .06 %: 3.5 sigma


def test_radial_velocities_are_stretched_as_the_directions_say():
    drawn = draw_ellipsoids(1, np.random.default_rng(1), Shapes(0.5, 0.7, 0.0, 0.4))
    n = drawn.directions(np.zeros(200_000, int), np.random.default_rng(2))
    squares = ((n @ drawn.velocity[0]) ** 2).sum(axis=1)
    assert drawn.radial_square()[0] == pytest.approx(squares.mean(), abs=4 * squares.std() / np.sqrt(len(n)))  # 4 sigma
    sphere = draw_ellipsoids(1, np.random.default_rng(1), SPHERES)
    np.testing.assert_allclose(sphere.radial_square(), 1, rtol=1e-12)


def test_seen_along_its_long_axis_a_cluster_is_compact_and_fast():
    _, drawn = _population(TRIAXIAL)
    number = np.bincount(drawn.halo)
    R_square = np.bincount(drawn.halo, (drawn.separation[:, :2] ** 2).sum(axis=1)) / number
    log_sigma = 0.5 * np.log(np.bincount(drawn.halo, drawn.v_jeans[:, 2] ** 2) / number)
    assert np.corrcoef(R_square, log_sigma)[0, 1] < -0.2
    # 66 galaxies measure ln sigma to .087; the rest, .08, is what the velocity ellipsoid adds to the scatter
    intrinsic = np.sqrt(log_sigma.var() - np.mean(1 / (2 * number)))
    assert intrinsic == pytest.approx(0.08, abs=0.02)


@pytest.mark.parametrize("field", ["position", "velocity", "scatter", "triaxiality"])
def test_impossible_shapes_are_refused_by_name(field):
    with pytest.raises(ValueError, match=field):
        Shapes(**{field: 1.2})

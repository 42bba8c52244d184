"""The density of galaxies in the (r, v) plane: sklearn's, normalised, and sharp where galaxies crowd."""

import numpy as np
import pytest
from sklearn.neighbors import KernelDensity

from clustermocks import JeansGalaxies, SphericalJeans
from clustermocks.kinematics.phase_space_density import phase_space_density

LIMITS = (1.6 / 1.117, 2500.0)


@pytest.fixture(scope="module")
def rich():
    """A spherical isotropic NFW cluster with 400 galaxies: distances [physical h^-1 Mpc] and velocities [km/s]."""
    model = SphericalJeans(galaxies=JeansGalaxies(number=400, number_slope=0.0))
    R_proj, v_los = (column.astype(float) for column in model.simulate([14.3], seed=3).galaxies(0))
    return R_proj / 1.117, v_los


def test_the_density_is_that_of_sklearn_on_mirrored_galaxies():
    rng = np.random.default_rng(4)
    r, v_los = LIMITS[0] * rng.uniform(size=50) ** 0.7, rng.normal(0, 600, 50)
    plane = phase_space_density(r, v_los, limits=LIMITS, q=25, adaptive=False)
    y = v_los / 2500
    width = 50 ** (-1 / 6) * np.sqrt((np.var(r) + np.var(y)) / 2)
    images = np.array(
        [(x, s * w) for x0, w in zip(r, y, strict=True) for x in (x0, -x0, 2 * LIMITS[0] - x0) for s in (1, -1)]
    )
    kde = KernelDensity(bandwidth=width).fit(images)
    at = np.stack(np.meshgrid(plane.r, plane.v / 2500, indexing="ij"), axis=-1).reshape(-1, 2)
    theirs = np.exp(kde.score_samples(at)).reshape(plane.density.shape) * 3 / 2500  # six images, v of both signs, one
    np.testing.assert_allclose(plane.density, theirs, rtol=1e-9, atol=1e-12)  # rounding


@pytest.mark.parametrize("adaptive", [True, False])
def test_the_density_integrates_to_one(rich, adaptive):
    plane = phase_space_density(*rich, limits=LIMITS, q=25, adaptive=adaptive)
    total = 2 * np.trapezoid(plane.density.sum(axis=0), plane.v) * (plane.r[1] - plane.r[0])
    assert total == pytest.approx(1, abs=0.01)  # 40 by 64 cells; images of images are left out


def test_adaptive_kernels_find_a_sharp_core_that_fixed_ones_blur():
    rng = np.random.default_rng(7)
    r = np.abs(np.r_[rng.normal(0.2, 0.01, 40), rng.uniform(0, LIMITS[0], 60)])
    v_los = np.r_[rng.normal(0, 30, 40), rng.uniform(-2000, 2000, 60)]
    peaks = [phase_space_density(r, v_los, limits=LIMITS, q=25, adaptive=a).density.max() for a in (True, False)]
    assert peaks[0] > 2 * peaks[1]  # the core's own density is over 50 times that of the blur

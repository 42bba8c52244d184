"""Where neighbours stand and how they move, against direct integrals."""

import numpy as np
import pytest
from scipy.integrate import quad

from clustermocks.haloes.cosmology import MDPL2, correlation_function, halo_bias, mass_function, radius_ratio
from clustermocks.haloes.environment import (
    CLUSTERED,
    MIN_SATELLITE_HOST,
    Neighbours,
    central_threshold,
    draw_neighbours,
    infall_velocity,
)
from clustermocks.haloes.neighbour_numbers import SearchVolume
from clustermocks.haloes.satellites import HaloGalaxies
from clustermocks.haloes.structure import draw_haloes
from clustermocks.mocks.chunk import _interloper_galaxies, _neighbours
from clustermocks.mocks.halo_model import HaloModel
from tests.clustermocks.haloes.test_density_field import relative_dispersion

REDSHIFT = 0.117
VOLUME = SearchVolume(radius=1.6, depth=45.0, min_log10_mass=12.0, redshift=REDSHIFT, cosmology=MDPL2)


def _clusters(log10_mass, n, seed=1):
    rng = np.random.default_rng(seed)
    masses = np.full(n, log10_mass)
    return draw_haloes(masses, rng, concentration_scatter=0.0, redshift=REDSHIFT, cosmology=MDPL2), rng


def _linear_mean_xi(radius):
    shell = quad(lambda r: r**2 * correlation_function(r, REDSHIFT, MDPL2), 0.01, radius, limit=200)[0]
    return 3 * shell / radius**3


# Bocquet et al.'s haloes, with baryons, are a quarter fewer
@pytest.mark.parametrize(
    "neighbours",
    [Neighbours(boost=0.0), Neighbours(boost=1.5), Neighbours(boost=0.0, mass_function="bocquet16"), CLUSTERED],
)
def test_number_of_neighbours_in_a_cylinder_is_the_integral_of_the_mass_function_and_xi(neighbours):
    clusters, rng = _clusters(14.0, 3000)
    boost, fit = neighbours.boost, neighbours.mass_function
    around = draw_neighbours(clusters, rng, neighbours=neighbours, space=VOLUME)
    R, z = np.hypot(*around.position[:, :2].T), np.abs(around.position[:, 2])
    found = np.bincount(around.cluster[(R < 1.6) & (z > 3) & (z < 20)], minlength=3000)

    grid = np.linspace(12.0, 15.7, 400)
    density = mass_function(10**grid, REDSHIFT, MDPL2, model=fit)
    count, biased = np.trapezoid(density, grid), np.trapezoid(density * halo_bias(10**grid, REDSHIFT, MDPL2), grid)
    R_mid, z_mid = np.meshgrid((np.arange(40) + 0.5) * 0.04, 3 + (np.arange(340) + 0.5) * 0.05)
    r = np.hypot(R_mid, z_mid)
    R_200m = clusters.r_200c * radius_ratio(clusters.c_200c, 200 * MDPL2.matter_fraction(REDSHIFT))
    boosted = 1 + boost * np.mean(np.exp(-((r / (2 * R_200m[:100, None, None])) ** 2)), axis=0)
    xi = correlation_function(r.ravel(), REDSHIFT, MDPL2).reshape(r.shape) * boosted
    weight = count + halo_bias(1e14, REDSHIFT, MDPL2) * biased * xi
    expected = 2 * float((2 * np.pi * R_mid * weight).sum() * 0.04 * 0.05)
    # grids, and 4 sigma; companions are smeared along the line of sight by 1.5 h^-1 Mpc where xi is curved
    error = 4 * found.std() / np.sqrt(3000) + (0.02 if neighbours.clustered else 0.005) * expected
    assert found.mean() == pytest.approx(expected, abs=error)


@pytest.mark.parametrize("neighbours", [Neighbours(), CLUSTERED])
def test_haloes_keep_their_distance(neighbours):
    clusters, rng = _clusters(14.5, 400)
    around = draw_neighbours(clusters, rng, neighbours=neighbours, space=VOLUME)
    assert np.linalg.norm(around.position, axis=1).min() > neighbours.exclusion * clusters.r_200c[0]


@pytest.mark.parametrize(("low", "high"), [(3.0, 4.5), (6.0, 9.0)])
def test_clustered_neighbours_come_in_pairs_as_often_as_the_correlation_function_says(low, high):
    clusters, rng = _clusters(13.0, 8000)
    around = draw_neighbours(clusters, rng, neighbours=CLUSTERED, space=VOLUME)
    R, z = np.hypot(*around.position[:, :2].T), around.position[:, 2]
    far = np.flatnonzero((R < 1.6) & (z > 10) & (z < 40))
    far = far[np.lexsort([z[far], around.cluster[far]])]
    cluster, depth = around.cluster[far], z[far]
    apart = np.concatenate([(depth[k:] - depth[:-k])[cluster[k:] == cluster[:-k]] for k in range(1, 20)])
    pairs = np.count_nonzero((apart > low) & (apart < high))
    alone = 8000 * (len(depth) / 8000 / 30) ** 2 * (30 - (low + high) / 2) * (high - low)  # were they independent

    grid = np.linspace(12.0, 15.7, 400)
    weight = mass_function(10**grid, REDSHIFT, MDPL2)
    bias = np.average(np.minimum(halo_bias(10**grid, REDSHIFT, MDPL2), 3.0), weights=weight)
    separation = np.hypot((low + high) / 2, 1.6)  # two points in a circle of 1.6 are 1.4 to 1.6 apart, rms
    expected = bias**2 * float(correlation_function(separation, REDSHIFT, MDPL2))
    # 15 %: companions, bins; 4 sigma of pairs that come in clumps, some three times Poisson
    assert pairs / alone - 1 == pytest.approx(expected, rel=0.15, abs=4 * 1.7 * np.sqrt(pairs) / alone)


def test_clustered_neighbours_move_with_the_linear_flow():
    clusters, rng = _clusters(13.0, 3000)
    around = draw_neighbours(clusters, rng, neighbours=CLUSTERED, space=VOLUME)
    for low, high in ((10, 14), (30, 40)):
        shell = (np.abs(around.position[:, 2]) > low) & (np.abs(around.position[:, 2]) < high)
        outward = around.v_peculiar[shell] * np.sign(around.position[shell, 2])
        near = CLUSTERED.infall_scatter * clusters.v_200[0] * np.sqrt(2 * clusters.r_200c[0] / (low + high))
        expected = np.sqrt(relative_dispersion((low + high) / 2) ** 2 + CLUSTERED.bulk_velocity**2 + near**2)
        # 4 sigma of as many clusters; dense places, which have more neighbours, move a little less
        assert outward.std() == pytest.approx(expected, rel=4 / np.sqrt(2 * 3000) + 0.05)
        assert outward.mean() < -4 * expected / np.sqrt(3000)  # towards the cluster


def test_neighbours_bulk_motion_is_gaussian_about_the_infall():
    clusters, rng = _clusters(13.5, 400)
    around = draw_neighbours(clusters, rng, neighbours=Neighbours(), space=VOLUME)
    far = np.abs(around.position[:, 2]) > 35
    residual = around.v_peculiar[far] * np.sign(around.position[far, 2])  # outward
    radius = np.linalg.norm(around.position[far], axis=1)
    bias = halo_bias(10**13.5, REDSHIFT, MDPL2)
    linear = -(MDPL2.matter_fraction(REDSHIFT) ** 0.55) * MDPL2.hubble(REDSHIFT) / (1 + REDSHIFT) / 3 * radius * bias
    expected = np.mean(linear * np.array([_linear_mean_xi(r) for r in (38.0, 42.0)]).mean())
    # 4 sigma of the mean, and 15 % for the cluster's own mass that linear theory leaves out
    assert residual.mean() == pytest.approx(expected, abs=4 * 300 / np.sqrt(far.sum()) + 0.15 * abs(expected))
    near = 0.5 * clusters.v_200[0] * np.sqrt(clusters.r_200c[0] / radius)
    expected = np.sqrt(300**2 + np.mean(near**2))
    assert residual.std() == pytest.approx(expected, rel=4 / np.sqrt(2 * far.sum()))


def test_infall_is_linear_theory_far_out_and_ends_inside():
    clusters, _ = _clusters(14.0, 1)
    bias = halo_bias(np.array([1e14]), REDSHIFT, MDPL2)

    def speed(radius):
        mean_xi = _linear_mean_xi(radius)
        found = infall_velocity(
            np.array([radius]), clusters, bias, mean_xi=np.array([mean_xi]), redshift=REDSHIFT, cosmology=MDPL2
        )
        growth = MDPL2.matter_fraction(REDSHIFT) ** 0.55
        linear = -growth * MDPL2.hubble(REDSHIFT) / (1 + REDSHIFT) * radius / 3 * bias[0] * mean_xi
        return float(found[0]), float(linear)

    found, linear = speed(60.0)
    assert found == pytest.approx(linear, rel=0.06)  # the cluster's own mass and the next order, 5 %
    profile = np.array([speed(r)[0] for r in (1.1, 2.0, 2.5, 3.0, 5.0, 20.0)]) / clusters.v_200[0]
    assert -0.65 < profile.min() < -0.35  # N-body boxes: .5 to .6 of V200
    assert abs(profile[0]) < 0.1


@pytest.mark.parametrize("fit", ["tinker08", "despali16", "bocquet16"])
def test_centrals_and_satellites_add_up_to_the_tracer_density(fit):
    galaxies = HaloGalaxies()
    threshold = central_threshold(0.0245, galaxies, REDSHIFT, MDPL2, model=fit)
    grid = np.linspace(10.5, 15.7, 5201)
    density = mass_function(10**grid, REDSHIFT, MDPL2, model=fit)
    number = density * ((grid >= threshold) + galaxies.mean_number(grid) * (grid >= MIN_SATELLITE_HOST))
    assert np.trapezoid(number, grid) == pytest.approx(0.0245, rel=5e-3)  # steps on a grid of .001 dex and .005 dex


@pytest.mark.parametrize("density", [0.001, 0.9])
def test_impossible_tracer_densities_are_refused_with_the_possible_range(density):
    with pytest.raises(ValueError, match=r"tracer_density.*satellites alone"):
        central_threshold(density, HaloGalaxies(), REDSHIFT, MDPL2, model="tinker08")


def test_an_unknown_mass_function_is_refused():
    with pytest.raises(ValueError, match="no fit 'tinker80' for M200c"):
        HaloModel(neighbours=Neighbours(mass_function="tinker80")).simulate([14.0], seed=1)


def test_far_from_the_cluster_interlopers_have_the_tracer_density():
    model = HaloModel()
    clusters, rng = _clusters(13.0, 1500)
    galaxies = _interloper_galaxies(model, clusters, _neighbours(model, clusters, rng), rng)
    R, z = np.hypot(*galaxies.position[:, :2].T), np.abs(galaxies.position[:, 2])
    inside = (R < 1.6) & (z > 30) & (z < 50)
    each = np.bincount(galaxies.cluster[inside], minlength=1500)
    expected = 0.0245 * 2 * 20 * np.pi * 1.6**2
    # 2 %: xi there is .001 to .03, biases of 1.2 and 1; 4 sigma of the mean, clumps included
    assert each.mean() == pytest.approx(expected, rel=0.02 + 4 * each.std() / np.sqrt(1500) / expected)
    assert each.var() > 2 * each.mean()  # clumps: far from Poisson


@pytest.mark.parametrize("field", ["boost", "exclusion", "bulk_velocity", "infall_scatter", "crossing"])
def test_impossible_neighbours_are_refused_by_name(field):
    with pytest.raises(ValueError, match=field):
        Neighbours(**{field: -1.0})


def test_particles_are_as_many_as_asked_for_where_haloes_have_no_central():
    galaxies = HaloModel.dark_matter().galaxies
    threshold = central_threshold(0.0245, galaxies, REDSHIFT, MDPL2, model="tinker08")
    grid = np.linspace(threshold, 15.7, 4001)
    single = grid < MIN_SATELLITE_HOST
    number = np.where(single, 1.0, galaxies.mean_number(grid)) * mass_function(10**grid, REDSHIFT, MDPL2)
    assert threshold < MIN_SATELLITE_HOST
    assert np.trapezoid(number, grid) == pytest.approx(0.0245, rel=0.01)  # the step at 11.7 on either grid

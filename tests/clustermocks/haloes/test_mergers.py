"""Second clumps: their energy is conserved, mass and number too, and they widen the velocity distribution."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from clustermocks.haloes.binding import highest_speed
from clustermocks.haloes.cosmology import MDPL2, nfw_mass
from clustermocks.haloes.mergers import NONE, Mergers, draw_clumps
from clustermocks.haloes.satellites import HaloGalaxies, draw_satellites
from clustermocks.haloes.structure import draw_haloes


def _haloes(n):
    rng = np.random.default_rng(1)
    masses = np.full(n, 14.5)
    return draw_haloes(masses, rng, concentration_scatter=0.16, redshift=0.117, cosmology=MDPL2), rng


@pytest.mark.parametrize(("x", "c"), [(0.3, 4.0), (1.0, 4.0), (1.3, 10.0)])
def test_infall_speed_is_the_work_done_by_gravity(x, c):
    work = quad(lambda s: nfw_mass(c * s) / nfw_mass(c) / s**2, x, 3.0)[0]
    assert highest_speed(np.array(x), np.array(c), 3.0) == pytest.approx(np.sqrt(2 * work), rel=1e-8)  # quadrature


def test_clumps_fall_inwards_in_the_fraction_asked_for():
    haloes, rng = _haloes(5000)
    clumps = draw_clumps(haloes, rng, Mergers(0.2, 0.1, 0.4))
    has = clumps.share > 0
    assert has.mean() == pytest.approx(0.2, abs=4 * np.sqrt(0.2 * 0.8 / 5000))  # 4 sigma, binomial
    ratio = clumps.share[has] / (1 - clumps.share[has])
    assert 0.1 <= ratio.min() < ratio.max() <= 0.4
    assert np.all((clumps.position * clumps.velocity).sum(axis=1) < 0)
    distance = np.linalg.norm(clumps.position, axis=1) / haloes.R_vir
    assert 0.3 <= distance.min() < distance.max() <= 1


def test_galaxies_are_shared_out_by_mass_and_none_is_lost():
    haloes, rng = _haloes(2000)
    clumps = draw_clumps(haloes, rng, Mergers(1.0, 0.25, 0.25))
    halo = np.repeat(np.arange(2000), 50)
    separation, velocity = clumps.merge(halo, np.zeros((len(halo), 3)), np.zeros((len(halo), 3)), rng)
    falling = np.linalg.norm(separation, axis=1) > 0
    assert falling.mean() == pytest.approx(0.2, abs=4 * np.sqrt(0.2 * 0.8 / len(halo)))  # 4 sigma, binomial
    np.testing.assert_allclose(velocity[falling], clumps.velocity[halo[falling]], rtol=1e-12)


@pytest.mark.parametrize(
    ("lightest", "edges"),
    [(0.1, (0.3, 0.6, 1.0)), pytest.param(0.5, (0.3, 0.5, 0.8, 1.0), marks=pytest.mark.slow)],
)
def test_the_sphere_of_r200c_holds_m200c_wherever_the_clump_is(lightest, edges):
    """Galaxies that trace the mass, counted: as many inside r200c, near clumps and far ones, as without a merger."""
    trace = HaloGalaxies(
        200.0, 1.0, 0.0, galaxy_concentration=None, velocity_scatter=0.0, mergers=Mergers(1.0, lightest, 0.5)
    )
    n = 1300 * (len(edges) - 1)
    haloes = _haloes(n)[0]
    clumps = draw_clumps(haloes, np.random.default_rng(2), trace.mergers)
    drawn = draw_satellites(haloes, np.random.default_rng(2), trace)  # draws its clumps first: the same
    inside = np.linalg.norm(drawn.separation, axis=1) < haloes.r_200c[drawn.halo]
    found = np.bincount(drawn.halo[inside], minlength=n)
    c, virial = haloes.c_200c, haloes.R_vir / haloes.r_200c
    ratio = found / (trace.mean_number(14.5) * nfw_mass(c) / nfw_mass(c * virial))
    distance = np.linalg.norm(clumps.position, axis=1) / haloes.R_vir
    for near, far in pairwise(edges):
        here = ratio[(distance >= near) & (distance < far)]
        # Poisson: 500 galaxies in each of 1000 clusters, 4 sigma .6 %; shells of the sum, .1 %
        assert here.mean() == pytest.approx(1, abs=0.007)


def test_merging_clusters_make_a_tail_of_high_dispersions():
    haloes, rng = _haloes(2000)
    sigma = []
    for mergers in (NONE, Mergers(1.0, 0.3, 0.5)):
        drawn = draw_satellites(haloes, rng, HaloGalaxies(velocity_scatter=0.0, mergers=mergers))
        number = np.bincount(drawn.halo)
        mean = np.bincount(drawn.halo, drawn.v_jeans[:, 2]) / number
        sigma.append(np.sqrt(np.bincount(drawn.halo, drawn.v_jeans[:, 2] ** 2) / number - mean**2))
    relaxed, merging = np.log(sigma)
    assert merging.std() > 1.3 * relaxed.std()
    assert np.quantile(merging, 0.95) > np.quantile(relaxed, 0.95) + 0.1


@pytest.mark.parametrize("fields", [{"fraction": 1.5}, {"lightest": 0.0}, {"lightest": 0.6}, {"heaviest": 2.0}])
def test_impossible_mergers_are_refused(fields):
    with pytest.raises(ValueError, match="Mergers"):
        Mergers(**fields)

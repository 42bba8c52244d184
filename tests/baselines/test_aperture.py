"""Masses from positions alone: what an aperture gives away, and nothing else."""

import numpy as np
import pytest

from clustermocks import Catalogue, FlatMasses, HaloModel, Observation
from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass.baselines import Aperture
from sbi_clustermass.baselines.aperture import radial_statistics


def discs(log10_mass, *, number=40, seed=1, speed=500.0):
    """Uniform discs out to (M / 10^15)^(1/3) h^-1 Mpc."""
    rng, n = np.random.default_rng(seed), len(log10_mass)
    R_proj = 10 ** ((log10_mass - 15) / 3)[:, None] * np.sqrt(rng.random((n, number)))
    return Catalogue.from_arrays(
        Observation(),
        MDPL2,
        clusters={"log10_mass": log10_mass, "host_id": np.arange(n)},
        galaxies={"R_proj": R_proj.ravel(), "v_los": speed * np.ones(R_proj.size)},
        offsets=number * np.arange(n + 1),
    )


@pytest.fixture(scope="module")
def cut_off():
    return discs(FlatMasses(13.5, 15.3).draw(800, seed=2))


def test_a_cut_at_a_radius_that_follows_the_mass_gives_it_away(cut_off):
    fitted, fresh = Aperture().fit(cut_off), discs(FlatMasses(13.5, 15.3).draw(400, seed=3), seed=4)
    predicted = fitted.predict(fresh)
    residual = predicted.log10_mass - fresh.log10_mass
    # the largest of 40 uniform in R^2 is known to 1/40 in ln R^2, hence .016 dex in M; other statistics help a little
    assert np.std(residual) < 1.2 * 1.5 / 40 / np.log(10)
    assert predicted.std == pytest.approx(np.std(residual), rel=4 / np.sqrt(800))  # four standard errors


def test_neither_velocities_nor_the_number_of_galaxies_are_used(cut_off):
    fitted, few = Aperture().fit(cut_off), FlatMasses(14.0, 15.0).draw(20, seed=5)
    slow, fast = (fitted.predict(discs(few, speed=speed)).log10_mass for speed in (10.0, 2000.0))
    np.testing.assert_array_equal(slow, fast)
    # of ten times as many the statistics are the same but for noise; a mass from the number would be a dex higher
    richer = fitted.predict(discs(few, number=400, seed=6)).log10_mass
    assert np.mean(richer - few) == pytest.approx(np.mean(slow - few), abs=0.05)


def test_statistics_are_those_of_a_long_division():
    few = discs(np.array([14.0]), number=10)
    R = few.galaxies(0)[0].astype(float)
    ordered = np.sort(R)
    expected = [ordered[-1], R.sum() / 10, 10 / np.sum(1 / R), *np.interp([2.25, 4.5, 6.75], np.arange(10), ordered)]
    np.testing.assert_allclose(radial_statistics(few)[0], np.log10(expected), rtol=1e-12)  # rounding


def test_in_a_fixed_aperture_positions_tell_much_less_than_in_one_that_follows_the_mass():
    mocks = HaloModel.ho2019().simulate(FlatMasses(13.5, 15.3).draw(600, seed=1), seed=2)
    scatter = {}
    for name, clusters in (("contaminated", mocks), ("members only", mocks.pure())):
        train_set, test_set = clusters.split(0.6, seed=1)
        scatter[name] = np.std(Aperture().fit(train_set).predict(test_set).log10_mass - test_set.log10_mass)
    assert scatter["members only"] < 0.6 * scatter["contaminated"]


def test_fewer_clusters_than_coefficients_are_refused(cut_off):
    with pytest.raises(ValueError, match="more than 7 clusters of known mass, found 7"):
        Aperture().fit(cut_off.select(np.arange(7)))


def test_a_prior_that_is_none_is_refused():
    with pytest.raises(ValueError, match="Did you mean 'mass-function'"):
        Aperture(prior="mass_function")

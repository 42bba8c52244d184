"""The statistic of Dressler & Shectman: that of its definition, about 1 without substructure, more with a clump."""

import numpy as np
from hypothesis import given, settings, strategies as st
from scipy.stats import ttest_ind

from clustermocks import Catalogue, FlatMasses, HaloGalaxies, HaloModel, Mergers, Observation
from clustermocks.haloes.cosmology import MDPL2
from clustermocks.kinematics.substructure import dressler_shectman, local_deviations


def gaussian_cluster(n, seed):
    """Positions [h^-1 Mpc] and velocities [km/s] that know nothing of each other."""
    rng = np.random.default_rng(seed)
    return 0.5 * rng.standard_normal((n, 2)), 700 * rng.standard_normal(n)


def plain_deviations(sky, v, neighbours):
    """The formula, galaxy by galaxy."""
    found, everyone = [], (v.mean(), v.std(ddof=1))
    for here in sky:
        near = v[np.argsort(np.hypot(*(sky - here).T))[: neighbours + 1]]
        shift, spread = near.mean() - everyone[0], near.std(ddof=1) - everyone[1]
        found.append(np.sqrt(len(near) * (shift**2 + spread**2)) / everyone[1])
    return np.array(found)


@given(n=st.integers(3, 60), neighbours=st.integers(2, 12), seed=st.integers(0, 2**16))
@settings(max_examples=20)
def test_deviations_are_those_of_the_definition(n, neighbours, seed):
    sky, v = gaussian_cluster(n, seed)
    np.testing.assert_allclose(local_deviations(sky, v, neighbours=neighbours), plain_deviations(sky, v, neighbours))


def test_a_cluster_without_substructure_has_about_one_and_a_clump_shows():
    deviations = [local_deviations(*gaussian_cluster(200, seed)) for seed in range(40)]
    means = np.array([each.mean() for each in deviations])
    assert abs(means.mean() - 1) < 0.1  # shift^2 and spread^2 have means of 1 and 1/2
    sky, v = gaussian_cluster(200, 1)
    sky[:25], v[:25] = [0.8, 0.3] + 0.1 * sky[:25], 1500 + 0.3 * v[:25]
    clumpy = local_deviations(sky, v)
    assert clumpy.mean() > means.max()
    assert clumpy[:25].min() > 2 > np.median(clumpy[25:])


def test_clusters_of_one_velocity_or_of_two_galaxies_have_none():
    assert not local_deviations(np.eye(2), np.array([1.0, 2.0])).any()
    assert not local_deviations(np.random.default_rng(1).normal(size=(20, 2)), np.full(20, 5.0)).any()


def test_each_cluster_of_a_catalogue_is_measured_by_its_own_galaxies():
    parts = [gaussian_cluster(n, n) for n in (12, 40, 25)]
    sky, v = (np.concatenate(each) for each in zip(*parts, strict=True))
    clusters = Catalogue.from_arrays(
        Observation(aperture=10.0, v_cut=10_000.0),
        MDPL2,
        clusters={"log10_mass": np.full(3, 14.0), "host_id": np.arange(3)},
        galaxies={"R_proj": np.hypot(*sky.T), "v_los": v, "position_angle": np.arctan2(*sky.T[::-1])},
        offsets=np.cumsum([0, 12, 40, 25]),
    )
    alone = [local_deviations(*part).mean() for part in parts]
    np.testing.assert_allclose(dressler_shectman(clusters), alone, rtol=1e-4)  # columns are float32


def test_merging_mock_clusters_have_more_substructure_than_relaxed_ones():
    found = []
    for fraction in (0.0, 1.0):
        galaxies = HaloGalaxies(mergers=Mergers(fraction=fraction))
        mocks = HaloModel(galaxies=galaxies).simulate(FlatMasses(14.5, 15.0).draw(150, seed=1), seed=1)
        found.append(dressler_shectman(mocks.pure()))
    assert ttest_ind(found[1], found[0]).statistic > 4

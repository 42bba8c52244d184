"""Incomplete redshifts and colliding fibres: who goes, held against brute force, binomials and astropy."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from hypothesis import given, strategies as st
from scipy.spatial.distance import pdist

from clustermocks import MDPL2, HaloModel, Observation, RadialCompleteness
from clustermocks.mocks.chunk import populate
from clustermocks.mocks.spectroscopy import choose_targets, fibre_distance, with_redshift, without_collisions

SPARSE = replace(HaloModel.ho2019(), observation=Observation(min_galaxies=0))


@given(st.integers(0, 10_000), st.integers(1, 60), st.floats(0.0, 0.5))
def test_fibres_are_given_as_one_after_another_would_give_them(seed, n, least):
    rng = np.random.default_rng(seed)
    sky, cluster = rng.normal(0, 0.5, (n, 2)), np.sort(rng.integers(0, 3, n))
    kept = without_collisions(sky, cluster, least, np.random.default_rng(seed))
    turn, expected = np.random.default_rng(seed).permutation(n), np.zeros(n, bool)
    for i in np.argsort(turn):
        near = np.linalg.norm(sky[expected & (cluster == cluster[i])] - sky[i], axis=1) <= least
        expected[i] = not least or not near.any()
    np.testing.assert_array_equal(kept, expected)


def test_each_of_two_colliding_galaxies_goes_half_of_the_time():
    pairs = np.repeat([[0.0, 0.0], [0.0, 0.05]], 4000, axis=0)
    kept = without_collisions(pairs, np.tile(np.arange(4000), 2), 0.09, np.random.default_rng(1))
    np.testing.assert_array_equal(kept[:4000], ~kept[4000:])
    assert kept[:4000].mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(4000))  # binomial: once in 16 000 seeds


def test_no_two_galaxies_of_a_cluster_are_closer_than_fibres_allow():
    model, rng = replace(HaloModel(), fibre_collision=55.0), np.random.default_rng(2)
    clusters, _, galaxies = populate(model, np.full(20, 15.0), rng)
    is_member = np.linalg.norm(galaxies.position, axis=1) < clusters.R_vir[galaxies.cluster]
    sky = galaxies.position[:, :2]
    seen, everyone = (
        choose_targets(choices, sky, galaxies.cluster, is_member, rng, n=20)
        for choices in (model, replace(model, fibre_collision=0.0))
    )
    for i in range(20):
        closest, before = (pdist(sky[t.row[galaxies.cluster[t.row] == i]]).min() for t in (seen, everyone))
        assert before < fibre_distance(55.0, 0.117, MDPL2) < closest
    assert 0.3 < len(seen.row) / len(everyone.row) < 0.95


def test_an_angle_spans_what_astropy_says():
    sky = FlatLambdaCDM(H0=100, Om0=MDPL2.Om0, Tcmb0=0)
    expected = (55 * u.arcsec).to_value(u.rad) * sky.comoving_transverse_distance(0.117).value
    assert fibre_distance(55.0, 0.117, MDPL2) == pytest.approx(expected, rel=1e-5)  # 1e-6 is our distances' accuracy
    assert expected == pytest.approx(0.09, abs=0.005)  # the docstring's figure


def test_completeness_against_radius_is_recovered_from_a_catalogue():
    profile = RadialCompleteness(centre=0.9, edge=0.3)
    masses = np.full(700, 14.3)
    full, thinned = (replace(SPARSE, completeness=c).simulate(masses, seed=1) for c in (1.0, profile))
    counts = [np.histogram(mocks.galaxy_column("R_proj"), np.linspace(0, 1.6, 9))[0] for mocks in (full, thinned)]
    middle = np.linspace(0.1, 1.5, 8)
    expected = 0.9 - 0.6 * middle / 1.6
    # the same galaxies before thinning, so binomial: 4 sigma; .01 for the slope inside a bin, with more on one side
    tolerance = 4 * np.sqrt(expected * (1 - expected) / counts[0]) + 0.01
    assert (np.abs(counts[1] / counts[0] - expected) < tolerance).all()
    outside = thinned.attempts["n_members"].to_numpy().sum() / full.attempts["n_members"].to_numpy().sum()
    assert outside < 0.9  # members go too


@pytest.mark.parametrize(("completeness", "kept"), [(1, 1.0), (0, 0.0), (RadialCompleteness(1, 1), 1.0)])
def test_all_and_none_are_exact(completeness, kept):
    assert with_redshift(completeness, np.linspace(0, 3, 50), 1.6, np.random.default_rng(1)).mean() == kept


def test_equal_ends_are_the_same_as_one_number():
    masses = np.full(100, 14.0)
    flat, radial = (
        replace(SPARSE, completeness=c).simulate(masses, seed=1) for c in (0.6, RadialCompleteness(0.6, 0.6))
    )
    assert flat.clusters.equals(radial.clusters)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: RadialCompleteness(1.1, 0.5), "centre"),
        (lambda: RadialCompleteness(1.0, np.nan), "edge"),
        (lambda: HaloModel(fibre_collision=-1.0), "fibre_collision"),
        (lambda: HaloModel(fibre_collision=np.inf), "fibre_collision"),
    ],
)
def test_impossible_values_are_refused_by_name(make, named):
    with pytest.raises(ValueError, match=named):
        make()

"""Incomplete redshifts and colliding fibres: who goes, held against brute force, binomials and astropy."""

from dataclasses import replace
from typing import get_args

import astropy.units as u
import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from hypothesis import given, strategies as st
from scipy.spatial.distance import pdist

from clustermocks import MDPL2, Footprint, HaloModel, Observation, RadialCompleteness
from clustermocks.catalogue.provenance import CleaningMethod
from clustermocks.mocks.chunk import populate
from clustermocks.mocks.spectroscopy import (
    choose_targets,
    fibre_distance,
    in_footprint,
    with_redshift,
    without_collisions,
)
from clustermocks.perturbations import cleaned

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
        (lambda: RadialCompleteness(1.0, 0.5, 0.0), "power"),
        (lambda: Footprint(sector=400.0), "sector"),
        (lambda: HaloModel(contrast=0.0), "contrast"),
        (lambda: HaloModel(wrong_redshifts=1.5), "wrong_redshifts"),
        (lambda: HaloModel(rounding=-1.0), "rounding"),
        (lambda: HaloModel(cleaning="by eye"), "cleaning 'by eye'"),
        (lambda: HaloModel(fibre_collision=-1.0), "fibre_collision"),
        (lambda: HaloModel(fibre_collision=np.inf), "fibre_collision"),
    ],
)
def test_impossible_values_are_refused_by_name(make, named):
    with pytest.raises(ValueError, match=named):
        make()


@pytest.mark.parametrize(
    ("footprint", "share"),
    [
        (Footprint(sector=90.0), 0.75),
        (Footprint(flattening=0.5), 2 * (0.5 * np.sqrt(0.75) + np.arcsin(0.5)) / np.pi),  # a strip of the unit circle
    ],
)
def test_a_footprint_contains_its_share_of_the_circle(footprint, share):
    rng = np.random.default_rng(1)
    n, radius, angle = 20_000, np.sqrt(rng.uniform(size=20_000)), rng.uniform(0, 2 * np.pi, 20_000)
    sky = 1.6 * np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    for turn in (0.0, 2.5):
        seen = in_footprint(footprint, sky, np.full(n, turn), 1.6)
        assert seen.mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / n))  # binomial


def test_a_missing_sector_leaves_a_gap_in_the_position_angles_of_each_cluster():
    model, rng = replace(SPARSE, footprint=Footprint(sector=120.0)), np.random.default_rng(2)
    clusters, _, galaxies = populate(model, np.full(10, 15.2), rng)
    member = np.linalg.norm(galaxies.position, axis=1) < clusters.R_vir[galaxies.cluster]
    targets = choose_targets(model, galaxies.position[:, :2], galaxies.cluster, member, rng, n=10)
    for i in range(10):
        own = targets.row[galaxies.cluster[targets.row] == i]
        angle = np.sort(np.degrees(np.arctan2(galaxies.position[own, 1], galaxies.position[own, 0])))
        assert np.diff(angle, append=angle[0] + 360).max() >= 120


def test_wrong_redshifts_spread_over_the_window_and_right_ones_stay():
    masses = np.full(150, 15.0)
    right, some = (replace(SPARSE, wrong_redshifts=w).simulate(masses, seed=3) for w in (0.0, 0.1))
    total = right.n_galaxies.sum()
    same = np.isin(some.galaxy_column("v_los"), right.galaxy_column("v_los"))
    assert 1 - same.mean() == pytest.approx(0.1, abs=4 * np.sqrt(0.1 * 0.9 / total) + 0.005)  # some come from outside
    assert np.abs(some.galaxy_column("v_los")[~same]).mean() == pytest.approx(1250, rel=0.1)  # uniform to 2500 km/s


def test_rounded_redshifts_are_whole_steps_of_c_z():
    rounded = replace(SPARSE, rounding=300.0).simulate(np.full(20, 15.0), seed=4)
    steps = rounded.galaxy_column("v_los") * 1.117 / 300
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)  # float32 of some ten steps


@pytest.mark.parametrize("contrast", [0.5, 3.0])
def test_contrast_changes_the_odds_of_members_by_its_factor(contrast):
    masses = np.full(500, 14.3)
    plain, seen = (replace(SPARSE, contrast=c).simulate(masses, seed=5) for c in (1.0, contrast))
    odds = [m.galaxy_column("is_member").sum() / (~m.galaxy_column("is_member")).sum() for m in (plain, seen)]
    assert odds[1] / odds[0] == pytest.approx(contrast, rel=0.06)  # some 10 000 interlopers, a half or a third kept


def test_recentring_removes_an_offset_of_the_redshift_and_states_it():
    masses = np.full(300, 15.0)
    right, off = (replace(SPARSE, recentre=True, redshift_offset=o).simulate(masses, seed=6) for o in (0.0, 500.0))
    spread = [m.column("velocity_offset").std() for m in (right, off)]
    assert np.sqrt(spread[1] ** 2 - spread[0] ** 2) == pytest.approx(500, rel=4 / np.sqrt(2 * 300))
    assert off.galaxy_column("v_los").std() == pytest.approx(right.galaxy_column("v_los").std(), rel=0.01)


@pytest.mark.parametrize("how", get_args(CleaningMethod))
def test_a_cleaned_survey_is_the_survey_cleaned(how):
    masses = np.full(40, 14.5)
    inside = cleaned(SPARSE.simulate(masses, seed=7), how)
    seen = replace(SPARSE, cleaning=how).simulate(masses, seed=7)
    assert seen.n_galaxies.sum() < SPARSE.simulate(masses, seed=7).n_galaxies.sum()
    np.testing.assert_array_equal(seen.n_galaxies, inside.n_galaxies)
    np.testing.assert_array_equal(seen.galaxy_column("v_los"), inside.galaxy_column("v_los"))


def test_completeness_may_be_curved_or_end_at_a_core():
    curved = RadialCompleteness(0.2, 1.0, 0.5)
    np.testing.assert_allclose(curved([0.0, 0.4, 1.6, 3.0], 1.6), [0.2, 0.6, 1.0, 1.0])
    cored = RadialCompleteness(1.0, 1.0, core=0.3, outside=0.1)
    np.testing.assert_allclose(cored([0.0, 0.29, 0.31, 3.0], 1.6), [1.0, 1.0, 0.1, 0.1])

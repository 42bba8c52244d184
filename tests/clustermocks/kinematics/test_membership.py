"""Removal of interlopers: by the definition, counted in loops, and on mocks whose members are known."""

from itertools import pairwise

import numpy as np
import pytest
from astropy.stats import sigma_clip
from hypothesis import assume, given, strategies as st

from clustermocks import FlatMasses, HaloModel
from clustermocks.kinematics.membership import REMOVALS, kept_galaxies, members, shifting_gapper, sigma_clipping


@st.composite
def clusters(draw):
    """Galaxies of a cluster and of the field, with no two of one distance."""
    seed, n = draw(st.integers(0, 10_000)), draw(st.integers(1, 60))
    rng = np.random.default_rng(seed)
    v_los = np.where(rng.random(n) < 0.6, rng.normal(0, draw(st.integers(100, 900)), n), rng.uniform(-2500, 2500, n))
    return rng.uniform(0, 1.6, n), v_los


def by_definition(R_proj, v_los, gap, width, fewest):
    """The shifting gapper galaxy by galaxy: bins as lists, groups as lists."""
    kept = list(range(len(v_los)))
    while True:
        dropped = []
        for galaxy in kept:
            near = sorted(kept, key=lambda other: abs(R_proj[other] - R_proj[galaxy]))
            inside = [other for other in near if abs(R_proj[other] - R_proj[galaxy]) <= width / 2]
            inside = sorted(inside if len(inside) >= fewest else near[:fewest], key=lambda other: v_los[other])
            groups = [[inside[0]]]
            for slower, faster in pairwise(inside):
                if v_los[faster] - v_los[slower] > gap:
                    groups.append([])
                groups[-1].append(faster)
            main = max(groups, key=lambda group: (len(group), -np.mean(np.abs(v_los[group]))))
            if galaxy not in main:
                dropped.append(galaxy)
        if not dropped:
            return np.isin(np.arange(len(v_los)), kept)
        kept = [galaxy for galaxy in kept if galaxy not in dropped]


@given(clusters(), st.sampled_from([300.0, 1000.0]), st.sampled_from([3, 15]))
def test_the_shifting_gapper_does_what_it_says(cluster, gap, fewest):
    found = shifting_gapper(*cluster, gap=gap, fewest=fewest)
    np.testing.assert_array_equal(found, by_definition(*cluster, gap, 0.4, fewest))


@given(clusters(), st.sampled_from(sorted(REMOVALS)))
def test_a_cluster_seen_from_behind_and_in_another_order_keeps_the_same_galaxies(cluster, name):
    R_proj, v_los = cluster
    # the standard deviation is summed in another order: a galaxy at exactly three of them may fall either way
    deviation = np.abs(v_los - np.median(v_los)) / max(np.std(v_los), 1e-9)
    assume(not np.any(np.abs(deviation - 3) < 1e-6))
    kept, order = REMOVALS[name](R_proj, v_los), np.random.default_rng(1).permutation(len(v_los))
    np.testing.assert_array_equal(REMOVALS[name](R_proj, -v_los), kept)
    np.testing.assert_array_equal(REMOVALS[name](R_proj[order], v_los[order]), kept[order])


@given(clusters(), st.sampled_from(sorted(REMOVALS)))
def test_what_is_kept_is_kept_again(cluster, name):
    kept = REMOVALS[name](*cluster)
    assert REMOVALS[name](*(column[kept] for column in cluster)).all()


@given(clusters())
def test_clipping_is_astropys(cluster):
    v_los = np.round(cluster[1])  # ties, too
    clipped = sigma_clip(v_los, sigma=3, maxiters=None, cenfunc="median")
    np.testing.assert_array_equal(sigma_clipping(*cluster[:1], v_los), ~np.ma.getmaskarray(clipped))
    assert sigma_clipping(np.zeros(4), np.full(4, 0.1)).all()


def test_clipping_drops_the_galaxies_that_hide_one_another():
    rng = np.random.default_rng(2)
    v_los = np.concatenate([rng.normal(0, 300, 100), [2400.0, -2300.0, 1500.0]])
    assert not sigma_clipping(np.zeros(103), v_los)[-3:].any()


def test_a_lone_fast_galaxy_goes_and_a_fast_one_among_others_stays():
    R_proj = np.linspace(0.1, 0.3, 21)
    v_los = np.append(np.linspace(-800, 800, 20), 1850.0)
    assert not shifting_gapper(R_proj, v_los)[-1]
    bridge = np.append(v_los, 1400.0)
    assert shifting_gapper(np.append(R_proj, 0.2), bridge).all()


def test_velocity_gaps_count_only_among_galaxies_at_similar_distance():
    """A stray galaxy far out has the company of fast galaxies in the centre in velocity, not in distance."""
    centre = np.column_stack([np.linspace(0.0, 0.2, 40), np.linspace(-1800, 1800, 40)])
    outskirts = np.column_stack([np.linspace(1.2, 1.4, 20), np.linspace(-300, 300, 20)])
    R_proj, v_los = np.vstack([centre, outskirts, [1.3, 1700.0]]).T
    kept = shifting_gapper(R_proj, v_los)
    assert kept[:-1].all()
    assert not kept[-1]


@pytest.mark.parametrize("name", REMOVALS)
def test_no_or_one_galaxy_is_kept(name):
    assert REMOVALS[name](np.zeros(0), np.zeros(0)).shape == (0,)
    assert REMOVALS[name](np.ones(1), np.ones(1)).tolist() == [True]


@pytest.fixture(scope="module")
def contaminated():
    return HaloModel.ho2019().simulate(FlatMasses(14.0, 14.8).draw(150, seed=1), seed=1)


@pytest.mark.parametrize("name", ["clipping", "shifting_gapper"])
def test_more_interlopers_than_members_are_removed(name, contaminated):
    kept, true = members(contaminated, name), contaminated.galaxy_column("is_member")
    assert 0 < np.mean(~kept) < 0.3
    assert np.mean(true[kept]) > np.mean(true)
    # a fifth to a half of all galaxies are interlopers; a removal by chance would drop no more of them than of members
    assert np.mean(~kept[~true]) > 3 * np.mean(~kept[true])


def test_masks_of_a_catalogue_are_those_of_its_clusters(contaminated):
    kept = members(contaminated, "shifting_gapper")
    velocities = np.concatenate([v for _, v in kept_galaxies(contaminated, "shifting_gapper")])
    np.testing.assert_array_equal(contaminated.galaxy_column("v_los")[kept], velocities)


def test_an_unknown_removal_is_refused(contaminated):
    with pytest.raises(ValueError, match="Did you mean 'shifting_gapper'"):
        members(contaminated, "shifting-gapper")

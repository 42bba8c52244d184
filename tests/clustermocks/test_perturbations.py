"""Changes to catalogues do what they say to every galaxy, leave the rest alone, and keep the selection right."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.stats import sigma_clip
from hypothesis import given, settings, strategies as st
from scipy.stats import chisquare, ks_2samp, kstest

from clustermocks import MDPL2, Catalogue, Observation, RadialCompleteness
from clustermocks.observation import observed_redshift, relative_velocity
from clustermocks.perturbations import (
    CLEANINGS,
    cleaned,
    in_wrong_units,
    merged,
    recentred,
    shuffled_velocities,
    thinned,
    with_centre_offset,
    with_radial_incompleteness,
    with_redshift_offset,
    with_velocity_errors,
    within_aperture,
    without_signs,
)

FAILURE_RATE = 1e-3  # of each statistical test, had the seed not been fixed

CHANGES = {
    "thinned": lambda c, seed: thinned(c, 0.5, seed),
    "errors": lambda c, seed: with_velocity_errors(c, 200, seed),
    "centre": lambda c, seed: with_centre_offset(c, 0.3, seed),
    "redshift": lambda c, seed: with_redshift_offset(c, 400),
    "field": lambda c, seed: within_aperture(c, 1.0),
    "incomplete": lambda c, seed: with_radial_incompleteness(c, RadialCompleteness(1.0, 0.3), seed),
    "units": lambda c, seed: in_wrong_units(c, 1.476),
    **{f"cleaned: {how}": lambda c, seed, how=how: cleaned(c, how) for how in CLEANINGS},
    "merged": lambda c, seed: merged(c, 2000, seed, separation=0.5),
    "shuffled": lambda c, seed: shuffled_velocities(c, seed),
    "shuffled between": lambda c, seed: shuffled_velocities(c, seed, between=True),
    "no signs": lambda c, seed: without_signs(c),
    "recentred": lambda c, seed: recentred(c),
}


@pytest.fixture(scope="module")
def some(mocks) -> Catalogue:
    return mocks.select(np.arange(200))


@pytest.fixture(scope="module")
def strict(mocks) -> Catalogue:
    """A fifth of the mocks, with the attempts of their hosts, after a cut that many fail."""
    return mocks.split(0.2, seed=1)[0].with_min_galaxies(60)


def catalogue_of(n, R_proj, v_los, member=None, **observation) -> Catalogue:
    """Clusters of n[i] galaxies, on end."""
    columns = {"R_proj": R_proj, "v_los": v_los}
    columns |= {} if member is None else {"is_member": member}
    return Catalogue.from_arrays(
        Observation(**{"min_galaxies": 1, **observation}),
        MDPL2,
        clusters={"log10_mass": 14 + 0.1 * np.arange(len(n)), "host_id": np.arange(len(n))},
        galaxies=columns,
        offsets=np.concatenate([[0], np.cumsum(n)]),
    )


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_stays_in_the_cylinder_above_the_cut_and_repeats_with_its_seed(name, some):
    first, again = (CHANGES[name](some, 7) for _ in range(2))
    assert first.clusters.equals(again.clusters)
    assert first.n_galaxies.min() >= first.observation.min_galaxies
    assert first.galaxy_column("R_proj").max() < first.observation.aperture
    assert np.abs(first.galaxy_column("v_los")).max() < first.observation.v_cut
    assert first.provenance.changes
    assert set(first.host_id) <= set(some.host_id)


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "merged"])
def test_clusters_that_failed_before_still_count_as_attempts(name, strict):
    changed = CHANGES[name](strict, 7)
    assert len(strict) < strict.attempts.num_rows  # or nothing would be tested
    masses, selected = changed.attempted()
    np.testing.assert_allclose(np.sort(masses), np.sort(strict.attempted()[0]))
    np.testing.assert_allclose(np.sort(masses[selected]), np.sort(changed.log10_mass))


def test_attempts_of_chosen_clusters_are_the_clusters(mocks):
    assert thinned(mocks.select(np.arange(100)), 0.5, 1).attempts.num_rows == 100


def test_changes_are_listed_in_order(some):
    twice = with_redshift_offset(thinned(some, 0.5, 1), 100)
    assert "; ".join(map(str, twice.provenance.changes)) == "thinned to 0.5; redshift off by 100 km/s"


def test_thinning_keeps_the_share_and_nests(some):
    loose = replace(some, observation=replace(some.observation, min_galaxies=0))
    less, more = thinned(loose, 0.3, 1), thinned(loose, 0.6, 1)
    total = some.n_galaxies.sum()
    for thin, share in ((less, 0.3), (more, 0.6)):
        # 4 standard deviations of a binomial number fail once in 16 000 seeds
        assert thin.n_galaxies.sum() == pytest.approx(share * total, abs=4 * np.sqrt(share * (1 - share) * total))
    for i in range(20):
        assert set(zip(*less.galaxies(i), strict=True)) <= set(zip(*more.galaxies(i), strict=True))
        assert set(zip(*more.galaxies(i), strict=True)) <= set(zip(*some.galaxies(i), strict=True))


def test_velocity_errors_are_gaussian_and_leave_distances_alone():
    v_los = np.random.default_rng(0).uniform(-300, 300, 20_000)
    before = catalogue_of([20_000], np.linspace(0, 1.5, 20_000), v_los)
    after = with_velocity_errors(before, 150, seed=3)
    assert after.n_galaxies[0] == 20_000  # 14 sigma from the cut
    errors = after.galaxies(0)[1] - before.galaxies(0)[1]
    assert kstest(errors / 150, "norm").pvalue > FAILURE_RATE
    np.testing.assert_array_equal(after.galaxies(0)[0], before.galaxies(0)[0])


def test_errors_of_nothing_change_nothing(some):
    assert with_velocity_errors(some, 0, 1).galaxies(3)[1].tolist() == some.galaxies(3)[1].tolist()
    # R' = sqrt(R^2) in float64 from float32 is exact
    assert with_centre_offset(some, 0, 1).galaxies(3)[0].tolist() == some.galaxies(3)[0].tolist()


def test_distances_from_another_centre_are_those_of_points_on_the_sky():
    rng = np.random.default_rng(1)
    x, y = rng.normal(0, 0.2, (2, 30_000))
    before = catalogue_of([30_000], np.hypot(x, y), np.zeros(30_000), aperture=20.0)
    after = with_centre_offset(before, 0.4, seed=2)
    _, p_value = np.asarray(ks_2samp(after.galaxies(0)[0], np.hypot(x - 0.4, y)))
    assert p_value > FAILURE_RATE


def test_a_redshift_offset_is_that_of_redshifts(some):
    v_los, dv = some.galaxy_column("v_los").astype(float), 250.0
    seen = relative_velocity(observed_redshift(0.117, v_los), observed_redshift(0.117, dv))
    kept = seen[np.abs(seen) < some.observation.v_cut]
    # float32 holds .0001 km/s at 2500
    np.testing.assert_allclose(with_redshift_offset(some, dv).galaxy_column("v_los"), kept, atol=5e-4)


def test_completeness_falls_linearly_outwards():
    R_proj = np.random.default_rng(3).uniform(0, 1.6, 40_000)
    before = catalogue_of([40_000], R_proj, np.zeros(40_000))
    after = with_radial_incompleteness(before, RadialCompleteness(0.9, 0.1), seed=4)
    edges = np.linspace(0, 1.6, 9)
    n = np.histogram(before.galaxies(0)[0], edges)[0]
    expected = n * (0.9 - 0.8 * (edges[1:] + edges[:-1]) / 2 / 1.6)
    seen = np.histogram(after.galaxies(0)[0], edges)[0]
    # of the kept ones the shares by bin; their total is random, too
    assert chisquare(seen, expected * seen.sum() / expected.sum()).pvalue > FAILURE_RATE
    assert seen.sum() == pytest.approx(0.5 * 40_000, abs=4 * 100)  # binomial: 100


def test_a_smaller_field_keeps_what_is_inside(some):
    kept = within_aperture(some, 0.7)
    inside = {int(host): int((some.galaxies(i)[0] < 0.7).sum()) for i, host in enumerate(some.host_id)}
    assert [inside[int(host)] for host in kept.host_id] == kept.n_galaxies.tolist()


def test_shuffling_moves_velocities_within_or_between_clusters(some):
    within, between = shuffled_velocities(some, 1), shuffled_velocities(some, 1, between=True)
    for i in (0, 50, 199):
        np.testing.assert_array_equal(np.sort(within.galaxies(i)[1]), np.sort(some.galaxies(i)[1]))
        np.testing.assert_array_equal(within.galaxies(i)[0], some.galaxies(i)[0])
        assert not np.array_equal(within.galaxies(i)[1], some.galaxies(i)[1])
        assert not np.array_equal(np.sort(between.galaxies(i)[1]), np.sort(some.galaxies(i)[1]))
    np.testing.assert_array_equal(np.sort(between.galaxy_column("v_los")), np.sort(some.galaxy_column("v_los")))


@settings(max_examples=15)
@given(st.floats(0.05, 1.0))
def test_wrong_units_are_undone_by_the_inverse_factor(some, factor):
    back = in_wrong_units(in_wrong_units(some, factor), 1 / factor)
    # two roundings to float32; a galaxy within them of the edge may go
    assert abs(back.n_galaxies.sum() - some.n_galaxies.sum()) <= 1
    if back.n_galaxies.sum() == some.n_galaxies.sum():
        np.testing.assert_allclose(back.galaxy_column("R_proj"), some.galaxy_column("R_proj"), rtol=3e-7)


def test_a_wider_table_in_wrong_units_fills_the_aperture():
    R_proj = np.linspace(0, 2.39, 240)
    wide = catalogue_of([240], R_proj, np.zeros(240), aperture=2.4)
    seen = in_wrong_units(wide, 0.6, aperture=1.0)
    assert seen.observation.aperture == 1.0
    assert seen.n_galaxies[0] == (0.6 * R_proj < 1.0).sum()


def test_cleaning_keeps_members_or_what_clipping_leaves(some):
    pure = cleaned(some)
    assert pure.galaxy_column("is_member").all()
    rows = {int(host): i for i, host in enumerate(some.host_id)}
    counts = [int(some.is_member(rows[int(host)]).sum()) for host in pure.host_id]
    assert counts == pure.n_galaxies.tolist()
    clipped = cleaned(some, "clipping")
    for i in (0, 99):
        kept = sigma_clip(some.galaxies(i)[1], sigma=3, maxiters=None, cenfunc="median", masked=False)
        np.testing.assert_array_equal(clipped.galaxies(i)[1], np.asarray(kept))


def test_merged_clusters_hold_both_and_stand_apart():
    n = np.array([400, 300, 200])
    member = np.ones(900, bool)
    member[:100] = False  # of the lightest
    rng = np.random.default_rng(5)
    alone = catalogue_of(n, rng.uniform(0, 1, 900), rng.normal(0, 50, 900), member)
    both = merged(alone, 1200, seed=1)
    assert both.n_galaxies.tolist() == [400 + 300, 300 + 200, 200 + 300]  # the next heavier; of the heaviest the next
    np.testing.assert_allclose(both.log10_mass[0], np.log10(1e14 + 10**14.1))
    second = np.repeat([False, True], [400, 300])
    v_los = both.galaxies(0)[1]
    # means of some 300 velocities of 50 km/s; the relativistic sum differs by 1e-5
    assert np.mean(v_los[second]) - np.mean(v_los[~second]) == pytest.approx(-1200, abs=4 * 50 * np.sqrt(2 / 300))
    assert len(merged(alone, np.array([0.0, 600.0, 1200.0]), seed=1)) == 3


def test_a_merger_does_not_bring_the_second_clusters_interlopers():
    member = np.repeat([True, False], [40, 20])
    pair = catalogue_of([30, 30], np.full(60, 0.5), np.linspace(-100, 100, 60), member)
    assert merged(pair, 0, seed=1).n_galaxies.tolist() == [30 + 10, 30 + 30]


@settings(max_examples=15)
@given(st.floats(-400, 400))
def test_recentring_forgets_a_redshift_offset(offset):
    v_los = np.random.default_rng(6).normal(0, 300, 80)
    cluster = catalogue_of([80], np.full(80, 0.5), v_los)
    moved = recentred(with_redshift_offset(cluster, offset))
    # the centre is found to 1 km/s
    np.testing.assert_allclose(moved.galaxies(0)[1], recentred(cluster).galaxies(0)[1], atol=2)


def test_signs_are_lost(some):
    np.testing.assert_array_equal(without_signs(some).galaxy_column("v_los"), np.abs(some.galaxy_column("v_los")))


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda c: thinned(c, 0, 1), r"share \[1\] must be above 0 and at most 1; found 0"),
        (lambda c: thinned(c, 1.1, 1), "found 1.1"),
        (lambda c: with_velocity_errors(c, -1, 1), r"sigma \[km/s\] must be 0 or more"),
        (lambda c: with_centre_offset(c, float("nan"), 1), "found nan"),
        (lambda c: within_aperture(c, 0), "R_max"),
        (lambda c: in_wrong_units(c, -1), "factor must be above 0"),
        (lambda c: cleaned(c, "by eye"), "unknown cleaning 'by eye'"),  # type: ignore[arg-type]
        (lambda c: cleaned(c), "membership is unknown"),
        (lambda c: merged(c, 100, 1), "members are known"),
    ],
)
def test_mistakes_are_named(mistake, message):
    observed = catalogue_of([12, 12], np.full(24, 0.5), np.linspace(-500, 500, 24))
    with pytest.raises(ValueError, match=message):
        mistake(observed)

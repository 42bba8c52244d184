"""Several lines of sight through one host: members and host_id shared, each line as good as a single one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from clustermocks import Catalogue, HaloModel, Observation, lines_of_sight
from clustermocks.haloes.satellites import Satellites
from clustermocks.mocks.chunk import populate
from clustermocks.mocks.halo_model import MOST_LINES
from clustermocks.mocks.run import CHUNK, CHUNK_LINES, MockRun, chunk_edges
from clustermocks.mocks.sightlines import Sightlines

SPARSE = replace(HaloModel.ho2019(), observation=Observation(min_galaxies=0))


def _cloud(rng, counts):
    n = sum(counts)
    return Satellites(np.repeat(np.arange(len(counts)), counts), rng.normal(size=(n, 3)), rng.normal(size=(n, 3)))


def test_a_line_shows_its_hosts_galaxies_from_its_own_side():
    galaxies, sights = _cloud(np.random.default_rng(1), [4, 0, 7]), Sightlines.from_counts(np.array([3, 2, 5]))
    seen = sights.through(galaxies)
    np.testing.assert_array_equal(np.bincount(seen.halo, minlength=10), [4, 4, 4, 0, 0, 7, 7, 7, 7, 7])
    for line, direction in enumerate([*lines_of_sight(3), *lines_of_sight(2), *lines_of_sight(5)]):
        own, there = galaxies.halo == sights.host[line], seen.halo == line
        for before, after in zip(galaxies[1:], seen[1:], strict=True):
            # rounding of products of numbers of order 1
            np.testing.assert_allclose(after[there, 2], before[own] @ direction, atol=1e-13)
            np.testing.assert_allclose(after[there] @ after[there].T, before[own] @ before[own].T, atol=1e-13)


def test_one_line_each_is_the_third_axis_and_leaves_galaxies_alone():
    galaxies = _cloud(np.random.default_rng(1), [4, 7])
    assert Sightlines.from_counts(np.array([1, 1])).through(galaxies) is galaxies
    np.testing.assert_array_equal(Sightlines.from_counts(np.array([1])).axes[0], np.eye(3))


def test_members_are_shared_and_neighbours_drawn_for_each_line():
    sights = Sightlines.from_counts(np.array([3, 3]))
    clusters, around, galaxies = populate(HaloModel.ho2019(), np.array([14.8, 14.0]), np.random.default_rng(3), sights)
    radius = np.linalg.norm(galaxies.position, axis=1)
    own = radius < clusters.R_vir[galaxies.cluster]
    for host in (0, 1):
        lines = [{*radius[own & (galaxies.cluster == 3 * host + i)].round(9)} for i in range(3)]
        shared = set.intersection(*lines)  # but for galaxies of neighbours, which few lines have inside R_vir
        assert all(len(shared) > 0.95 * len(line) > 10 for line in lines)
    assert len(np.unique(around.haloes.log10_mass)) == len(around.haloes.log10_mass)


@pytest.fixture(scope="module")
def threefold():
    return SPARSE.simulate(np.full(600, 14.5), seed=1, lines_of_sight=3)


def test_hosts_share_their_id_and_their_number_of_members(threefold):
    host = threefold.host_id.reshape(600, 3)
    assert (host == host[:, :1]).all()
    assert len(np.unique(host)) == 600
    members = threefold.attempts["n_members"].to_numpy().reshape(600, 3)
    # satellites of neighbours stray inside R_vir, 1 or 2 of 85; clusters drawn apart would differ by 1.7 sigma, 20
    assert np.ptp(members, axis=1).mean() < 0.03 * members.mean()
    sight = np.column_stack([threefold.column(f"sight_{axis}") for axis in "xyz"]).reshape(600, 3, 3)
    np.testing.assert_allclose(sight @ sight.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (600, 3, 3)), atol=1e-15)


def test_splits_keep_lines_of_a_host_together(threefold):
    for part in threefold.split(0.3, seed=1):
        assert (np.unique(part.host_id, return_counts=True)[1] == 3).all()


def test_every_line_is_as_good_as_a_single_one(threefold):
    single = SPARSE.simulate(np.full(1800, 14.5), seed=2)
    dispersion = [np.array([c.galaxies(i)[1].std() for i in range(1800)]) for c in (threefold.pure(), single.pure())]
    richness = [mocks.n_galaxies.astype(float) for mocks in (threefold, single)]
    for several, one in (dispersion, richness):
        for line in range(3):
            error = np.hypot(several[line::3].std() / np.sqrt(600), one.std() / np.sqrt(1800))
            assert several[line::3].mean() == pytest.approx(one.mean(), abs=4 * error)  # 6 checks: once in 2600 seeds


@pytest.mark.slow
def test_lines_of_a_host_differ_as_those_of_triaxial_clusters_do_and_agree_in_part(threefold):
    log_sigma = np.log10([threefold.pure().galaxies(i)[1].std() for i in range(1800)]).reshape(600, 3)
    within, between = log_sigma.std(axis=1, ddof=1).mean(), log_sigma[:, 0].std()
    assert 0.5 * between < within < between  # members and mass shared, velocity components not


def test_more_lines_for_massive_hosts(tmp_path):
    masses = np.array([14.0, 14.9, 14.2])
    lines = np.where(masses > 14.6, 5, 2)
    mocks = SPARSE.simulate(masses, seed=1, lines_of_sight=lines)
    np.testing.assert_array_equal(mocks.log10_mass, np.repeat(masses, lines))
    np.testing.assert_array_equal(mocks.host_id - mocks.host_id[0], np.repeat([0, 1, 2], lines))
    stored = SPARSE.simulate_to(tmp_path / "mocks", masses, seed=1, lines_of_sight=lines)
    back = Catalogue.from_parquet(stored.folder)
    assert back.clusters.equals(mocks.clusters)
    assert stored.counts == (9,)
    with pytest.raises(ValueError, match=r"lines_of_sight: 2 to 5 .* there, 1 asked for"):
        SPARSE.simulate_to(tmp_path / "mocks", masses, seed=1)


@given(lines=st.lists(st.integers(1, MOST_LINES), min_size=1, max_size=2000).map(np.array))
def test_a_chunk_has_no_more_lines_than_memory_allows_and_every_host_is_in_one(lines):
    edges = chunk_edges(lines)
    assert (edges[0], edges[-1]) == (0, len(lines))
    assert (np.diff(edges) > 0).all()
    assert np.diff(edges).max() <= CHUNK
    assert np.add.reduceat(lines, edges[:-1]).max() <= CHUNK_LINES  # so 250 hosts of 1000 lines are 250 chunks


@pytest.mark.parametrize("lines", [1, 3])
def test_few_lines_leave_chunks_at_their_full_number_of_hosts(lines):
    np.testing.assert_array_equal(chunk_edges(np.full(600, lines)), [0, CHUNK, 2 * CHUNK, 600])


def test_lines_are_divided_into_chunks_and_each_host_has_its_own():
    lines = np.array([5, 700, 300, 1, 600])
    run = MockRun(SPARSE, np.full(5, 13.5), lines, 1)
    assert [len(chunk.counts) for chunk in run.chunks(range(run.n_chunks), 1)] == [705, 901]
    alone = SPARSE.simulate(np.full(5, 13.5), seed=1, lines_of_sight=lines)
    np.testing.assert_array_equal(np.bincount(alone.host_id - alone.host_id[0]), lines)


@pytest.mark.parametrize("lines", [0, -1, 1.5, np.nan, 10_000, [1, 2], np.ones((3, 1))])
def test_impossible_numbers_of_lines_are_refused(lines):
    with pytest.raises(ValueError, match="lines_of_sight must be a whole number"):
        SPARSE.simulate([14.0, 14.1, 14.2], seed=1, lines_of_sight=lines)

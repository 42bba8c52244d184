"""Positions on the sky: kept, moved or dropped, but never of another galaxy or about another centre than R_proj."""

from dataclasses import replace

import numpy as np
import pytest

from clustermocks import MDPL2, Catalogue, FlatMasses, HaloModel, Observation, SphericalJeans
from clustermocks.mocks.chunk import populate
from clustermocks.mocks.spectroscopy import observe
from clustermocks.perturbations import (
    about_another_centre,
    cleaned,
    in_wrong_units,
    merged,
    thinned,
    with_centre_offset,
)

CLOSE = {"rtol": 3e-6, "atol": 3e-6}  # distances and angles are float32


@pytest.fixture(scope="module")
def mocks():
    return HaloModel().simulate(FlatMasses(14, 15).draw(40, seed=1), seed=1)


def galaxies(catalogue):
    """Each galaxy's cluster, velocity and position."""
    rows = zip(catalogue.host_id[catalogue.cluster_of_galaxy], catalogue.galaxy_column("v_los"), strict=True)
    return {(*row, *sky) for row, sky in zip(rows, catalogue.sky_positions().tolist(), strict=True)}


def test_mocks_know_where_their_galaxies_are():
    model = HaloModel(observation=Observation(min_galaxies=0), recentre=False, centre_error=0.0)
    rng = np.random.default_rng(3)
    clusters, _, drawn = populate(model, np.full(5, 14.5), rng)
    seen = observe(model, clusters, drawn, rng).galaxies
    found = seen["R_proj"] * np.exp(1j * seen["position_angle"])
    x, y = drawn.position[:, :2].T
    true = (x + 1j * y)[np.isin(np.hypot(x, y), seen["R_proj"])]
    np.testing.assert_allclose(found, true, rtol=1e-12, atol=1e-12)


def test_galaxies_of_spherical_clusters_lie_in_every_direction():
    mocks = SphericalJeans().simulate(np.full(100, 14.5), seed=1)
    x, y = mocks.sky_positions().T / mocks.galaxy_column("R_proj")
    directions = np.array([x, y, x * y, x**2 - y**2])
    # means of n directions, of variance 1/2, 1/2, 1/8, 1/2: 4 standard errors fail once in 4000 seeds
    assert (np.abs(directions.mean(axis=1)) < 4 * np.sqrt(0.5 / len(x))).all()


def test_thinned_and_pure_clusters_keep_the_positions_of_the_galaxies_that_stay(mocks):
    assert galaxies(thinned(mocks, 0.5, seed=1)) < galaxies(mocks)
    assert galaxies(cleaned(mocks)) == galaxies(mocks) & galaxies(mocks.pure())


def test_other_units_scale_positions_and_an_unknown_direction_drops_them(mocks):
    scaled = in_wrong_units(mocks, 0.7)
    np.testing.assert_allclose(scaled.sky_positions(), 0.7 * mocks.sky_positions(), **CLOSE)
    for changed in (with_centre_offset(mocks, 0.2, seed=1), merged(mocks, 1000, seed=1)):
        assert not changed.has_sky
        with pytest.raises(ValueError, match="ra and dec"):
            changed.sky_positions()


def test_another_centre_is_seen_from_where_it_is(mocks):
    shift = np.random.default_rng(1).normal(0, 0.1, (len(mocks), 2))
    about = about_another_centre(mocks, shift)
    there = mocks.sky_positions() - shift[mocks.cluster_of_galaxy]
    np.testing.assert_allclose(about.sky_positions(), there, **CLOSE)
    np.testing.assert_allclose(about.galaxy_column("R_proj"), np.hypot(*there.T), **CLOSE)


def test_positions_follow_the_flag_of_padded_galaxies_and_conditions_follow_them(mocks):
    x = mocks.padded(sky=True, conditions=True)
    real = x[..., 2] > 0
    np.testing.assert_array_equal(x[real][:, 3:5], mocks.sky_positions())
    np.testing.assert_array_equal(x[..., [0, 1, 2, 5, 6, 7]], mocks.padded(conditions=True))
    assert not x[~real].any()


def test_catalogues_with_and_without_positions_make_one_without_and_a_file_without_is_read(mocks, tmp_path):
    bare = mocks.without_sky()
    bare.to_parquet(tmp_path / "old.parquet")
    old = Catalogue.from_parquet(tmp_path / "old.parquet")
    assert not old.has_sky
    assert Catalogue.concatenate([mocks, mocks]).has_sky
    both = Catalogue.concatenate([mocks, old])
    assert not both.has_sky
    np.testing.assert_array_equal(both.galaxy_column("R_proj"), np.tile(mocks.galaxy_column("R_proj"), 2))


def test_an_angle_that_is_not_a_number_is_refused():
    columns = {"R_proj": np.ones(2), "v_los": np.zeros(2), "position_angle": np.array([0.0, np.nan])}
    clusters = {"log10_mass": np.array([14.0]), "host_id": np.array([1])}
    with pytest.raises(ValueError, match="position_angle must be finite"):
        Catalogue.from_arrays(
            replace(Observation(), min_galaxies=1), MDPL2, clusters=clusters, galaxies=columns, offsets=np.array([0, 2])
        )

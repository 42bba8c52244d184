"""Truths of galaxies in mocks: inside r200c, inside R_vir, bound."""

from dataclasses import replace

import numpy as np
import pytest

from clustermocks import BoxView, Catalogue, HaloModel, Observation, SphericalJeans, lines_of_sight, observe_box
from clustermocks.catalogue.schema import TRUTHS
from clustermocks.haloes.cosmology import MDPL2, nfw_mass, radius_200c, virial_velocity
from clustermocks.haloes.environment import Neighbours
from clustermocks.haloes.mergers import NONE
from clustermocks.haloes.satellites import HaloGalaxies
from clustermocks.incompleteness import as_observed
from clustermocks.mocks.chunk import populate
from clustermocks.nbody.boxes import ArrayBox
from clustermocks.perturbations import cleaned, merged, recentred, thinned, with_velocity_errors, within_aperture
from clustermocks.thinning import without_richness

MASSES = np.linspace(13.8, 15.0, 240)


@pytest.fixture(scope="module")
def mocks() -> Catalogue:
    return HaloModel().with_clustering().simulate(MASSES, seed=1)


def test_members_inside_r200c_are_the_share_of_their_profile():
    """In a spherical halo without mergers: m(c) / m(c R_vir / r200c) of the galaxies' NFW profile."""
    model = HaloModel.ho2019()
    model = replace(model, galaxies=HaloGalaxies(mergers=NONE), observation=Observation(aperture=5, v_cut=9000))
    members = model.simulate(np.full(400, 14.5), seed=2).pure()
    clusters, _, _ = populate(model, np.full(2000, 14.5), np.random.default_rng(3))
    expected = float(np.mean(nfw_mass(2.6) / nfw_mass(2.6 * clusters.R_vir / clusters.r_200c)))
    inside = members.galaxy_column("within_r200c")
    assert inside.mean() == pytest.approx(expected, abs=4 * np.sqrt(0.25 / len(inside)))  # four sigma


def test_who_is_inside_r200c_is_inside_the_wider_virial_radius(mocks):
    assert not (mocks.galaxy_column("within_r200c") & ~mocks.galaxy_column("is_member")).any()


def test_galaxies_that_stay_bound_by_construction_are_bound():
    """With a turnaround no member of one halo exceeds the speed; neighbours far away are never bound."""
    model = HaloModel().with_clustering()
    model = replace(model, galaxies=replace(model.galaxies, mergers=NONE), centre_error=0.0)
    clusters, _, galaxies = populate(model, MASSES, np.random.default_rng(4))
    radius = np.linalg.norm(galaxies.position, axis=1) / clusters.r_200c[galaxies.cluster]
    assert galaxies.is_bound[radius < 1].all()
    assert not galaxies.is_bound[radius > 5].any()
    near = (radius > 3) & (radius < 4)  # no galaxies of the cluster itself: most fall in, some fly by
    assert 0.3 < galaxies.is_bound[near].mean() < 0.99


def test_a_galaxy_is_bound_from_wherever_one_looks():
    alone = replace(HaloModel.ho2019(), neighbours=Neighbours(exclusion=4))  # neighbours are drawn for each line
    seen = alone.simulate(np.full(30, 14.8), seed=5, lines_of_sight=3).pure()
    bound = np.bincount(seen.cluster_of_galaxy, seen.galaxy_column("is_bound"), minlength=len(seen))
    for host in np.unique(seen.host_id):
        assert np.ptp(bound[seen.host_id == host]) == 0


def test_members_of_spherical_jeans_are_bound_and_its_interlopers_are_not():
    mocks = SphericalJeans(background=20.0).simulate(np.full(100, 14.5), seed=6)
    members = mocks.galaxy_column("is_member")
    np.testing.assert_array_equal(mocks.galaxy_column("is_bound"), members)
    inside = mocks.galaxy_column("within_r200c")
    assert not inside[~members].any()
    assert 0.7 < inside[members].mean() < 0.95  # .83 in space, more in the cylinder


def tagged(mocks: Catalogue) -> Catalogue:
    """The same clusters with truths that can be read off the distance of a galaxy."""
    R_proj = mocks.galaxy_column("R_proj")
    truths = {name: np.floor(R_proj * 2 ** (10 + i)) % 2 == 0 for i, name in enumerate(TRUTHS)}
    columns = {"R_proj": R_proj, "v_los": mocks.galaxy_column("v_los"), **truths}
    return mocks.with_galaxies(columns, mocks.cluster_of_galaxy)


CHANGES = {
    "thinned": lambda mocks: thinned(mocks, 0.6, seed=1),
    "a smaller field": lambda mocks: within_aperture(mocks, 0.9),
    "cleaned": lambda mocks: cleaned(mocks, "clipping"),
    "true members": cleaned,
    "errors": lambda mocks: with_velocity_errors(mocks, 100.0, seed=1),
    "recentred": recentred,
    "incomplete": lambda mocks: as_observed(mocks, (0.5, 0.9), (0.0, 100.0), seed=1),
    "merged": lambda mocks: merged(mocks, 500.0, seed=1),
    "without richness": lambda mocks: without_richness(mocks, fewest=10, most=12, low=13.8, high=15.0, seed=1),
    "pure": Catalogue.pure,
    "concatenated": lambda mocks: Catalogue.concatenate([mocks, mocks]),
    "selected": lambda mocks: mocks.select(np.arange(len(mocks))[::-2]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_truths_stay_with_their_galaxies(mocks, change):
    changed = CHANGES[change](tagged(mocks))
    R_proj = changed.galaxy_column("R_proj")
    assert len(R_proj)
    for i, name in enumerate(TRUTHS):
        np.testing.assert_array_equal(changed.galaxy_column(name), np.floor(R_proj * 2 ** (10 + i)) % 2 == 0)


def test_truths_survive_files_and_folders(mocks, tmp_path):
    mocks.to_parquet(tmp_path / "mocks.parquet")
    stored = HaloModel().with_clustering().simulate_to(tmp_path / "parts", MASSES, seed=1)
    for read in (Catalogue.from_parquet(tmp_path / "mocks.parquet"), Catalogue.from_parquet(stored.folder)):
        for name in TRUTHS:
            np.testing.assert_array_equal(read.galaxy_column(name), mocks.galaxy_column(name))


def test_a_catalogue_without_truths_stays_one(mocks):
    bare = mocks.with_galaxies({n: mocks.galaxy_column(n) for n in ("R_proj", "v_los")}, mocks.cluster_of_galaxy)
    assert list(thinned(bare, 0.5, seed=1).galaxy_columns) == ["R_proj", "v_los"]


def test_truths_in_a_box_follow_from_positions_and_velocities():
    """Five galaxies of one halo, each along another axis, at rest or on the Hubble flow."""
    mass, side, centre = 10**14.5, 250.0, 100.0
    redshift = Observation().redshift
    r_200c, v_200 = float(radius_200c(mass, redshift, MDPL2)), float(virial_velocity(mass, redshift, MDPL2))
    flow = MDPL2.hubble(redshift) / (1 + redshift)
    radii, axes = np.array([0.5, 0.5, 2.0, 4.5, 5.5]), np.array([2, 1, 2, 2, 2])
    physical = np.array([0.0, 4.0, 0.0, 4.5 * r_200c * flow / v_200, 0.0]) * v_200
    position, velocity = np.full((5, 3), centre), np.zeros((5, 3))
    position[np.arange(5), axes] += radii * r_200c
    velocity[np.arange(5), axes] = physical - flow * radii * r_200c
    named = dict(zip(("x", "y", "z", "vx", "vy", "vz"), (*position.T, *velocity.T), strict=True))
    own = {"host_id": np.full(5, -1), "is_central": np.ones(5, bool)}
    galaxies = ArrayBox.from_arrays("galaxies", side, {"id": np.arange(5), **own, **named})
    host = {name: np.array([centre if name in "xyz" else 0.0]) for name in named}
    host |= {"id": np.array([0]), "host_id": np.array([0]), "is_central": np.array([True]), "M200c": np.array([mass])}
    view = BoxView(Observation(min_galaxies=1, aperture=3, v_cut=4000), recentre=False, centre_error=0.0)
    seen = observe_box(ArrayBox.from_arrays("haloes", side, host), galaxies, lines_of_sight(1), view=view)
    assert seen.galaxy_column("within_r200c").tolist() == [True, True, False, False, False]
    assert seen.galaxy_column("is_bound").tolist() == [True, False, True, False, False]

"""What `BoxView` chooses, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from clustermocks import MDPL2, BoxView, HaloModel, Observation, RadialCompleteness, observe_box
from clustermocks.haloes.cosmology import (
    bryan_norman_overdensity,
    concentration,
    radius_200c,
    radius_ratio,
    virial_velocity,
)
from clustermocks.nbody import ArrayBox
from clustermocks.nbody.schema import with_hosts
from clustermocks.observation import line_of_sight_velocity

SIDE = 125.0
EXACT = BoxView(recentre=False, centre_error=0.0)
OBLIQUE = np.array([[0, 0, 1], [1, 0, 0], [1, 1, 0], [1, -2, 3]], float)


def test_satellites_only_drop_every_central(toy, boxes):
    everyone, satellites = (
        observe_box(*boxes(toy), view=view)
        for view in (EXACT, BoxView(interlopers="satellites", recentre=False, centre_error=0.0))
    )
    lost = np.asarray(everyone.attempts["n_members"]) - np.asarray(satellites.attempts["n_members"])
    assert lost.min() == 1  # its own; other hosts inside R_vir are overlaps of a toy
    assert (everyone.galaxy_column("R_proj") == 0).any()
    assert not (satellites.galaxy_column("R_proj") == 0).any()


def test_members_by_host_are_those_of_the_catalogue(toy, boxes):
    haloes, galaxies = toy
    mocks = observe_box(*boxes(toy), [0, 0, 1], view=BoxView(members="halo"))
    number = [np.sum(galaxies["upid"] == i) + 1 for i in np.sort(haloes["id"])]
    np.testing.assert_array_equal(mocks.attempts["n_members"], number)
    np.testing.assert_array_equal(
        mocks.pure().n_galaxies, [n for n, kept in zip(number, mocks.attempted()[1], strict=True) if kept and n >= 10]
    )


def test_an_unknown_virial_radius_is_that_of_a_median_halo(toy, boxes, assert_same):
    haloes = toy[0]
    given = ArrayBox.from_arrays("haloes", SIDE, with_hosts({**haloes, "R_vir": _median_virial(haloes["M200c"])}))
    unknown = ArrayBox.from_arrays("haloes", SIDE, with_hosts({k: v for k, v in haloes.items() if k != "R_vir"}))
    tracers = boxes(toy)[1]
    assert_same(observe_box(unknown, tracers, view=EXACT), observe_box(given, tracers, view=EXACT))


def _median_virial(mass):
    c = concentration(mass, 0.117, MDPL2)
    return radius_200c(mass, 0.117, MDPL2) * radius_ratio(c, bryan_norman_overdensity(0.117, MDPL2))


def test_recentring_and_errors_are_those_of_mocks(toy, boxes):
    exact = observe_box(*boxes(toy), OBLIQUE, view=EXACT)
    assert (exact.column("velocity_offset") == 0).all()
    centred = observe_box(*boxes(toy), OBLIQUE, view=BoxView(centre_error=0.0))
    offset = centred.column("velocity_offset")
    # biweight centres of 10 and more galaxies of dispersion 300 to 900 km/s
    assert 20 < offset.std() < 400
    noisy = observe_box(*boxes(toy), OBLIQUE, view=BoxView(recentre=False, centre_error=0.0, velocity_error=300.0))
    both = np.intersect1d(exact.host_id, noisy.host_id)
    added = [np.var(c.galaxy_column("v_los")) for c in (exact, noisy)]
    # 300^2 = 9e4 is added to the variance; galaxies lost at the cut take some, some hundred clusters have 3 % each
    assert len(both) > 10
    assert 4e4 < added[1] - added[0] < 1.3e5
    half = observe_box(*boxes(toy), OBLIQUE, view=BoxView(recentre=False, centre_error=0.0, completeness=0.5))
    total = [np.sum(np.asarray(c.attempts["n_galaxies"])) for c in (half, exact)]
    assert total[0] / total[1] == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(total[1]))  # 4 sigma of a binomial


def _small_box(galaxies):
    """One host in the middle, and galaxies at given places from it [h^-1 Mpc], at rest."""
    host = {"id": [1], "upid": [-1], "M200c": [1e14], **{axis: [60.0] for axis in "xyz"}}
    n = len(galaxies)
    tracers = {"id": np.arange(n) + 10, "upid": np.full(n, -1), **dict(zip("xyz", 60 + galaxies.T, strict=True))}
    boxes = []
    for kind, columns in (("haloes", host), ("galaxies", tracers)):
        columns = {name: np.array(values) for name, values in columns.items()}
        still = dict.fromkeys(("vx", "vy", "vz"), np.zeros(len(columns["id"])))
        boxes.append(ArrayBox.from_arrays(kind, SIDE, with_hosts({**columns, **still})))
    return boxes


def test_fibres_collide_on_the_sky_at_any_depth_that_the_search_reaches():
    near = np.array([[0.5, 0, 0], [0.5, 0.08, 50.0], [-0.5, 0, 0], [-0.5, 0.1, 0]])  # 55 arcsec are .093 h^-1 Mpc
    view = BoxView(observation=Observation(min_galaxies=0), recentre=False, centre_error=0.0, fibre_collision=55.0)
    kept = [observe_box(*_small_box(near), [0, 0, 1], view=view, seed=seed).n_galaxies[0] for seed in range(20)]
    assert set(kept) == {2, 3}  # the third and fourth always; of the others one is beyond the velocity window
    without = observe_box(*_small_box(near), [0, 0, 1], view=replace(view, fibre_collision=0.0))
    assert without.n_galaxies[0] == 3


def test_completeness_may_fall_outwards():
    R = np.repeat([0.05, 0.8, 1.55], 4000)
    phi = np.random.default_rng(1).uniform(0, 2 * np.pi, len(R))
    falling = RadialCompleteness(centre=0.9, edge=0.3)
    view = BoxView(recentre=False, centre_error=0.0, completeness=falling)
    galaxies = np.column_stack([R * np.cos(phi), R * np.sin(phi), np.zeros(len(R))])
    seen = observe_box(*_small_box(galaxies), [0, 0, 1], view=view).galaxy_column("R_proj")
    for radius in (0.05, 0.8, 1.55):
        expected = falling(radius, 1.6)
        error = np.sqrt(expected * (1 - expected) / 4000)
        assert np.isclose(seen, radius).sum() / 4000 == pytest.approx(expected, abs=4 * error)  # 4 sigma, binomial


def _heaviest_by_images(haloes, i, direction, view):
    """Heaviest other halo that reaches into the cylinder of halo i: every image of every halo, by cross products."""
    xyz, v = (np.stack([haloes[name] for name in names], axis=1) for names in (("x", "y", "z"), ("vx", "vy", "vz")))
    images = SIDE * np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 1, 3)
    separation, mass = xyz - xyz[i] + images, haloes["M200c"]
    depth = separation @ direction
    v_los = line_of_sight_velocity(depth, v @ direction, v[i] @ direction, 0.117, MDPL2)
    R = np.linalg.norm(np.cross(separation, direction), axis=-1) - 1.35 * radius_200c(mass, 0.117, MDPL2)
    there = (view.observation.aperture > R) & (np.abs(v_los) < 2500 + virial_velocity(mass, 0.117, MDPL2))
    there &= (np.abs(depth) < view.half_depth) & (mass >= 10**view.min_log10_mass) & (np.arange(len(mass)) != i)
    return np.log10(mass[there.any(axis=0)].max()) if there.any() else np.nan


def test_the_heaviest_halo_in_the_cylinder_is_that_of_all_images_and_rules_lighter_clusters_out(toy, boxes):
    view = BoxView(observation=Observation(aperture=6.0, min_galaxies=0))
    everyone = observe_box(*boxes(toy), OBLIQUE, view=view)
    haloes, rival = toy[0], everyone.column("log10_mass_rival")
    place = {host_id: i for i, host_id in enumerate(haloes["id"])}
    directions = np.column_stack([everyone.column(f"sight_{axis}") for axis in "xyz"])
    both = zip(everyone.host_id, directions, strict=True)
    expected = [_heaviest_by_images(haloes, place[host_id], direction, view) for host_id, direction in both]
    np.testing.assert_allclose(rival, expected, rtol=1e-12)
    dominant = observe_box(*boxes(toy), OBLIQUE, view=replace(view, dominant=True))
    np.testing.assert_array_equal(dominant.host_id, everyone.host_id[~(rival > everyone.log10_mass)])
    assert len(dominant.attempts) == len(everyone.attempts) > len(dominant) > 0


def test_centre_errors_differ_between_lines_and_repeat_with_the_seed(toy, boxes, assert_same):
    one, again, other = (observe_box(*boxes(toy), seed=seed) for seed in (1, 1, 2))
    assert_same(one, again)
    n = min(len(one.galaxy_column("R_proj")), len(other.galaxy_column("R_proj")))
    assert not np.array_equal(one.galaxy_column("R_proj")[:n], other.galaxy_column("R_proj")[:n])


def test_defaults_mean_the_same_as_those_of_halo_model():
    view, model = BoxView(), HaloModel()
    published, reproduced = BoxView.ho2019(), HaloModel.ho2019()
    for name in (
        "observation",
        "cosmology",
        "interlopers",
        "recentre",
        "centre_error",
        "velocity_error",
        "completeness",
        "fibre_collision",
        "dominant",
    ):
        assert getattr(view, name) == getattr(model, name)
        assert getattr(published, name) == getattr(reproduced, name)


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_a_box_shorter_than_the_cylinder_is_refused_with_the_side_it_needs(toy, boxes):
    view = BoxView(velocity_margin=6000.0)
    # 8500 km/s at 94.8 km/s a h^-1 Mpc, on both sides
    assert view.needed_side == pytest.approx(2 * 8500 / 94.8, rel=2e-3)
    with pytest.raises(ValueError, match=f"125 h.-1 Mpc long.*needs {view.needed_side:.1f}"):
        observe_box(*boxes(toy), view=view)
    observe_box(*boxes(toy), view=BoxView(velocity_margin=3400.0))


def test_boxes_that_do_not_belong_together_are_refused(toy, boxes):
    hosts, tracers = boxes(toy)
    with pytest.raises(ValueError, match="differ in side"):
        observe_box(hosts, ArrayBox.from_arrays("galaxies", 130.0, with_hosts(toy[1])))
    with pytest.raises(ValueError, match="expected a box of haloes"):
        observe_box(tracers, hosts)


@pytest.mark.parametrize("lines", [[0, 0, 0], [1, 2], [[1, 0, np.nan]], np.empty((0, 3))])
def test_lines_of_sight_that_are_none_are_refused(toy, lines, boxes):
    with pytest.raises(ValueError, match="lines of sight"):
        observe_box(*boxes(toy), lines)


def test_a_box_without_hosts_is_refused(toy, boxes):
    with pytest.raises(ValueError, match="nothing to observe"):
        observe_box(*boxes(toy), view=BoxView(min_log10_mass=16.0))


@pytest.mark.parametrize(
    "field",
    [
        {"interlopers": "none"},
        {"members": "fof"},
        {"completeness": 1.1},
        {"fibre_collision": -1.0},
        {"velocity_margin": -1.0},
    ],
)
def test_impossible_views_are_refused_by_name(field):
    with pytest.raises(ValueError, match=next(iter(field))):
        BoxView(**field)


def test_subhaloes_are_not_hosts(toy, boxes):
    haloes = toy[0]
    upid = np.where(np.arange(len(haloes["id"])) % 2 == 0, -1, haloes["id"][0])
    hosts = ArrayBox.from_arrays("haloes", SIDE, with_hosts({**haloes, "upid": upid}))
    found = observe_box(hosts, boxes(toy)[1])
    assert set(np.asarray(found.attempts["host_id"])) == set(haloes["id"][upid == -1].tolist())

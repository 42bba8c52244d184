"""A periodic box through files, reader and `observe_box`: brute force over all images, invariances, lines of sight."""

import numpy as np
import pytest

from clustermocks import MDPL2, BoxView, Catalogue, lines_of_sight, observe_box
from clustermocks.haloes.cosmology import SPEED_OF_LIGHT
from clustermocks.nbody import ArrayBox, convert

SIDE = 125.0
EXACT = BoxView(recentre=False, centre_error=0.0)
OBLIQUE = np.array([[0, 0, 1], [1, 0, 0], [1, 1, 0], [1, -2, 3]], float)
AXES = ("x", "y", "z", "vx", "vy", "vz")
V_TOLERANCE = 1e-3  # [km/s]: a catalogue holds velocities in single precision, up to 2500 km/s


def recession(z):
    """Ho et al. 2019, appendix A."""
    return SPEED_OF_LIGHT * ((1 + z) ** 2 - 1) / ((1 + z) ** 2 + 1)


def add(a, b):
    return (a + b) / (1 + a * b / SPEED_OF_LIGHT**2)


def directly(haloes, galaxies, lines, view):
    """All galaxies about all hosts, each image of the box in turn; cylinders by cross products."""
    order = np.argsort(galaxies["id"])
    xyz, v = (np.stack([galaxies[name][order] for name in names], axis=1) for names in (AXES[:3], AXES[3:]))
    images = SIDE * np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3)
    columns, counts = [], []
    hosts = [i for i in np.argsort(haloes["id"]) if haloes["M200c"][i] >= 10**view.min_log10_mass]
    for i in hosts:
        host, v_host = (np.array([haloes[name][i] for name in names]) for names in (AXES[:3], AXES[3:]))
        for n in lines / np.linalg.norm(lines, axis=1, keepdims=True):
            seen = [one_image(xyz - host + image, v, v_host, n, view) for image in images]
            member = np.stack([np.linalg.norm(xyz - host + image, axis=1) < haloes["R_vir"][i] for image in images])
            R, v_los, inside = (np.stack(parts) for parts in zip(*seen, strict=True))
            galaxy, image = np.nonzero((inside | member).T)
            columns.append([values[image, galaxy] for values in (R, v_los, member, inside)])
            counts.append(len(galaxy))
    flat = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    return Catalogue.from_arrays(
        view.observation,
        view.cosmology,
        clusters={
            "log10_mass": np.repeat(np.log10(haloes["M200c"][hosts]), len(lines)),
            "host_id": np.repeat(haloes["id"][hosts], len(lines)),
        },
        galaxies=dict(zip(("R_proj", "v_los", "is_member", "in_cylinder"), flat, strict=True)),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
    )


def one_image(dx, v, v_host, n, view):
    observation = view.observation
    R = np.linalg.norm(np.cross(dx, n), axis=1)
    z = MDPL2.redshift_at(MDPL2.comoving_distance(observation.redshift) + dx @ n)
    v_los = add(add(recession(z), v @ n), -add(recession(observation.redshift), v_host @ n))
    inside = (observation.aperture > R) & (np.abs(v_los) < observation.v_cut) & (np.abs(dx @ n) < view.half_depth)
    return R, v_los, inside


@pytest.mark.parametrize("margin", [3000.0, 2900.0])  # hosts inside a stretch of the search, and on a face of two
def test_a_box_through_files_and_reader_gives_the_catalogue_made_directly(margin, toy, formats, tmp_path, assert_same):
    view = BoxView(recentre=False, centre_error=0.0, velocity_margin=margin)
    haloes, galaxies = toy
    galaxies = {**galaxies, **{name: np.full(len(galaxies["id"]), 1e12) for name in ("halo_mass", "peak_mass")}}
    galaxies["stellar_mass"] = galaxies["halo_mass"]
    stored = []
    for name, kind, columns in (
        ("rockstar_hlist", "haloes", haloes),
        ("universemachine_binary", "galaxies", galaxies),
    ):
        path = formats[name].write(tmp_path, columns)
        side = None if kind == "haloes" else SIDE  # an hlist states it
        stored.append(convert(formats[name].reader(25), path, tmp_path / kind, kind=kind, side=side))
    found = observe_box(stored[0].folder, str(stored[1].folder), OBLIQUE, view=view)
    expected = directly(haloes, galaxies, OBLIQUE, view)
    assert_same(found, expected, V_TOLERANCE)
    np.testing.assert_allclose(found.log10_mass, expected.log10_mass, rtol=1e-15)
    assert found.attempts.num_rows == 4 * len(haloes["id"]) > len(found) > 20
    assert found.host_id.min() > 2**53
    assert_same(found.pure(), expected.pure(), V_TOLERANCE)


# ---- invariances ----------------------------------------------------------------------------------------------------


def test_slabs_and_order_of_rows_do_not_matter(toy, boxes, assert_same):
    expected = observe_box(*boxes(toy), OBLIQUE, seed=3)
    mixed = [{k: v[np.random.default_rng(1).permutation(len(v))] for k, v in part.items()} for part in toy]
    assert_same(observe_box(*boxes(mixed), OBLIQUE, seed=3), expected)
    sliced = (ArrayBox(box.kind, box.side, box.table, n_slabs=5) for box in boxes(toy))
    assert_same(observe_box(*sliced, OBLIQUE, seed=3), expected)


def test_moving_the_whole_box_changes_nothing(toy, boxes, assert_same):
    shift = {"x": 17.3, "y": 101.0, "z": 62.49}
    moved = [{k: np.mod(v + shift[k], SIDE) if k in shift else v for k, v in part.items()} for part in toy]
    # positions and so R_proj move by rounding only
    assert_same(observe_box(*boxes(moved), OBLIQUE), observe_box(*boxes(toy), OBLIQUE), V_TOLERANCE)


def test_a_common_velocity_of_everything_hardly_changes_velocities(toy, boxes):
    drift = [{k: v + 500.0 if k == "vz" else v for k, v in part.items()} for part in toy]
    before, after = (observe_box(*boxes(part), [0, 0, 1], view=EXACT).pure() for part in (toy, drift))
    np.testing.assert_array_equal(before.n_galaxies, after.n_galaxies)
    # velocities compose relativistically, (a - b)/(1 - ab/c^2): 500 * 3000^2/c^2 = .05 km/s
    np.testing.assert_allclose(before.galaxy_column("v_los"), after.galaxy_column("v_los"), atol=0.06)


# ---- lines of sight, ids, attempts ----------------------------------------------------------------------------------


def test_lines_through_one_host_share_its_id_and_stay_on_one_side_of_a_split(toy, tmp_path, boxes):
    mocks = observe_box(*boxes(toy), lines_of_sight(5))
    assert mocks.attempts.num_rows == 5 * len(toy[0]["id"])
    first, second = mocks.split(0.5, seed=1)
    assert not set(first.host_id) & set(second.host_id)
    assert len(first) + len(second) == len(mocks)
    mocks.to_parquet(tmp_path / "mocks.parquet")
    back = Catalogue.from_parquet(tmp_path / "mocks.parquet")
    np.testing.assert_array_equal(back.host_id, mocks.host_id)  # neighbours differ by 2 above 2^53
    assert set(np.asarray(back.attempts["host_id"])) == set(toy[0]["id"].tolist())
    direction = np.stack([back.column(f"sight_{axis}") for axis in "xyz"], axis=1)
    np.testing.assert_allclose(np.linalg.norm(direction, axis=1), 1)


def test_massive_hosts_can_have_more_lines_of_sight(toy, boxes):
    mocks = observe_box(*boxes(toy), lambda log10_mass: lines_of_sight(8 if log10_mass > 14 else 2))
    attempts = mocks.attempts.to_pandas()
    count = attempts.groupby("host_id").log10_mass.agg(["size", "first"])
    np.testing.assert_array_equal(count["size"], np.where(count["first"] > 14, 8, 2))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 20, 101])
def test_lines_of_sight_are_spread_evenly(n):
    lines = lines_of_sight(n, seed=1)
    np.testing.assert_allclose(np.linalg.norm(lines, axis=1), 1)
    closeness = np.abs(lines @ lines.T) - 2 * np.eye(n)
    if n > 1:
        # n caps of equal area on half a sphere have the half-angle sqrt(2/n); neighbours are about twice that apart
        assert np.arccos(min(1, closeness.max())) > 0.8 * np.sqrt(2 / n)
    if n >= 20:  # isotropic: the mean of n n^T is 1/3, up to the discreteness 1/n
        np.testing.assert_allclose(lines.T @ lines / n, np.eye(3) / 3, atol=1.5 / n)


@pytest.mark.parametrize("n", [0, -1, 2.5])
def test_a_number_of_lines_that_cannot_be_is_refused(n):
    with pytest.raises(ValueError, match="whole number"):
        lines_of_sight(n)


def test_attempts_hold_poor_clusters_and_selection_can_be_fitted(toy, boxes):
    from clustermocks.selection import fit_selection

    mocks = observe_box(*boxes(toy))
    log10_mass, selected = mocks.attempted()
    assert (~selected).any()
    assert selected.sum() == len(mocks)
    fitted = fit_selection(log10_mass, selected)
    assert fitted(14.5) > 0.9 > 0.5 > fitted(13.0)


def test_estimators_train_on_it(toy, boxes):
    from sbi_clustermass import StackedAffine, Training, train

    mocks = observe_box(*boxes(toy), lines_of_sight(6))
    estimator = train(mocks, flow=StackedAffine(hidden=(8,)), training=Training(max_updates=3), device="cpu", seed=1)
    assert np.isfinite(estimator.posterior(mocks).mean).all()
    assert "N-body box" in str(estimator.provenance)

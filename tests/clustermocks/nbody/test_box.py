"""Periodic boxes: brute force over all images, invariances, real N-body clusters of known mass and dispersion."""

from pathlib import Path

import numpy as np
import pytest

from clustermocks import MDPL2, BoxView, Catalogue, HaloModel, Observation, lines_of_sight, observe_box
from clustermocks.cosmology import SPEED_OF_LIGHT, bryan_norman_overdensity, concentration, radius_200c, radius_ratio
from clustermocks.nbody import ArrayBox, convert
from clustermocks.nbody.schema import with_hosts

FOLDER = Path(__file__).parents[4] / "shared" / "data" / "nbody_formats"
real = pytest.mark.skipif(not FOLDER.is_dir(), reason="the N-body boxes are not here")
SIDE = 125.0
EXACT = BoxView(recentre=False, centre_error=0.0)
OBLIQUE = np.array([[0, 0, 1], [1, 0, 0], [1, 1, 0], [1, -2, 3]], float)
AXES = ("x", "y", "z", "vx", "vy", "vz")
V_TOLERANCE = 1e-3  # [km/s]: a catalogue holds velocities in single precision, up to 2500 km/s


def boxes(toy):
    haloes, galaxies = toy
    hosts = {name: haloes[name] for name in (*AXES, "id", "upid", "M200c", "R_vir")}
    return (
        ArrayBox.from_arrays("haloes", SIDE, with_hosts(hosts)),
        ArrayBox.from_arrays("galaxies", SIDE, with_hosts(galaxies)),
    )


def assert_same(catalogue, other, v_tolerance=0.0):
    assert catalogue.attempts.select(["host_id", "n_galaxies", "n_members"]).equals(
        other.attempts.select(["host_id", "n_galaxies", "n_members"])
    )
    np.testing.assert_array_equal(catalogue.host_id, other.host_id)
    np.testing.assert_array_equal(catalogue.n_galaxies, other.n_galaxies)
    np.testing.assert_array_equal(catalogue.galaxy_column("is_member"), other.galaxy_column("is_member"))
    # rtol of R_proj: single precision of the catalogue, and of positions of 125 h^-1 Mpc in double precision
    np.testing.assert_allclose(catalogue.galaxy_column("R_proj"), other.galaxy_column("R_proj"), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(catalogue.galaxy_column("v_los"), other.galaxy_column("v_los"), atol=v_tolerance, rtol=0)


# ---- the catalogue made directly ------------------------------------------------------------------------------------


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
    clusters, columns, counts = {"log10_mass": [], "host_id": []}, {name: [] for name in ("R", "v", "m", "c")}, []
    for i in np.argsort(haloes["id"]):
        if haloes["M200c"][i] < 10**view.min_log10_mass:
            continue
        host, v_host = (np.array([haloes[name][i] for name in names]) for names in (AXES[:3], AXES[3:]))
        for n in lines / np.linalg.norm(lines, axis=1, keepdims=True):
            seen = [one_image(xyz - host + image, v, v_host, n, view) for image in images]
            member = np.stack([np.linalg.norm(xyz - host + image, axis=1) < haloes["R_vir"][i] for image in images])
            R, v_los, inside = (np.stack(parts) for parts in zip(*seen, strict=True))
            galaxy, image = np.nonzero((inside | member).T)
            for name, values in (("R", R), ("v", v_los), ("m", member), ("c", inside)):
                columns[name].append(values[image, galaxy])
            counts.append(len(galaxy))
            clusters["log10_mass"].append(np.log10(haloes["M200c"][i]))
            clusters["host_id"].append(haloes["id"][i])
    names = {"R_proj": "R", "v_los": "v", "is_member": "m", "in_cylinder": "c"}
    return Catalogue.from_arrays(
        view.observation,
        view.cosmology,
        clusters={name: np.array(values) for name, values in clusters.items()},
        galaxies={ours: np.concatenate(columns[name]) for ours, name in names.items()},
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
def test_a_box_through_files_and_reader_gives_the_catalogue_made_directly(margin, toy, formats, tmp_path):
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
        stored.append(convert(formats[name].reader(25), path, tmp_path / kind, kind=kind, side=SIDE))
    found = observe_box(stored[0].folder, str(stored[1].folder), OBLIQUE, view=view)
    expected = directly(haloes, galaxies, OBLIQUE, view)
    assert_same(found, expected, V_TOLERANCE)
    np.testing.assert_allclose(found.log10_mass, expected.log10_mass, rtol=1e-15)
    assert found.attempts.num_rows == 4 * len(haloes["id"]) > len(found) > 20
    assert found.host_id.min() > 2**53
    assert_same(found.pure(), expected.pure(), V_TOLERANCE)


# ---- invariances ----------------------------------------------------------------------------------------------------


def test_slabs_and_order_of_rows_do_not_matter(toy):
    expected = observe_box(*boxes(toy), OBLIQUE, seed=3)
    mixed = [{k: v[np.random.default_rng(1).permutation(len(v))] for k, v in part.items()} for part in toy]
    assert_same(observe_box(*boxes(mixed), OBLIQUE, seed=3), expected)
    sliced = (ArrayBox(box.kind, box.side, box.table, n_slabs=5) for box in boxes(toy))
    assert_same(observe_box(*sliced, OBLIQUE, seed=3), expected)


def test_moving_the_whole_box_changes_nothing(toy):
    shift = {"x": 17.3, "y": 101.0, "z": 62.49}
    moved = [{k: np.mod(v + shift[k], SIDE) if k in shift else v for k, v in part.items()} for part in toy]
    # positions and so R_proj move by rounding only
    assert_same(observe_box(*boxes(moved), OBLIQUE), observe_box(*boxes(toy), OBLIQUE), V_TOLERANCE)


def test_a_common_velocity_of_everything_hardly_changes_velocities(toy):
    drift = [{k: v + 500.0 if k == "vz" else v for k, v in part.items()} for part in toy]
    before, after = (observe_box(*boxes(part), [0, 0, 1], view=EXACT).pure() for part in (toy, drift))
    np.testing.assert_array_equal(before.n_galaxies, after.n_galaxies)
    # velocities compose relativistically, (a - b)/(1 - ab/c^2): 500 * 3000^2/c^2 = .05 km/s
    np.testing.assert_allclose(before.galaxy_column("v_los"), after.galaxy_column("v_los"), atol=0.06)


# ---- lines of sight, ids, attempts ----------------------------------------------------------------------------------


def test_lines_through_one_host_share_its_id_and_stay_on_one_side_of_a_split(toy, tmp_path):
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


def test_massive_hosts_can_have_more_lines_of_sight(toy):
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


def test_attempts_hold_poor_clusters_and_selection_can_be_fitted(toy):
    from clustermocks.selection import fit_selection

    mocks = observe_box(*boxes(toy))
    log10_mass, selected = mocks.attempted()
    assert (~selected).any()
    assert selected.sum() == len(mocks)
    fitted = fit_selection(log10_mass, selected)
    assert fitted(14.5) > 0.9 > 0.5 > fitted(13.0)


def test_estimators_train_on_it(toy):
    from sbi_clustermass import StackedAffine, Training, train

    mocks = observe_box(*boxes(toy), lines_of_sight(6))
    estimator = train(mocks, flow=StackedAffine(hidden=(8,)), training=Training(max_updates=3), device="cpu", seed=1)
    assert np.isfinite(estimator.posterior(mocks).mean).all()
    assert "N-body box" in str(estimator.provenance)


# ---- choices --------------------------------------------------------------------------------------------------------


def test_satellites_only_drop_every_central(toy):
    everyone, satellites = (
        observe_box(*boxes(toy), view=view)
        for view in (EXACT, BoxView(interlopers="satellites", recentre=False, centre_error=0.0))
    )
    lost = np.asarray(everyone.attempts["n_members"]) - np.asarray(satellites.attempts["n_members"])
    assert lost.min() == 1  # its own; other hosts inside R_vir are overlaps of a toy
    assert (everyone.galaxy_column("R_proj") == 0).any()
    assert not (satellites.galaxy_column("R_proj") == 0).any()


def test_members_by_host_are_those_of_the_catalogue(toy):
    haloes, galaxies = toy
    mocks = observe_box(*boxes(toy), [0, 0, 1], view=BoxView(members="halo"))
    number = [np.sum(galaxies["upid"] == i) + 1 for i in np.sort(haloes["id"])]
    np.testing.assert_array_equal(mocks.attempts["n_members"], number)
    np.testing.assert_array_equal(
        mocks.pure().n_galaxies, [n for n, kept in zip(number, mocks.attempted()[1], strict=True) if kept and n >= 10]
    )


def test_an_unknown_virial_radius_is_that_of_a_median_halo(toy):
    haloes = toy[0]
    given = ArrayBox.from_arrays("haloes", SIDE, with_hosts({**haloes, "R_vir": _median_virial(haloes["M200c"])}))
    unknown = ArrayBox.from_arrays("haloes", SIDE, with_hosts({k: v for k, v in haloes.items() if k != "R_vir"}))
    tracers = boxes(toy)[1]
    assert_same(observe_box(unknown, tracers, view=EXACT), observe_box(given, tracers, view=EXACT))


def _median_virial(mass):
    c = concentration(mass, 0.117, MDPL2)
    return radius_200c(mass, 0.117, MDPL2) * radius_ratio(c, bryan_norman_overdensity(0.117, MDPL2))


def test_recentring_and_errors_are_those_of_mocks(toy):
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


def test_centre_errors_differ_between_lines_and_repeat_with_the_seed(toy):
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
    ):
        assert getattr(view, name) == getattr(model, name)
        assert getattr(published, name) == getattr(reproduced, name)


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_a_box_shorter_than_the_cylinder_is_refused_with_the_side_it_needs(toy):
    view = BoxView(velocity_margin=6000.0)
    # 8500 km/s at 94.8 km/s a h^-1 Mpc, on both sides
    assert view.needed_side == pytest.approx(2 * 8500 / 94.8, rel=2e-3)
    with pytest.raises(ValueError, match=f"125 h.-1 Mpc long.*needs {view.needed_side:.1f}"):
        observe_box(*boxes(toy), view=view)
    observe_box(*boxes(toy), view=BoxView(velocity_margin=3400.0))


def test_boxes_that_do_not_belong_together_are_refused(toy):
    hosts, tracers = boxes(toy)
    with pytest.raises(ValueError, match="differ in side"):
        observe_box(hosts, ArrayBox.from_arrays("galaxies", 130.0, with_hosts(toy[1])))
    with pytest.raises(ValueError, match="expected a box of haloes"):
        observe_box(tracers, hosts)


@pytest.mark.parametrize("lines", [[0, 0, 0], [1, 2], [[1, 0, np.nan]], np.empty((0, 3))])
def test_lines_of_sight_that_are_none_are_refused(toy, lines):
    with pytest.raises(ValueError, match="lines of sight"):
        observe_box(*boxes(toy), lines)


def test_a_box_without_hosts_is_refused(toy):
    with pytest.raises(ValueError, match="nothing to observe"):
        observe_box(*boxes(toy), view=BoxView(min_log10_mass=16.0))


@pytest.mark.parametrize(
    "field", [{"interlopers": "none"}, {"members": "fof"}, {"completeness": 1.1}, {"velocity_margin": -1.0}]
)
def test_impossible_views_are_refused_by_name(field):
    with pytest.raises(ValueError, match=next(iter(field))):
        BoxView(**field)


def test_subhaloes_are_not_hosts(toy):
    haloes = toy[0]
    upid = np.where(np.arange(len(haloes["id"])) % 2 == 0, -1, haloes["id"][0])
    hosts = ArrayBox.from_arrays("haloes", SIDE, with_hosts({**haloes, "upid": upid}))
    found = observe_box(hosts, boxes(toy)[1])
    assert set(np.asarray(found.attempts["host_id"])) == set(haloes["id"][upid == -1].tolist())


# ---- real N-body boxes ----------------------------------------------------------------------------------------------


def particles_as_galaxies(side, position, velocity, every=1):
    position, velocity = np.mod(position[::every], side), velocity[::every]
    return ArrayBox.from_arrays("galaxies", side, _columns(position, velocity, central=False))


def _columns(position, velocity, *, central=True):
    ids = np.arange(len(position))
    place = dict(zip(AXES, np.concatenate([position, velocity], axis=1).astype(float).T, strict=True))
    return {**place, "id": ids, "host_id": ids, "is_central": np.full(len(ids), central)}


def dispersion_of_members(catalogue):
    """Root mean square over lines of sight of the members' dispersions, for each host, by host id."""
    pure = catalogue.pure()
    variance = np.array([pure.galaxies(i)[1].var() for i in range(len(pure))])
    return {int(h): np.sqrt(variance[pure.host_id == h].mean()) for h in np.unique(pure.host_id)}


@real
def test_clusters_of_the_small_box_have_their_known_mass_and_dispersion():
    with np.load(FOLDER / "abacus_mini_32mpch.npz") as box:
        position, velocity, hm, hx, hv = (box[name] for name in ("pos", "vel", "hm", "hx", "hv"))
    heaviest = np.argsort(-hm)[:2]
    # shared/data/PROVENANCE.md: log10 M200c, sigma_1D; R200c follows from the mass
    known_mass, known_sigma = np.array([14.027, 13.931]), np.array([516, 479])
    radius = radius_200c(10**known_mass, 0.0, MDPL2)
    assert radius[0] == pytest.approx(0.770, abs=0.001)
    columns = {**_columns(np.mod(hx[heaviest], 32), hv[heaviest]), "M200c": 10**known_mass, "R_vir": radius}
    hosts = ArrayBox.from_arrays("haloes", 32.0, columns)
    observation = Observation(redshift=0.001, v_cut=1400.0)  # z = 0, as near as a redshift can be
    view = BoxView(observation, recentre=False, centre_error=0.0, velocity_margin=90.0)
    tracers = particles_as_galaxies(32.0, position, velocity)
    sigma = dispersion_of_members(observe_box(hosts, tracers, lines_of_sight(3), view=view))
    # rtol: the Hubble flow across the halo adds 1 %, the boundary of the halo is known to 1 % of R200c
    np.testing.assert_allclose([sigma[0], sigma[1]], known_sigma, rtol=0.03)
    with pytest.raises(ValueError, match=r"32 h.-1 Mpc long.*needs"):
        observe_box(hosts, tracers)


@pytest.fixture(scope="module")
def large_box():
    """Haloes and particles of the 62.5 h^-1 Mpc run."""
    with np.load(FOLDER / "box_62p5mpch_haloes.npz") as haloes, np.load(FOLDER / "box_62p5mpch_particles.npz") as box:
        whole = np.isfinite(haloes["vel_main"]).all(axis=1)
        columns = _columns(haloes["pos"][whole], haloes["vel_main"][whole])
        columns |= {"M200c": haloes["M200c"][whole], "R_vir": haloes["R200c"][whole]}
        return columns, box["pos"], box["vel"]


VIEW = BoxView(
    Observation(redshift=0.1172), recentre=False, centre_error=0.0, velocity_margin=400.0, min_log10_mass=14.0
)


@real
def test_the_large_box_agrees_with_its_particles_in_three_dimensions(large_box):
    columns, position, velocity = large_box
    hosts = ArrayBox.from_arrays("haloes", 62.5, columns)
    mocks = observe_box(hosts, particles_as_galaxies(62.5, position, velocity), lines_of_sight(3), view=VIEW)
    sigma = dispersion_of_members(mocks)
    assert len(sigma) == 5
    for host, found in sigma.items():
        centre = [columns[axis][host] for axis in "xyz"]
        inside = np.linalg.norm((position - centre + 31.25) % 62.5 - 31.25, axis=1) < columns["R_vir"][host]
        members = set(np.asarray(mocks.attempts["n_members"])[np.asarray(mocks.attempts["host_id"]) == host])
        assert members == {inside.sum()}
        # 2 %: the Hubble flow across a halo, 95 km/s times half a h^-1 Mpc, and infall that goes with it
        assert found == pytest.approx(np.sqrt(velocity[inside].var(axis=0).mean()), rel=0.02)
        # Evrard et al. 2008: sigma of dark matter at M200c, scatter 4 %; 15 % for 2000 particles a halo
        h = MDPL2.hubble(0.1172) / 100
        assert found == pytest.approx(1082.9 * (h * columns["M200c"][host] / 1e15) ** 0.3361, rel=0.15)


@real
def test_thinned_particles_contaminate_as_measured(large_box):
    columns, position, velocity = large_box
    hosts = ArrayBox.from_arrays("haloes", 62.5, columns)
    tracers = particles_as_galaxies(62.5, position, velocity, every=44)  # .0244 a cubic h^-1 Mpc
    attempts = observe_box(hosts, tracers, lines_of_sight(9), view=VIEW).attempts
    members, everyone = np.asarray(attempts["n_members"]).mean(), np.asarray(attempts["n_galaxies"]).mean()
    # science.md 4.3: members inside r200c are .49 of the cylinder at 10^14, .63 at 10^14.5; here five haloes of 10^14.0
    # to 10^14.2 in one small box, some in groups: .1
    assert members / everyone == pytest.approx(0.53, abs=0.1)
    assert everyone - members > 10.4  # the mean density alone

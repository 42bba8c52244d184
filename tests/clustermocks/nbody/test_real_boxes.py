"""Real N-body boxes: clusters of known mass and velocity dispersion, seen through `observe_box`."""

import numpy as np
import pytest

from clustermocks import MDPL2, BoxView, Observation, lines_of_sight, observe_box
from clustermocks.haloes.cosmology import radius_200c
from clustermocks.nbody import ArrayBox
from tests.paths import SHARED

FOLDER = SHARED / "data" / "nbody_formats"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the N-body boxes are not here")
AXES = ("x", "y", "z", "vx", "vy", "vz")
PARTICLE_MASS = 7.93642995e10  # of the large box [h^-1 Msun]


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
    # the known values have three digits; the Hubble flow across the halo moves the dispersion by .3 %
    np.testing.assert_allclose([sigma[0], sigma[1]], known_sigma, rtol=0.005)
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
        # M200c by counting: the file's masses are counts of particles too, held in single precision
        assert inside.sum() * PARTICLE_MASS == pytest.approx(columns["M200c"][host], rel=1e-6)
        # .6 %: the Hubble flow across a halo, and infall that goes with it, move the dispersion by up to .4 %
        assert found == pytest.approx(np.sqrt(velocity[inside].var(axis=0).mean()), rel=0.006)
        # Evrard et al. 2008: sigma of dark matter at M200c scatters by 4 %; 9 % is two of it
        h = MDPL2.hubble(0.1172) / 100
        assert found == pytest.approx(1082.9 * (h * columns["M200c"][host] / 1e15) ** 0.3361, rel=0.09)


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

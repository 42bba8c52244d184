"""The simulator at any redshift: haloes, distances and neighbouring galaxies agree with other libraries."""

from typing import Any

import astropy.cosmology
import numpy as np
import pytest
from colossus.cosmology import cosmology as colossus
from colossus.halo import concentration, mass_defs, mass_so
from colossus.lss.mass_function import massFunction
from colossus.utils.storage import StorageUser
from scipy.integrate import quad

from clustermocks import MDPL2, HaloModel, Observation
from clustermocks.haloes.cosmology import (
    concentration as our_concentration,
    mass_function,
    radius_200c,
    virial_velocity,
)
from clustermocks.haloes.mergers import NONE
from clustermocks.haloes.satellites import HaloGalaxies
from clustermocks.haloes.triaxiality import SPHERES

FlatLambdaCDM: Any = astropy.cosmology.FlatLambdaCDM  # its signature is hidden from type checkers
SKY = FlatLambdaCDM(H0=100, Om0=MDPL2.Om0, Tcmb0=0)  # distances in h^-1 Mpc
MASSES = np.array([1e13, 1e14, 1e15])
REDSHIFTS = (0.03, 0.117, 0.3, 0.8)


@pytest.fixture(autouse=True)
def same_cosmology(monkeypatch):
    """Colossus with the mocks' parameters and without files, and whatever it was before afterwards."""
    monkeypatch.setattr(concentration, "storageUser", StorageUser("", "", str, str, None))
    before = colossus.current_cosmo
    named = {"flat": True, "H0": 67.77, "Om0": 0.307115, "Ob0": 0.048206, "sigma8": 0.8228, "ns": 0.96}
    colossus.setCosmology("of the tests", params=named, relspecies=False, persistence="")
    yield
    colossus.current_cosmo = before


@pytest.mark.parametrize("z", REDSHIFTS)
def test_sizes_numbers_and_concentrations_of_haloes_are_those_of_colossus(z):
    physical = mass_so.M_to_R(MASSES, z, "200c") / 1000  # from h^-1 kpc
    np.testing.assert_allclose(radius_200c(MASSES, z, MDPL2), physical * (1 + z), rtol=1e-3)  # its G has 4 digits
    theirs = massFunction(MASSES, z, mdef="200c", model="despali16", q_out="dndlnM") * np.log(10)
    np.testing.assert_allclose(mass_function(MASSES, z, MDPL2, model="despali16"), theirs, rtol=1e-6)
    c = concentration.concentration(MASSES, "200c", z, model="diemer19")
    np.testing.assert_allclose(our_concentration(MASSES, z, MDPL2), c, rtol=1e-6)


@pytest.mark.parametrize("z", REDSHIFTS)
def test_expansion_and_distances_are_those_of_astropy(z):
    np.testing.assert_allclose(MDPL2.hubble(z), SKY.H(z).value, rtol=1e-9)
    np.testing.assert_allclose(MDPL2.comoving_distance(z), SKY.comoving_distance(z).value, rtol=1e-9)
    in_physical = 10 * 4.30091e-9 * SKY.H(z).value * MASSES  # V^3 = 10 G H M (Mo, Mao & White 1998, eq. 2)
    np.testing.assert_allclose(virial_velocity(MASSES, z, MDPL2), np.cbrt(in_physical), rtol=1e-9)


def members(z):
    galaxies = HaloGalaxies(velocity_scatter=0.0, concentration_scatter=0.0, shapes=SPHERES, mergers=NONE)
    model = HaloModel(
        observation=Observation(redshift=z), interlopers="satellites", recentre=False, centre_error=0.0,
        galaxies=galaxies,
    )  # fmt: skip
    return model.simulate(np.full(300, 14.0), seed=1).pure()


def test_members_of_one_mass_move_faster_with_the_third_root_of_e_of_z():
    low, high = members(0.03), members(0.8)
    ratio = high.galaxy_column("v_los").std() / low.galaxy_column("v_los").std()
    # 300 clusters of 28 members: .8 % each; concentrations of 4.4 and 3.6 move dispersions by 2 %
    assert ratio == pytest.approx(float(SKY.efunc(0.8) / SKY.efunc(0.03)) ** (1 / 3), rel=0.03)
    sizes = high.galaxy_column("R_proj").mean() / low.galaxy_column("R_proj").mean()
    assert sizes == pytest.approx(mean_radius(0.8) / mean_radius(0.03), rel=0.03)  # 1 % each by chance


def mean_radius(z):
    """Of NFW galaxies of concentration 2.6 inside the virial radius of a halo of 10^14 [h^-1 Mpc], by quadrature."""
    c = concentration.concentration(1e14, "200c", z, model="diemer19")
    edge = mass_defs.changeMassDefinition(1e14, c, z, "200c", "vir")[1] / mass_so.M_to_R(1e14, z, "200c")
    weight, total = (quad(lambda x, n=n: x**n / (1 + 2.6 * x) ** 2, 0, edge)[0] for n in (2, 1))
    return radius_200c(1e14, z, MDPL2) * weight / total


@pytest.mark.parametrize("z", [0.03, 0.8])
def test_far_from_a_light_cluster_are_as_many_galaxies_as_the_comoving_density_has(z):
    observation = Observation(redshift=z, aperture=10.0, min_galaxies=0)
    model = HaloModel(observation=observation, centre_error=0.0, recentre=False)
    mocks = model.simulate(np.full(60, 12.5), seed=2)
    ring = mocks.galaxy_column("R_proj") > 8
    length = 2 * 2500 * (1 + z) / float(SKY.H(z).value)  # comoving h^-1 Mpc between -v_cut and v_cut
    uniform = 0.0245 * np.pi * (10**2 - 8**2) * length
    # clustering adds b b' xi averaged over 50 h^-1 Mpc of depth, a tenth at 9 h^-1 Mpc; 60 pillars know the mean to 5 %
    assert 0.9 * uniform < ring.sum() / len(mocks) < 1.3 * uniform

"""NFW haloes against colossus and against quadrature of the potential."""

import numpy as np
import pytest
from scipy.integrate import quad

from clustermocks.haloes.cosmology import MDPL2, G, radius_200c
from clustermocks.haloes.nfw import enclosed_mass, escape_velocity, mass_ratio, radius_500c

MASS = np.array([[10**13.5], [10**15.2]])
C = np.array([1.5, 4.0, 12.0])
REDSHIFT = np.array([[0.02], [0.45]])


@pytest.fixture
def colossus():
    from clustermocks.haloes.cosmology import _colossus

    with _colossus(MDPL2):
        yield


@pytest.mark.usefixtures("colossus")
@pytest.mark.parametrize("overdensity", [100, 500, 2000])
def test_mass_and_radius_of_other_overdensities_agree_with_colossus(overdensity):
    from colossus.halo.mass_defs import changeMassDefinition

    for mass, z in zip(MASS[:, 0], REDSHIFT[:, 0], strict=True):
        M, R, _ = changeMassDefinition(np.full(3, mass), C, z, "200c", f"{overdensity}c")
        # rtol: colossus finds its root in a table
        np.testing.assert_allclose(mass * mass_ratio(C, overdensity), M, rtol=2e-4)
        if overdensity == 500:  # colossus: physical h^-1 kpc; G of both differ in the sixth digit
            np.testing.assert_allclose(radius_500c(mass, C, z, MDPL2), R / 1e3 * (1 + z), rtol=1e-4)


@pytest.mark.usefixtures("colossus")
def test_the_enclosed_mass_agrees_with_colossus():
    from colossus.halo.profile_nfw import NFWProfile

    radius = np.geomspace(0.01, 3, 7)
    ours = enclosed_mass(radius, MASS[..., None], C[:, None], REDSHIFT[..., None], MDPL2)
    for i, (mass, z) in enumerate(zip(MASS[:, 0], REDSHIFT[:, 0], strict=True)):
        for j, c in enumerate(C):
            theirs = NFWProfile(M=mass, c=c, z=z, mdef="200c").enclosedMass(1e3 * radius / (1 + z))
            np.testing.assert_allclose(ours[i, j], theirs, rtol=1e-5)  # G of both differ in the sixth digit


def test_the_mass_inside_r500c_is_m500c_and_500_times_the_critical_density():
    inside = enclosed_mass(radius_500c(MASS, C, REDSHIFT, MDPL2), MASS, C, REDSHIFT, MDPL2)
    np.testing.assert_allclose(inside, MASS * mass_ratio(C, 500), rtol=1e-12)
    physical = radius_500c(MASS, C, REDSHIFT, MDPL2) / (1 + REDSHIFT)
    density = 3 * MDPL2.hubble(REDSHIFT) ** 2 / (8 * np.pi * G)
    np.testing.assert_allclose(inside / (4 / 3 * np.pi * physical**3 * density), 500, rtol=1e-12)


def test_the_escape_velocity_is_that_of_the_force_integrated_to_infinity():
    mass, c, z, radius = 10**14.6, 5.0, 0.3, np.array([0.02, 0.3, 1.0, 4.0])

    def work(ln_r):  # G M / r of physical r [(km/s)^2]: the force, per ln r
        return G * enclosed_mass(np.exp(ln_r), mass, c, z, MDPL2) / np.exp(ln_r) * (1 + z)

    energy = [quad(work, np.log(r), np.log(r) + 35, epsrel=1e-10)[0] for r in radius]
    # rtol: of the work, 30 e^-35 is done beyond
    np.testing.assert_allclose(escape_velocity(radius, mass, c, z, MDPL2), np.sqrt(2 * np.array(energy)), rtol=1e-9)


def test_the_circular_velocity_at_r200c_is_below_the_escape_velocity_by_the_closed_form():
    r = radius_200c(MASS, REDSHIFT, MDPL2)
    circular = np.sqrt(G * MASS / r * (1 + REDSHIFT))
    c = C / (np.log1p(C) - C / (1 + C))
    ratio = escape_velocity(r, MASS, C, REDSHIFT, MDPL2) / circular
    np.testing.assert_allclose(ratio, np.broadcast_to(np.sqrt(2 * np.log1p(C) * c / C), ratio.shape), rtol=1e-12)

"""Distances against astropy, haloes against published numbers and root finding, colossus' global state left alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq

from clustermocks.haloes.cosmology import (
    CRITICAL_DENSITY,
    MDPL2,
    Cosmology,
    bryan_norman_overdensity,
    concentration,
    halo_bias,
    mass_function,
    nfw_mass,
    radius_200c,
    truncation_radius,
    virial_ratio,
    virial_velocity,
)

MASSES = 10 ** np.array([13.5, 14.0, 14.5, 15.0])
REDSHIFT = 0.117


def test_comoving_distance_and_hubble_rate_agree_with_astropy():
    import astropy.cosmology

    FlatLambdaCDM: Any = astropy.cosmology.FlatLambdaCDM  # its signature is hidden from type checkers
    reference = FlatLambdaCDM(H0=100, Om0=MDPL2.Om0, Tcmb0=0)
    z = np.array([0, 1e-4, 0.117, 1.0, 9.0])
    # rtol: both are a closed form in float64; atol: two numbers of 3000 are subtracted
    np.testing.assert_allclose(MDPL2.comoving_distance(z), reference.comoving_distance(z).value, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(MDPL2.hubble(z), reference.H(z).value, rtol=1e-13)
    np.testing.assert_allclose(MDPL2.matter_fraction(z), reference.Om(z), rtol=1e-12)


@given(z=st.floats(0, 9.9), Om0=st.floats(0.1, 0.9))
def test_redshift_at_inverts_the_comoving_distance(z, Om0):
    cosmology = Cosmology(Om0=round(Om0, 1))  # few cosmologies: each builds a spline
    distance = cosmology.comoving_distance(z)
    # 1e-12 in redshift is 3e-7 km/s, under the 1e-6 km/s that velocities promise
    assert cosmology.redshift_at(distance) == pytest.approx(z, abs=1e-12)
    assert cosmology.redshift_at(-distance) == pytest.approx(-z, abs=1e-12)


def test_redshift_beyond_the_table_is_refused_with_the_unit():
    with pytest.raises(ValueError, match=r"beyond redshift 10.*comoving"):
        MDPL2.redshift_at(1e5)


@pytest.mark.parametrize("fields", [{"Om0": -0.3}, {"Om0": 1.2}, {"h": np.nan}, {"Ob0": 0.4}])
def test_impossible_cosmologies_are_refused(fields):
    with pytest.raises(ValueError, match="Cosmology"):
        Cosmology(**fields)


def test_halo_sizes_speeds_and_bias_agree_with_the_science_notes():
    # half a unit of the last digit in which the notes give the numbers
    np.testing.assert_allclose(radius_200c(MASSES, REDSHIFT, MDPL2), [0.553, 0.812, 1.191, 1.749], atol=6e-4)
    np.testing.assert_allclose(virial_velocity(MASSES, REDSHIFT, MDPL2), [524, 769, 1129, 1657], atol=0.6)
    np.testing.assert_allclose(concentration(MASSES, REDSHIFT, MDPL2), [4.92, 4.29, 3.87, 3.75], atol=0.01)
    np.testing.assert_allclose(halo_bias(MASSES, REDSHIFT, MDPL2), [1.68, 2.44, 3.92, 7.07], rtol=0.005)


def test_sphere_of_radius_200c_holds_the_mass():
    radius = radius_200c(MASSES, REDSHIFT, MDPL2) / (1 + REDSHIFT)
    density = 200 * CRITICAL_DENSITY * (MDPL2.hubble(REDSHIFT) / 100) ** 2
    np.testing.assert_allclose(4 / 3 * np.pi * radius**3 * density, MASSES, rtol=1e-12)  # same float64 formula


@given(c=st.floats(0.5, 60))
def test_virial_ratio_is_the_root_that_brentq_finds(c):
    wanted = bryan_norman_overdensity(REDSHIFT, MDPL2)
    root = brentq(lambda y: 200 * nfw_mass(c * y) / nfw_mass(c) / y**3 - wanted, 1, 3, xtol=1e-13)
    assert virial_ratio(c, REDSHIFT, MDPL2) == pytest.approx(root, rel=1e-10)  # brentq's tolerance


def test_virial_ratio_and_truncation_radius_agree_with_colossus():
    from colossus.cosmology import cosmology
    from colossus.halo import mass_defs
    from colossus.lss import peaks

    c = concentration(MASSES, REDSHIFT, MDPL2)
    parameters = {"flat": True, "H0": 67.77, "Om0": MDPL2.Om0, "Ob0": MDPL2.Ob0, "sigma8": MDPL2.sigma8, "ns": MDPL2.ns}
    cosmology.setCosmology("mdpl2", params={**parameters, "relspecies": False}, persistence="")
    r_200c = mass_defs.changeMassDefinition(MASSES, c, REDSHIFT, "200c", "200c")[1]
    R_vir = mass_defs.changeMassDefinition(MASSES, c, REDSHIFT, "200c", "vir")[1]
    M200m, R200m, _ = mass_defs.changeMassDefinition(MASSES, c, REDSHIFT, "200c", "200m")
    r_t = (1.9 - 0.18 * peaks.peakHeight(M200m, REDSHIFT)) * R200m
    np.testing.assert_allclose(virial_ratio(c, REDSHIFT, MDPL2), R_vir / r_200c, rtol=1e-4)  # colossus interpolates
    np.testing.assert_allclose(truncation_radius(MASSES, REDSHIFT, MDPL2), r_t / r_200c, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "counts"),
    [
        ("tinker08", [90_965, 16_602, 1_647, 47]),
        ("despali16", [90_444, 16_819, 1_804, 65]),
        ("bocquet16", [78_956, 15_338, 1_580, 44]),
    ],
)
def test_mass_function_counts_agree_with_the_science_notes(model, counts):
    def number(low):
        return quad(lambda x: float(mass_function(10**x, REDSHIFT, MDPL2, model=model)), low, 16.5, epsrel=1e-6)[0]

    found = [1e9 * number(low) for low in np.log10(MASSES)]
    np.testing.assert_allclose(found, counts, rtol=0.05)  # the acceptance tolerance; the last count is known to 1 %


def test_unknown_mass_function_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"tinker8.*tinker08"):
        mass_function(1e14, REDSHIFT, MDPL2, model="tinker8")


def test_colossus_cosmology_of_the_caller_survives():
    from colossus.cosmology import cosmology

    cosmology.setCosmology("planck15", persistence="")
    halo_bias(MASSES, REDSHIFT, MDPL2)
    assert cosmology.getCurrent().name == "planck15"

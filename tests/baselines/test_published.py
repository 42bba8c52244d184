"""Published relations against their formulae, written down in Msun with astropy's Hubble rate."""

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM

from clustermocks import Catalogue, Cosmology, Observation
from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass.baselines import PublishedMSigma, evrard2008, munari2013, saro2013

OTHER = Cosmology(Om0=0.3, h=0.7)


def hubble(redshift, cosmology):
    """H(z) / (100 km/s/Mpc)."""
    return FlatLambdaCDM(H0=100 * cosmology.h, Om0=cosmology.Om0, Tcmb0=0).H(redshift).value / 100


@pytest.mark.parametrize("cosmology", [MDPL2, OTHER])
@pytest.mark.parametrize("redshift", [0.0, 0.117, 0.8])
@pytest.mark.parametrize(("relation", "amplitude", "slope"), [(evrard2008, 1082.9, 0.3361), (munari2013, 1177, 0.364)])
def test_power_laws_of_h_z_mass_in_solar_masses(relation, amplitude, slope, redshift, cosmology):
    msun = 4e14
    expected = amplitude * (hubble(redshift, cosmology) * msun / 1e15) ** slope
    line = relation(redshift, cosmology)
    assert 10 ** line(np.log10(msun * cosmology.h)) == pytest.approx(expected, rel=1e-9)  # rounding


@pytest.mark.parametrize("cosmology", [MDPL2, OTHER])
@pytest.mark.parametrize("redshift", [0.0, 0.117, 0.8])
def test_saro2013_gives_masses_in_solar_masses(redshift, cosmology):
    sigma = 700.0
    msun = 1e15 * (sigma / (939 * (hubble(redshift, cosmology) / 0.7) ** 0.33)) ** 2.91
    found = saro2013(redshift, cosmology).inverse(np.log10(sigma))
    assert found == pytest.approx(np.log10(msun * cosmology.h), abs=1e-9)  # rounding


def test_evrard2008_gives_the_published_normalisation_at_the_redshift_of_the_mocks():
    local = evrard2008(0.0, Cosmology(h=0.7))
    assert 10 ** local(15.0) == pytest.approx(1082.9)  # h(0) M in Msun is M in h^-1 Msun
    # 1104 km/s at 10^15 and 509 at 10^14, as computed independently, to 1 km/s
    there = evrard2008(0.117)
    assert 10 ** there(15.0) == pytest.approx(1104, abs=0.6)
    assert 10 ** there(14.0) == pytest.approx(509, abs=0.6)


def test_the_three_relations_agree_as_well_as_velocity_bias_is_known():
    """Galaxies are at most a tenth faster or slower than dark matter (the abstract of Munari et al. 2013)."""
    for mass in (14.3, 14.7, 15.0):
        sigma = 10 ** np.array([relation(0.1, MDPL2)(mass) for relation in (evrard2008, munari2013, saro2013)])
        assert np.ptp(sigma) / sigma.mean() < 0.2


def of_dispersion(sigma, n, redshift):
    """One cluster of n galaxies with an exact standard deviation."""
    v_los = np.random.default_rng(1).normal(size=n)
    v_los = (v_los - v_los.mean()) * sigma / v_los.std(ddof=1)
    return Catalogue.from_arrays(
        Observation(redshift=redshift, v_cut=20_000.0),
        OTHER,
        clusters={"log10_mass": np.array([np.nan]), "host_id": np.array([0])},
        galaxies={"R_proj": np.full(n, 0.5), "v_los": v_los},
        offsets=np.array([0, n]),
    )


def test_masses_are_those_at_the_clusters_own_redshift_and_cosmology_whatever_the_mocks():
    cluster = of_dispersion(800.0, 40, 0.5)
    found = PublishedMSigma(saro2013).fit(of_dispersion(500.0, 20, 0.1)).predict(cluster).log10_mass
    assert found == pytest.approx(saro2013(0.5, OTHER).inverse(np.log10(800.0)), abs=1e-6)  # float32 velocities


def test_the_error_is_that_of_the_relation_for_many_galaxies_and_shot_noise_for_few():
    many = PublishedMSigma(evrard2008).predict(of_dispersion(800.0, 100_000, 0.1)).std
    assert many == pytest.approx(0.0426 / np.log(10) / 0.3361, rel=0.01)  # of shot noise, .002 of .043 in square
    few = PublishedMSigma(evrard2008).predict(of_dispersion(800.0, 10, 0.1)).std
    # the error of a standard deviation of 10 velocities, from draws of which it is
    draws = np.random.default_rng(2).normal(size=(20_000, 10)).std(axis=1, ddof=1)
    # a logarithm's deviation is not quite the standard deviation's: 4 % for 10 galaxies
    assert few == pytest.approx(np.hypot(np.std(np.log10(draws)), 0.0426 / np.log(10)) / 0.3361, rel=0.08)


def test_a_relation_without_known_scatter_has_no_error():
    assert PublishedMSigma(munari2013).predict(of_dispersion(800.0, 40, 0.1)).std is None

"""The mass function of a cosmology against colossus, scipy and finer tables."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from colossus.lss.mass_function import massFunction
from scipy.integrate import quad

from clustermocks.haloes.cosmology import (
    CRITICAL_DENSITY,
    MDPL2,
    _colossus,
    mass_function,
    mass_variance,
)
from sbi_clustermass.population import CosmologyMassFunction
from sbi_clustermass.population.masses import variance

MASSES = np.linspace(12.5, 15.6, 63)
REDSHIFTS = np.array([0.05, 0.117, 0.3, 0.8])


def found(Om0, sigma8, *, masses=MASSES, redshifts=REDSHIFTS, model=None):
    parameters = {"Om0": torch.as_tensor(np.float64(Om0)), "sigma8": torch.as_tensor(np.float64(sigma8))}
    model = model or CosmologyMassFunction()
    return model.log_density(torch.as_tensor(masses), parameters, torch.as_tensor(redshifts)).numpy()


def random_cosmologies(n, seed):
    rng = np.random.default_rng(seed)
    pairs = np.column_stack([rng.uniform(0.1, 0.6, n), rng.uniform(0.5, 1.2, n)])
    return [replace(MDPL2, Om0=Om0, sigma8=sigma8) for Om0, sigma8 in pairs.tolist()]


def redshift_of(overdensity):
    """Redshift in MDPL2 at which 200 times the critical density is so many times the mean."""
    return float(np.cbrt((1 / MDPL2.Om0 - 1) / (overdensity / 200 - 1)) - 1)


def ccl_cosmology():
    """MDPL2 without radiation, by CCL."""
    import pyccl as ccl

    densities = {"Omega_c": MDPL2.Om0 - MDPL2.Ob0, "Omega_b": MDPL2.Ob0, "Omega_g": 0.0, "Neff": 0.0, "T_ncdm": 0.0}
    return ccl.Cosmology(
        **densities, h=MDPL2.h, sigma8=MDPL2.sigma8, n_s=MDPL2.ns, T_CMB=2.7255, transfer_function="eisenstein_hu"
    )


@pytest.mark.parametrize("cosmology", random_cosmologies(8, seed=1))
def test_it_is_the_simulators_mass_function(cosmology):
    log_phi = found(cosmology.Om0, cosmology.sigma8)
    for z, row in zip(REDSHIFTS, log_phi, strict=True):
        expected = np.log(mass_function(10**MASSES, z, cosmology))
        np.testing.assert_allclose(row, expected, atol=1e-4)  # 2e-5 of interpolation in Om, slopes of sigma to 1e-5


@pytest.mark.slow
def test_interpolation_leaves_under_a_tenth_of_a_percent_at_1000_random_cosmologies():
    worst = 0.0
    for cosmology in random_cosmologies(1000, seed=2):
        log_phi = found(cosmology.Om0, cosmology.sigma8, redshifts=REDSHIFTS[:1])[0]
        expected = np.log(mass_function(10**MASSES, REDSHIFTS[0], cosmology))
        worst = max(worst, float(np.abs(log_phi - expected).max()))
    print(f"largest interpolation error {worst:.1e}")
    assert worst < 1e-3


def test_it_is_the_mass_function_of_colossus_where_the_overdensity_is_tabulated():
    """colossus interpolates otherwise between tabulated overdensities: here they are 400 and 600."""
    redshifts = np.array([redshift_of(overdensity) for overdensity in (400, 600)])
    log_phi = found(MDPL2.Om0, MDPL2.sigma8, redshifts=redshifts)
    for z, row in zip(redshifts, log_phi, strict=True):
        with _colossus(MDPL2):
            theirs = massFunction(10**MASSES, z, mdef="200c", model="tinker08", q_out="dndlnM")
        expected = np.log(np.log(10) * theirs)
        # colossus' interpolated sigma is off by .1 %, times 2 c / sigma^2 = 20 at 10^15.6
        np.testing.assert_allclose(row, expected, atol=2.5e-2)
        np.testing.assert_allclose(row[MASSES < 14.5], expected[MASSES < 14.5], atol=4e-3)  # times 4


def test_it_is_the_mass_function_of_ccl():
    ccl = pytest.importorskip("pyccl")
    theirs = ccl.halos.MassFuncTinker08(mass_def=ccl.halos.MassDef(200, "critical"))
    tabulated = [redshift_of(400), redshift_of(300)]
    redshifts, masses = np.array([*tabulated, *REDSHIFTS]), np.linspace(13, 15.5, 26)
    log_phi = found(MDPL2.Om0, MDPL2.sigma8, masses=masses, redshifts=redshifts)
    expected = [np.log(theirs(ccl_cosmology(), 10**masses / MDPL2.h, 1 / (1 + z)) / MDPL2.h**3) for z in redshifts]
    differences = np.abs(log_phi - np.array(expected))
    np.testing.assert_array_less(differences[:2], 2e-3)  # its sigma is good to 1e-4, times 20 at 10^15.5
    np.testing.assert_array_less(differences[2:], 2e-2)  # it interpolates linearly in log overdensity between these


def test_variance_is_that_of_colossus_integral():
    masses = np.array([1e13, 1e14, 1e15])
    sigma, slope = mass_variance(masses, MDPL2)
    radius = np.cbrt(3 * masses / (4 * np.pi * CRITICAL_DENSITY * MDPL2.Om0))
    with _colossus(MDPL2) as current:
        current.interpolation = False
        try:
            expected = np.array([float(current.sigma(r, 0.0)) for r in radius])
        finally:
            current.interpolation = True
    np.testing.assert_allclose(sigma, expected, rtol=2e-4)  # what colossus' direct integral is good to
    assert float(mass_variance(4 / 3 * np.pi * 512 * CRITICAL_DENSITY * MDPL2.Om0, MDPL2)[0]) == pytest.approx(
        MDPL2.sigma8, rel=1e-9
    )
    step = 1e-4
    ends = [np.log(mass_variance(masses * np.exp(s), MDPL2)[0]) for s in (-step, step)]
    np.testing.assert_allclose(slope, (ends[1] - ends[0]) / (2 * step), rtol=1e-5)


def test_table_does_not_change_with_more_nodes(monkeypatch):
    grid, few = np.linspace(0.11, 0.59, 25), slice(None, None, 6)
    coarse = np.array([found(Om0, 0.8)[:, few] for Om0 in grid])
    monkeypatch.setattr(variance, "_EISENSTEIN_HU_NODES", (40, 0))
    monkeypatch.setattr(variance, "_GROWTH_NODES", (40, 0))
    others = np.append(REDSHIFTS, 1.5)  # a table of its own, which no other test finds in the cache
    fine = np.array([found(Om0, 0.8, masses=MASSES[few], redshifts=others)[: len(REDSHIFTS)] for Om0 in grid])
    np.testing.assert_allclose(coarse, fine, atol=2e-5)  # as the docstring says


def test_masses_of_another_overdensity_are_fewer():
    wide = found(0.3, 0.8, model=CosmologyMassFunction())
    dense = found(0.3, 0.8, model=CosmologyMassFunction(overdensity=500.0))
    assert np.all(dense < wide)


def test_number_of_clusters_is_the_known_one():
    """Haloes of Tinker et al. 2008 above 10^14 in a cubic Gpc/h of MDPL2 at z = .3116: 12729 by colossus."""
    masses = np.linspace(14, 16, 101)  # the trapezoid rule on .02 dex: 4e-4
    log_phi = found(MDPL2.Om0, MDPL2.sigma8, masses=masses, redshifts=np.array([redshift_of(400)]))[0]
    assert 1e9 * np.trapezoid(np.exp(log_phi), masses) == pytest.approx(12729, rel=5e-3)


@pytest.mark.parametrize(
    "bad", [{"Om0": (0.03, 0.5)}, {"Om0": (0.1, 1.2)}, {"sigma8": (0.0, 1.0)}, {"sigma8": (1.0, 0.8)}]
)
def test_impossible_cosmologies_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        CosmologyMassFunction(**bad)


def test_masses_above_the_mean_density_integrate_to_no_more_than_all_matter():
    """Sum over haloes of M dn must stay below the matter density, whatever the masses."""
    masses = np.linspace(10, 16, 31)
    log_phi = found(0.3, 0.8, masses=masses, redshifts=np.array([0.05]))[0]
    mass_density = np.trapezoid(10**masses * np.exp(log_phi), masses)
    assert 0.2 < mass_density / (CRITICAL_DENSITY * 0.3) < 1.0


def test_volume_integral_agrees_with_quad():
    from sbi_clustermass.population import Survey

    survey = Survey.of_sky(2500, [0.25, 0.6, 1.0])
    area = 2500 * (np.pi / 180) ** 2
    for shell, (low, high) in zip(survey.shells, [(0.25, 0.6), (0.6, 1.0)], strict=True):
        expected, _ = quad(lambda z: area * MDPL2.comoving_distance(z) ** 2 * 299_792.458 / MDPL2.hubble(z), low, high)
        assert shell.volume == pytest.approx(expected, rel=1e-10)


def test_S8_of_the_draws_is_that_of_the_cosmology():
    for cosmology in (MDPL2, replace(MDPL2, Om0=0.25, sigma8=0.9)):
        at = {name: torch.tensor(getattr(cosmology, name), dtype=torch.float64) for name in ("Om0", "sigma8")}
        assert float(CosmologyMassFunction().derived(at)["S8"]) == pytest.approx(cosmology.S8, rel=1e-14)

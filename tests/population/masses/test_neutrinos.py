"""Spectra of CAMB in the mass function: massive neutrinos, and the transfer function, against CAMB's own integrals."""

import numpy as np
import pytest
import torch

from clustermocks.haloes.cosmology import CRITICAL_DENSITY, MDPL2
from sbi_clustermass.population import CosmologyMassFunction
from sbi_clustermass.population.masses import variance
from sbi_clustermass.population.masses.variance import Ranges, variance_table
from tests.clustermocks.haloes.tinker_2008 import multiplicity

camb = pytest.importorskip("camb")

M_NU, W, Om0, SIGMA8 = 0.3, -0.8, 0.3, 0.8
GRID, Z = np.linspace(13, 15.4, 7), np.array([0.07, 0.45, 1.1])  # between the tabulated redshifts
H2 = MDPL2.h**2


def at(**values):
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


@pytest.fixture(scope="module")
def few_nodes():
    """Tables over narrow ranges need few spectra, which take a second each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variance, "_CAMB_NODES", (3, 3))
        patch.setattr(variance, "_GROWTH_NODES", (3, 6))
        yield


@pytest.fixture(scope="module")
def masses(few_nodes):
    return CosmologyMassFunction(Om0=(0.29, 0.31), m_nu=(0.25, 0.35), w=(-0.9, -0.7), transfer="camb")


@pytest.fixture(scope="module")
def settings():
    """Settings of CAMB, dark energy included."""
    found = camb.CAMBparams(WantCls=False, NonLinear=camb.model.NonLinear_none)
    neutrinos = {"mnu": M_NU, "num_massive_neutrinos": 3, "neutrino_hierarchy": "degenerate"}
    found.set_cosmology(H0=100 * MDPL2.h, ombh2=MDPL2.Ob0 * H2, omch2=0.1, **neutrinos)
    found.omch2 = (Om0 - MDPL2.Ob0) * H2 - found.omnuh2
    found.set_dark_energy(w=W)
    found.InitPower.set_params(ns=MDPL2.ns)
    found.set_matter_power(redshifts=[*Z[::-1], 0.0], kmax=30.0, silent=True)
    return found


@pytest.fixture(scope="module")
def variances(settings):
    """sigma of cold dark matter and baryons for sigma8 = .8 of all matter, and -d ln sigma / d ln M, (shell, mass)."""
    results = camb.get_results(settings)
    clustering, step = Om0 - results.Params.omnuh2 / H2, 1e-2
    radius = np.cbrt(3 * 10**GRID / (4 * np.pi * CRITICAL_DENSITY * clustering))
    radii = np.concatenate([radius * np.exp(change) for change in (-step, 0, step)])
    rows = [int(np.argmin(np.abs(np.array(results.transfer_redshifts) - z))) for z in Z]
    sigma = results.get_sigmaR(radii, var1="delta_nonu", var2="delta_nonu")[rows]
    below, there, above = np.split(sigma * SIGMA8 / results.get_sigma8_0(), 3, axis=-1)
    return there, np.log(below / above) / (2 * step) / 3


def test_neutrinos_have_the_density_of_camb(settings):
    assert settings.omnuh2 == pytest.approx(M_NU / variance.NEUTRINO_DENSITY, rel=1e-4)  # four digits


@pytest.mark.slow
def test_variance_is_camb_own_with_neutrinos_and_dark_energy(masses, variances):
    table = variance_table(MDPL2, tuple(GRID), tuple(Z), Ranges(masses.Om0, masses.w, masses.m_nu), camb=True)
    log_sigma, log_slope = table(at(Om0=Om0, m_nu=M_NU, w=W))
    # w enters by colossus' growth, without radiation and neutrinos: 2e-4; CAMB's own integral is good to 1e-4
    np.testing.assert_allclose(SIGMA8 * log_sigma.exp().numpy(), variances[0], rtol=5e-4)
    np.testing.assert_allclose(log_slope.exp().numpy(), variances[1], rtol=2e-3)  # differences of CAMB's integrals


@pytest.mark.slow
def test_haloes_consist_of_cold_dark_matter_and_baryons(masses, variances):
    """Costanzi et al. 2013: their variance and density replace those of all matter."""
    parameters, z = at(Om0=Om0, m_nu=M_NU, w=W, sigma8=SIGMA8), Z[:, None]
    found = masses.log_density(torch.as_tensor(GRID), parameters, torch.as_tensor(Z)).numpy()
    clustering = Om0 - M_NU / 93.04 / H2
    rate = Om0 * (1 + z) ** 3 + (1 - Om0) * (1 + z) ** (3 * (1 + W))
    f = np.array(
        [multiplicity(*row) for row in zip(variances[0], Z, 200 * rate[:, 0] / clustering / (1 + Z) ** 3, strict=True)]
    )
    expected = np.log(f * variances[1] * np.log(10) * CRITICAL_DENSITY * clustering / 10**GRID)
    np.testing.assert_allclose(found, expected, atol=1e-2)  # 3e-4 of sigma, times 20 at 10^15.4


@pytest.mark.slow
def test_gradients_by_all_parameters_agree_with_differences(masses):
    names, point = ("Om0", "sigma8", "w", "m_nu"), torch.tensor([0.301, 0.8, -0.83, 0.31], dtype=torch.float64)

    def total(values):
        parameters = dict(zip(names, values, strict=True))
        return masses.log_density(torch.as_tensor(GRID), parameters, torch.as_tensor(Z)).sum()

    found = torch.autograd.functional.jacobian(total, point)
    steps = 1e-5 * torch.eye(4, dtype=torch.float64)
    expected = torch.stack([total(point + step) - total(point - step) for step in steps]) / 2e-5
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)  # sums of 21 values of up to some tens


@pytest.mark.slow
def test_the_lightest_neutrinos_are_none(few_nodes):
    z, parameters = torch.as_tensor(Z), at(Om0=Om0, sigma8=SIGMA8)
    none = CosmologyMassFunction(Om0=(0.29, 0.31), transfer="camb")
    some = CosmologyMassFunction(Om0=(0.29, 0.31), m_nu=(0.0, 0.02), transfer="camb")
    without = none.log_density(torch.as_tensor(GRID), parameters, z)
    light = some.log_density(torch.as_tensor(GRID), parameters | at(m_nu=0.001), z)
    torch.testing.assert_close(light, without, rtol=0, atol=1e-2)


def test_camb_transfer_function_gives_the_mass_function_of_ccl_with_camb(few_nodes):
    ccl = pytest.importorskip("pyccl")
    z, masses = np.cbrt(1 / 0.3 - 1) - 1, CosmologyMassFunction(Om0=(0.29, 0.31), transfer="camb")
    found = masses.log_density(torch.as_tensor(GRID), at(Om0=0.3, sigma8=0.8), torch.tensor([z], dtype=torch.float64))
    densities = {"Omega_c": 0.3 - MDPL2.Ob0, "Omega_b": MDPL2.Ob0, "h": MDPL2.h, "n_s": MDPL2.ns}
    cosmology = ccl.Cosmology(**densities, sigma8=0.8, transfer_function="boltzmann_camb")
    theirs = ccl.halos.MassFuncTinker08(mass_def=ccl.halos.MassDef(200, "critical"))
    expected = np.log(theirs(cosmology, 10**GRID / MDPL2.h, 1 / (1 + z)) / MDPL2.h**3)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-2)  # 3e-4 of sigma, times 20 at 10^15.4


@pytest.mark.parametrize(
    "bad",
    [
        {"m_nu": (0.0, 0.3)},
        {"m_nu": (-0.1, 0.3), "transfer": "camb"},
        {"m_nu": (0.0, 3.0), "transfer": "camb"},
        {"transfer": "cmb"},
    ],
)
def test_impossible_neutrinos_and_unknown_transfer_functions_are_refused(bad):
    with pytest.raises(ValueError, match=r"m_nu|neutrinos|transfer"):
        CosmologyMassFunction(**bad)

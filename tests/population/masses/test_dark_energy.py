"""Dark energy of a free equation of state against an integrated growth equation, astropy and CCL."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.cosmology import FlatwCDM
from scipy.integrate import solve_ivp
from scipy.stats import norm

from clustermocks.haloes.cosmology import MDPL2, growth_factor
from sbi_clustermass.population import (
    CosmologyMassFunction,
    KnownSelection,
    Laplace,
    ObservedClusters,
    Population,
    ScalingRelation,
    Survey,
    fit,
)
from sbi_clustermass.posterior import MassPosteriors

MASSES = CosmologyMassFunction(w=(-1.5, -0.5))
GRID = np.linspace(13, 15.5, 26)


def at(**values):
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def integrated_growth(z, Om0, w):
    """D(z) / D(0) of D'' + (2 + dlnE/dlna) D' = 3/2 Om(a) D, in ln a, from matter domination."""

    def right(log_a, y):
        a = np.exp(log_a)
        matter, dark = Om0 * a**-3, (1 - Om0) * a ** (-3 * (1 + w))
        slope = -1.5 * (matter + (1 + w) * dark) / (matter + dark)
        return [y[1], -(2 + slope) * y[1] + 1.5 * matter / (matter + dark) * y[0]]

    found = solve_ivp(right, (np.log(1e-3), 0), (1e-3, 1e-3), rtol=1e-10, atol=1e-14, dense_output=True).sol
    return found(-np.log1p(z))[0] / found(0.0)[0]


@pytest.mark.parametrize(("Om0", "w"), [(0.3, -1.0), (0.3, -0.7), (0.25, -1.3), (0.4, -0.9)])
def test_growth_is_that_of_the_integrated_equation(Om0, w):
    z = np.array([0.05, 0.3, 0.8, 1.5])
    found = growth_factor(z, replace(MDPL2, Om0=Om0), w=w)
    np.testing.assert_allclose(found, integrated_growth(z, Om0, w), rtol=1e-4)  # colossus interpolates to 5e-5


@pytest.mark.parametrize("w", [-0.8, -1.2])
def test_mass_function_is_that_of_ccl(w):
    ccl = pytest.importorskip("pyccl")
    cosmology = ccl.Cosmology(
        Omega_c=MDPL2.Om0 - MDPL2.Ob0,
        Omega_b=MDPL2.Ob0,
        Omega_g=0.0,
        Neff=0.0,
        h=MDPL2.h,
        sigma8=MDPL2.sigma8,
        n_s=MDPL2.ns,
        w0=w,
        transfer_function="eisenstein_hu",
    )
    theirs = ccl.halos.MassFuncTinker08(mass_def=ccl.halos.MassDef(200, "critical"))
    # where the overdensity is 400, which is tabulated; CCL interpolates linearly elsewhere
    z = (1 / MDPL2.Om0 - 1) ** (-1 / (3 * w)) - 1
    parameters = at(Om0=MDPL2.Om0, sigma8=MDPL2.sigma8, w=w)
    found = MASSES.log_density(torch.as_tensor(GRID), parameters, torch.tensor([z], dtype=torch.float64))[0].numpy()
    expected = np.log(theirs(cosmology, 10**GRID / MDPL2.h, 1 / (1 + z)) / MDPL2.h**3)
    np.testing.assert_allclose(found, expected, atol=3e-3)  # its sigma is good to 1e-4, times 20 at 10^15.5


def test_at_minus_one_it_is_the_cosmological_constant():
    z = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)
    parameters = at(Om0=0.3, sigma8=0.8, w=-1.0)
    found = MASSES.log_density(torch.as_tensor(GRID), parameters, z)
    expected = CosmologyMassFunction().log_density(torch.as_tensor(GRID), parameters, z)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)  # interpolation in w


def test_volumes_and_relations_know_it():
    edges, w, Om0 = [0.2, 0.5, 0.9], -0.75, 0.28
    survey, astropy = Survey.of_sky(2000, edges), FlatwCDM(H0=100, Om0=Om0, w0=w)
    parameters = at(Om0=Om0, w=w, intercept_y=0.0, slope_y=0.0, evolution_y=1.0)
    expected = np.diff(astropy.comoving_volume(edges).value) * 2000 / 41_252.961
    np.testing.assert_allclose(survey.log_volumes(parameters).exp().numpy(), expected, rtol=1e-6)  # of the sky's area
    relation = ScalingRelation("y", (0, 1), (0, 1), 1.0, evolution=(0, 1), redshift_pivot=0.3)
    z = torch.tensor([0.1, 0.8], dtype=torch.float64)
    found = relation.mean(torch.tensor([14.0], dtype=torch.float64), parameters, z)[:, 0].numpy()
    np.testing.assert_allclose(found, np.log10(astropy.efunc(z.numpy()) / astropy.efunc(0.3)), rtol=1e-9)


@pytest.mark.slow
def test_it_is_recovered_from_shells_of_redshift():
    """Some thousand clusters whose masses are measured to .1 dex, above 10^14.2, where w is -.8."""
    rng, survey = np.random.default_rng(1), Survey.of_sky(1500, np.linspace(0.1, 0.9, 9))
    truth, fine = {"Om0": 0.3, "sigma8": 0.8, "w": -0.8}, np.linspace(13.6, 15.8, 1101)
    log_phi = MASSES.log_density(torch.as_tensor(fine), at(**truth), torch.as_tensor(survey.redshift))
    rate = (log_phi + survey.log_volumes(at(**truth))[:, None]).exp().numpy()
    masses, redshift = np.zeros(0), np.zeros(0)
    for z, row in zip(survey.redshift, rate, strict=True):
        cumulative = np.append(0, np.cumsum(0.5 * (row[1:] + row[:-1]) * np.diff(fine)))
        drawn = np.interp(rng.random(rng.poisson(cumulative[-1])), cumulative / cumulative[-1], fine)
        masses, redshift = np.append(masses, drawn), np.append(redshift, np.full(drawn.size, z))
    estimates = masses + 0.1 * rng.standard_normal(masses.size)
    posteriors = MassPosteriors.from_normal(estimates[estimates > 14.2], 0.1, np.linspace(13.6, 15.8, 111))
    clusters = ObservedClusters(posteriors, redshift[estimates > 14.2])
    assert len(clusters) > 1000
    selection = KnownSelection(lambda log10_mass: norm.sf((14.2 - log10_mass) / 0.1), of_data=True)
    population = Population(MASSES, selection=selection, mass_range=(13.6, 15.8))
    found = fit(population, clusters, survey, sampler=Laplace(num_samples=200, seed=1))["posterior"]
    for name, true in truth.items():
        draws = found[name].values
        assert abs(draws.mean() - true) < 3 * draws.std(), name  # fails for 1 in 120 seeds, with three such
    assert found["w"].values.std() < 0.2, "the data know more than the prior, .29"


@pytest.mark.parametrize("bad", [{"w": (-0.5, -1.5)}, {"w": (-1.0, 0.2)}])
def test_impossible_dark_energy_is_refused(bad):
    with pytest.raises(ValueError, match="w"):
        CosmologyMassFunction(**bad)

"""The Murray-Robotham-Power form, its priors and coordinates, against formulas written with numpy and scipy."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares
from scipy.stats import lognorm, norm

from clustermocks.haloes.cosmology import MDPL2, mass_function
from sbi_clustermass.population import CosmologyMassFunction, MassFunction

PARAMETERS = {"log10_m_star": 14.05, "alpha": -1.7, "beta": 0.8, "log10_density": -4.5}
MASSES = np.linspace(12.5, 16.0, 50)
Z = torch.tensor([0.117], dtype=torch.float64)


def as_tensors(parameters):
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in parameters.items()}


def murray_robotham_power(log10_mass, *, log10_m_star, alpha, beta, log10_density, pivot=14.3):
    """dn/dlog10M = ln10 A beta x^(alpha+1) exp(-x^beta), A such that it is 10^log10_density at the pivot."""

    def shape(m):
        x = 10.0 ** (m - log10_m_star)
        return math.log(10) * beta * x ** (alpha + 1) * np.exp(-(x**beta))

    return 10.0**log10_density * shape(log10_mass) / shape(pivot)


def test_density_is_the_published_form_with_its_amplitude_at_the_pivot():
    found = MassFunction().log_density(torch.as_tensor(MASSES), as_tensors(PARAMETERS), Z)[0].exp().numpy()
    # rtol: both are float64 with exponents up to a few hundred
    np.testing.assert_allclose(found, murray_robotham_power(MASSES, **PARAMETERS), rtol=1e-11)


def test_slope_is_the_logarithmic_derivative_at_the_pivot():
    step = 1e-5
    ends = [murray_robotham_power(14.3 + s, **PARAMETERS) for s in (-step, step)]
    expected = math.log10(ends[1] / ends[0]) / (2 * step)
    found = float(MassFunction().derived(as_tensors(PARAMETERS))["slope"])
    assert found == pytest.approx(expected, abs=1e-8)  # a central difference errs by step^2 times a third derivative


def test_prior_centres_follow_tinker_2008_in_mdpl2():
    masses = np.linspace(12.5, 15.4, 30)
    model = MassFunction()
    at_centre = model.coordinates.parameters(model.coordinates.centre)
    found = model.log_density(torch.as_tensor(masses), at_centre, Z)[0].numpy() / math.log(10)
    expected = np.log10(mass_function(10**masses, 0.117, MDPL2))
    np.testing.assert_allclose(found, expected, atol=0.01)  # dex, as the docstring promises


EVOLVING = MassFunction(m_star_evolution=(-0.64, 0.5), density_evolution=(-0.89, 0.5))


def test_evolution_moves_the_cut_off_and_the_density_linearly_with_redshift():
    rates = {"m_star_evolution": -0.5, "density_evolution": -0.8}
    redshifts = torch.tensor([0.0, 0.117, 0.9], dtype=torch.float64)
    found = EVOLVING.log_density(torch.as_tensor(MASSES), as_tensors(PARAMETERS | rates), redshifts).exp().numpy()
    for z, row in zip(redshifts.tolist(), found, strict=True):
        there = PARAMETERS | {"log10_m_star": 14.05 - 0.5 * (z - 0.117), "log10_density": -4.5 - 0.8 * (z - 0.117)}
        np.testing.assert_allclose(row, murray_robotham_power(MASSES, **there), rtol=1e-11)  # as above


def test_centres_of_the_evolution_are_the_best_fit_to_tinker_2008_in_mdpl2():
    """Least squares over redshifts 0 to 1 and masses 10^13 to 10^15, all other parameters at their centres."""
    masses, redshifts = np.linspace(13.0, 15.0, 41), np.linspace(0, 1, 11)
    cosmology = as_tensors({"Om0": MDPL2.Om0, "sigma8": MDPL2.sigma8})
    at = torch.as_tensor(masses), torch.as_tensor(redshifts)
    expected = CosmologyMassFunction().log_density(at[0], cosmology, at[1]).numpy() / math.log(10)
    centre = EVOLVING.coordinates.parameters(EVOLVING.coordinates.centre)

    def difference(rates):
        parameters = {**centre, **as_tensors(dict(zip(("m_star_evolution", "density_evolution"), rates, strict=True)))}
        return (EVOLVING.log_density(at[0], parameters, at[1]).numpy() / math.log(10) - expected).ravel()

    best = least_squares(difference, (0.0, 0.0)).x
    np.testing.assert_allclose(best, [-0.64, -0.89], atol=0.005)  # the centres have two digits
    off = difference(best)
    assert np.sqrt(np.mean(off**2)) < 0.062  # dex, as the docstring says
    assert np.abs(off).max() < 0.165


def test_parameters_invert_positions():
    position = torch.tensor([[-1.5, 0.1, -0.2, -4.0], [-2.5, 0.8, 0.3, -5.0]], dtype=torch.float64)
    evolving = torch.cat([position, torch.tensor([[-0.6, -0.9], [0.1, 0.2]], dtype=torch.float64)], dim=-1)
    for masses, at in ((MassFunction(pivot=14.1), position), (replace(EVOLVING, pivot=14.1), evolving)):
        found = masses.coordinates.position(masses.coordinates.parameters(at))
        torch.testing.assert_close(found, at, rtol=1e-12, atol=1e-12)


def test_priors_are_the_stated_ones():
    found = {name: float(prior.log_prob(as_tensors(PARAMETERS)[name])) for name, prior in MassFunction().priors.items()}
    expected = {
        "log10_m_star": norm.logpdf(PARAMETERS["log10_m_star"], 14.18, 0.5),
        "alpha": norm.logpdf(PARAMETERS["alpha"], -1.90, 0.4),
        "beta": lognorm.logpdf(PARAMETERS["beta"], 0.3, scale=0.69),
        "log10_density": norm.logpdf(PARAMETERS["log10_density"], -4.67, 1.0),
    }
    assert found == pytest.approx(expected, abs=1e-10)  # float64 round-off


@pytest.mark.parametrize("bad", [{"alpha": (-1.9, 0.0)}, {"beta": (-0.7, 0.3)}, {"log10_m_star": (math.nan, 1.0)}])
def test_impossible_priors_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        MassFunction(**bad)

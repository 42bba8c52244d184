"""The Murray-Robotham-Power form, its priors and coordinates, against formulas written with numpy and scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import lognorm, norm

from clustermocks.haloes.cosmology import MDPL2, mass_function
from sbi_clustermass.population import MassFunction

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


def test_parameters_invert_positions():
    position = torch.tensor([[-1.5, 0.1, -0.2, -4.0], [-2.5, 0.8, 0.3, -5.0]], dtype=torch.float64)
    coordinates = MassFunction(pivot=14.1).coordinates
    found = coordinates.position(coordinates.parameters(position))
    torch.testing.assert_close(found, position, rtol=1e-12, atol=1e-12)


def test_priors_are_the_stated_ones():
    found = {name: float(prior.log_prob(as_tensors(PARAMETERS)[name])) for name, prior in MassFunction().priors.items()}
    expected = {
        "log10_m_star": norm.logpdf(PARAMETERS["log10_m_star"], 14.22, 0.5),
        "alpha": norm.logpdf(PARAMETERS["alpha"], -1.91, 0.4),
        "beta": lognorm.logpdf(PARAMETERS["beta"], 0.3, scale=0.71),
        "log10_density": norm.logpdf(PARAMETERS["log10_density"], -4.655, 1.0),
    }
    assert found == pytest.approx(expected, abs=1e-10)  # float64 round-off


@pytest.mark.parametrize("bad", [{"alpha": (-1.9, 0.0)}, {"beta": (-0.7, 0.3)}, {"log10_m_star": (math.nan, 1.0)}])
def test_impossible_priors_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        MassFunction(**bad)

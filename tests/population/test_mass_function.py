"""The mass function's form, priors and coordinates, against textbook formulas written with numpy and scipy."""

import math

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from scipy.stats import lognorm, norm

from clustermocks.cosmology import MDPL2, mass_function
from sbi_clustermass.population import MassFunction, mass_function_band

PARAMETERS = {"log10_m_star": 14.05, "alpha": -1.7, "beta": 0.8, "log10_density": -4.5}
MASSES = np.linspace(12.5, 16.0, 50)


def as_tensors(parameters):
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in parameters.items()}


def murray_robotham_power(log10_mass, *, log10_m_star, alpha, beta, log10_density, pivot=14.3):
    """dn/dlog10M = ln10 A beta x^(alpha+1) exp(-x^beta), A such that it is 10^log10_density at the pivot."""

    def shape(m):
        x = 10.0 ** (m - log10_m_star)
        return math.log(10) * beta * x ** (alpha + 1) * np.exp(-(x**beta))

    return 10.0**log10_density * shape(log10_mass) / shape(pivot)


def test_density_is_the_published_form_with_its_amplitude_at_the_pivot():
    found = MassFunction().log_density(torch.as_tensor(MASSES), as_tensors(PARAMETERS)).exp().numpy()
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
    found = model.log_density(torch.as_tensor(masses), model.parameters(model.centre)).numpy() / math.log(10)
    expected = np.log10(mass_function(10**masses, 0.117, MDPL2))
    np.testing.assert_allclose(found, expected, atol=0.01)  # dex, as the docstring promises


def test_parameters_invert_positions():
    position = torch.tensor([[-1.5, 0.1, -0.2, -4.0], [-2.5, 0.8, 0.3, -5.0]], dtype=torch.float64)
    model = MassFunction(pivot=14.1)
    torch.testing.assert_close(model.position(model.parameters(position)), position, rtol=1e-12, atol=1e-12)


def test_prior_in_the_samplers_coordinates_is_the_pyro_models_times_the_jacobian():
    model = MassFunction()
    position = model.centre + torch.tensor([0.2, -0.3, 0.1, 0.4], dtype=torch.float64)
    parameters = {name: value.detach() for name, value in model.parameters(position).items()}
    with poutine.trace() as traced, poutine.condition(data=parameters):
        model(torch.as_tensor(MASSES))
    jacobian = torch.autograd.functional.jacobian(lambda y: torch.stack(list(model.parameters(y).values())), position)
    expected = float(traced.trace.log_prob_sum() + torch.linalg.slogdet(jacobian).logabsdet)
    assert float(model.log_prior(parameters)) == pytest.approx(expected, abs=1e-10)  # float64 round-off


def test_pyro_sites_carry_the_stated_priors():
    with poutine.trace() as traced, poutine.condition(data=as_tensors(PARAMETERS)):
        MassFunction()(torch.as_tensor(MASSES))
    expected = (
        norm.logpdf(PARAMETERS["log10_m_star"], 14.22, 0.5)
        + norm.logpdf(PARAMETERS["alpha"], -1.91, 0.4)
        + lognorm.logpdf(PARAMETERS["beta"], 0.3, scale=0.71)
        + norm.logpdf(PARAMETERS["log10_density"], -4.655, 1.0)
    )
    assert float(traced.trace.log_prob_sum()) == pytest.approx(expected, abs=1e-10)  # float64 round-off


def test_every_draw_gets_its_own_function():
    model = MassFunction()
    positions = model.centre + 0.1 * torch.randn(
        2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    together = model.log_density(torch.as_tensor(MASSES), model.parameters(positions))
    alone = model.log_density(torch.as_tensor(MASSES), model.parameters(positions[1, 2]))
    assert together.shape == (2, 3, len(MASSES))
    torch.testing.assert_close(together[1, 2], alone)


def test_it_draws_from_its_priors_in_pyro():
    pyro.clear_param_store()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        log_phi = MassFunction()(torch.as_tensor(MASSES))
    assert log_phi.dtype == torch.float64
    assert torch.isfinite(log_phi).all()


@pytest.mark.parametrize("bad", [{"alpha": (-1.9, 0.0)}, {"beta": (-0.7, 0.3)}, {"mass_range": (16.0, 12.5)}])
def test_impossible_priors_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        MassFunction(**bad)


def test_a_band_needs_a_fit():
    import arviz

    with pytest.raises(ValueError, match="no record"):
        mass_function_band(arviz.from_dict(posterior={"slope": np.zeros((1, 5))}), MASSES)

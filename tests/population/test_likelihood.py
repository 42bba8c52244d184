"""The population likelihood against adaptive quadrature, closed forms and finite differences."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from pyro import poutine
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import lognorm, norm

from sbi_clustermass.population import MassFunction, PopulationLikelihood, population_model
from sbi_clustermass.population.fit import _Problem
from sbi_clustermass.posterior import MassPosteriors

GRID = np.linspace(13.0, 15.6, 256)
WIDTH = GRID[-1] - GRID[0]
MEAN = np.array([13.9, 14.2, 14.35, 14.6, 15.0])
STD = np.array([0.2, 0.15, 0.12, 0.1, 0.09])
VOLUME = 2e7


def selection(log10_mass):
    return expit((log10_mass - 14.1) / 0.08)


def gaussian_posteriors():
    return MassPosteriors.from_normal(MEAN, STD, GRID)


def tabulated(posteriors=None):
    return PopulationLikelihood.from_posteriors(posteriors or gaussian_posteriors(), selection=selection)


def integral(function):
    """Over all masses, split where the selection bends."""
    ends = (12.5, 13.5, 14.0, 14.5, 15.0, 16.0)
    return sum(quad(function, a, b, epsabs=0, epsrel=1e-11)[0] for a, b in pairwise(ends))


def phi_at(model, parameters):
    return lambda m: float(model.log_density(torch.tensor([m], dtype=torch.float64), parameters).exp())


def test_cluster_integrals_agree_with_quadrature():
    model, likelihood = MassFunction(), tabulated()
    parameters = model.parameters(model.centre)
    phi = phi_at(model, parameters)
    found, found_selected = likelihood.log_integrals(model.log_density(likelihood.log10_mass, parameters))
    # log_likelihood() is log_prob - log_prior, and the flat prior's density is 1 / WIDTH
    expected = [
        quad(lambda m, at=at: norm.pdf(m, *at) * WIDTH * phi(m), 13.0, 15.6, points=[at[0]])[0]
        for at in zip(MEAN, STD, strict=True)
    ]
    # the trapezoid rule on a step of 0.01 dex, under a tenth of the narrowest Gaussian
    np.testing.assert_allclose(found.exp().numpy(), expected, rtol=2e-5)
    np.testing.assert_allclose(float(found_selected.exp()), integral(lambda m: phi(m) * selection(m)), rtol=2e-4)


def test_gaussian_errors_on_a_gaussian_population_have_the_closed_form():
    """Integral of N(d | m, s) N(m | mu, t) dm = N(d | mu, sqrt(s^2 + t^2))."""
    likelihood, centre, spread = tabulated(), 14.3, 0.1
    log_phi = torch.as_tensor(norm.logpdf(likelihood.log10_mass.numpy(), centre, spread))
    found, _ = likelihood.log_integrals(log_phi)
    expected = norm.logpdf(MEAN, centre, np.hypot(STD, spread)) + np.log(WIDTH)
    # both Gaussians end over 6 sigma inside the grid, but the first cluster's (4.5 sigma, 7e-6 of it)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_log_density_of_the_pyro_model_is_the_formula():
    model, likelihood = MassFunction(), tabulated()
    values = {"log10_m_star": 14.1, "alpha": -1.8, "beta": 0.8, "log10_density": -4.5}
    parameters = {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
    with poutine.trace() as traced, poutine.condition(data=parameters):
        population_model(model, likelihood, VOLUME)
    phi = phi_at(model, parameters)
    prior = norm.logpdf(14.1, 14.22, 0.5) + norm.logpdf(-1.8, -1.91, 0.4) + norm.logpdf(-4.5, -4.655, 1.0)
    expected = prior + lognorm.logpdf(0.8, 0.3, scale=0.71) - VOLUME * integral(lambda m: phi(m) * selection(m))
    for at in zip(MEAN, STD, strict=True):
        one = quad(lambda m, at=at: norm.pdf(m, *at) * WIDTH * phi(m) * VOLUME, 13.0, 15.6, points=[at[0]])[0]
        expected += np.log(one)
    # the selection's trapezoid error of 1e-4 times some hundred expected clusters is the largest
    assert float(traced.trace.log_prob_sum()) == pytest.approx(expected, abs=0.02)


def test_shape_only_model_ignores_the_amplitude():
    likelihood = tabulated()
    log_phi = MassFunction().log_density(likelihood.log10_mass, MassFunction().parameters(MassFunction().centre))
    few, _ = likelihood.log_density(log_phi, 1.0)
    many, _ = likelihood.log_density(log_phi + 7.0, 1.0)
    torch.testing.assert_close(few, many, rtol=0, atol=1e-10)  # float64 round-off


def test_counts_and_shape_agree_once_the_amplitude_is_integrated_out_with_a_1_over_a_prior():
    """The integral over ln A of the Poisson likelihood is the normalised one times Gamma(N), for any shape."""
    model, likelihood = MassFunction(), tabulated()
    ln_amplitude = np.linspace(-12, 12, 4001)
    ratios = []
    for shift in (0.0, 0.3):
        position = model.centre + shift * torch.tensor([1.0, 0.5, -0.5, 0.0], dtype=torch.float64)
        log_phi = model.log_density(likelihood.log10_mass, model.parameters(position))
        log_clusters, log_count = likelihood.log_density(log_phi + torch.as_tensor(ln_amplitude)[:, None], VOLUME / 1e3)
        marginal = np.log(np.trapezoid(np.exp((log_clusters.sum(-1) + log_count).numpy()), ln_amplitude))
        ratios.append(marginal - float(log_clusters[0].sum()))
    assert ratios[0] == pytest.approx(ratios[1], abs=1e-8)  # trapezoid on an analytic peak, steps of 0.006


@pytest.mark.parametrize("volume", [VOLUME, None])
def test_gradient_of_the_potential_agrees_with_central_differences(volume):
    problem = _Problem(MassFunction(), tabulated(), volume)
    position = problem.model.centre + torch.tensor([0.1, -0.2, 0.15, 0.05], dtype=torch.float64)
    found = torch.func.grad(problem.potential)(position)
    steps = 1e-5 * torch.eye(4, dtype=torch.float64)
    expected = torch.stack([problem.potential(position + e) - problem.potential(position - e) for e in steps]) / 2e-5
    # step^2 times third derivatives of some hundred, and round-off of 1e-12 / step
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-5)


def test_gradient_stays_finite_where_the_mass_function_underflows():
    problem = _Problem(MassFunction(), tabulated(), VOLUME)
    extreme = problem.model.position(
        {
            name: torch.tensor(value, dtype=torch.float64)
            for name, value in {"log10_m_star": 13.5, "alpha": -1.9, "beta": 1.6, "log10_density": -4.6}.items()
        }
    )
    assert torch.isfinite(torch.func.grad(problem.potential)(extreme)).all()


def test_the_training_prior_is_divided_out():
    """Flat-trained and steeply-trained estimators of the same data are the same evidence about the population."""
    flat = gaussian_posteriors()
    tilted = flat.with_prior(-3.0 * (GRID - 14.0))
    assert np.abs(tilted.mean - flat.mean).max() > 0.05
    log_phi = MassFunction().log_density(tabulated().log10_mass, MassFunction().parameters(MassFunction().centre))
    one, other = (tabulated(posteriors).log_integrals(log_phi)[0] for posteriors in (flat, tilted))
    # equal up to a constant a cluster, which a normalised posterior cannot carry
    shifted = MassFunction().centre + torch.tensor([0.5, 0.2, 0.0, 0.0], dtype=torch.float64)
    log_phi_2 = MassFunction().log_density(tabulated().log10_mass, MassFunction().parameters(shifted))
    one_2, other_2 = (tabulated(posteriors).log_integrals(log_phi_2)[0] for posteriors in (flat, tilted))
    torch.testing.assert_close(one_2 - one, other_2 - other, rtol=0, atol=1e-10)  # float64 round-off


def test_expected_clusters_outside_the_grid_are_counted_on_both_sides():
    model = MassFunction()
    narrow = MassPosteriors.from_normal([14.4], [0.1], np.linspace(14.1, 14.9, 81))
    likelihood = tabulated(narrow)
    parameters = model.parameters(model.centre)
    phi = phi_at(model, parameters)
    log_phi = model.log_density(likelihood.log10_mass, parameters)
    below, above = likelihood.outside(log_phi)
    total = integral(lambda m: phi(m) * selection(m))
    expected = [
        quad(lambda m: phi(m) * selection(m), *ends, limit=200)[0] / total for ends in ((12.5, 14.1), (14.9, 16))
    ]
    np.testing.assert_allclose([below, above], expected, rtol=1e-3)  # trapezoid on 0.01 dex where the selection bends
    low, high = likelihood.support_holding(log_phi, 0.99)
    inside = quad(lambda m: phi(m) * selection(m), low, high, points=[14.1])[0] / total
    assert 0.99 <= inside < 0.9925  # rounded outwards to the grid of 0.01 dex


def test_sampling_a_wider_range_does_not_move_the_clusters_integrals():
    posteriors, model = gaussian_posteriors(), MassFunction()
    found = []
    for mass_range in ((13.5, 15.0), (12.0, 16.5)):  # the first lies within the posteriors' grid, which is added
        likelihood = PopulationLikelihood.from_posteriors(posteriors, selection=selection, mass_range=mass_range)
        log_phi = model.log_density(likelihood.log10_mass, model.parameters(model.centre))
        found.append(likelihood.log_integrals(log_phi)[0])
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [lambda m: 1.2 + 0 * m, lambda m: -0.1 + 0 * m, lambda m: np.full_like(m, np.nan)])
def test_selection_outside_zero_to_one_is_refused(broken):
    with pytest.raises(ValueError, match=r"selection must lie in \[0, 1\], got .* at log10_mass"):
        PopulationLikelihood.from_posteriors(gaussian_posteriors(), selection=broken)


def test_selection_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="one probability a mass"):
        PopulationLikelihood.from_posteriors(gaussian_posteriors(), selection=lambda m: m[:1])


def test_selection_of_nothing_is_refused():
    with pytest.raises(ValueError, match="selection is zero"):
        PopulationLikelihood.from_posteriors(gaussian_posteriors(), selection=np.zeros_like)


def test_likelihood_beyond_the_training_prior_is_refused_by_name():
    posteriors = gaussian_posteriors()
    log_prior = np.where(GRID < 13.5, -np.inf, posteriors.log_prior)
    outside = dataclasses.replace(posteriors, log_prior=log_prior, names=("A85", "A119", "A576", "Coma", "A2142"))
    with pytest.raises(ValueError, match=r"5 of 5 clusters .* not finite.*'A85'[\s\S]*inside the support"):
        tabulated(outside)


def test_cluster_without_likelihood_anywhere_is_refused_by_name():
    posteriors = gaussian_posteriors()
    log_prob = posteriors.log_prob.copy()
    log_prob[3] = -np.inf
    with pytest.raises(ValueError, match=r"1 of 5 clusters .* zero likelihood at every mass.*'3'"):
        tabulated(dataclasses.replace(posteriors, log_prob=log_prob))


def test_no_clusters_are_refused():
    empty = MassPosteriors(GRID, np.zeros((0, GRID.size)), np.zeros(GRID.size), ())
    with pytest.raises(ValueError, match="no posteriors"):
        PopulationLikelihood.from_posteriors(empty, selection=selection)

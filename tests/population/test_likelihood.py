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

from sbi_clustermass.population import (
    KnownSelection,
    MassFunction,
    NormalMasses,
    ObservedClusters,
    Population,
    PopulationLikelihood,
    Problem,
    Survey,
    population_model,
)
from sbi_clustermass.population.likelihood import central_interval, outside_shares
from sbi_clustermass.posterior import MassPosteriors

GRID = np.linspace(13.0, 15.6, 256)
WIDTH = GRID[-1] - GRID[0]
MEAN = np.array([13.9, 14.2, 14.35, 14.6, 15.0])
STD = np.array([0.2, 0.15, 0.12, 0.1, 0.09])
VOLUME = 2e7
Z = torch.tensor([0.117], dtype=torch.float64)
VALUES = {"log10_m_star": 14.1, "alpha": -1.8, "beta": 0.8, "log10_density": -4.5}
PARAMETERS = {name: torch.tensor(value, dtype=torch.float64) for name, value in VALUES.items()}


def selection(log10_mass):
    return expit((log10_mass - 14.1) / 0.08)


def gaussian_posteriors():
    return MassPosteriors.from_normal(MEAN, STD, GRID)


def problem_of(population=None, posteriors=None, *, volume=VOLUME, counts=True):
    population = population or Population(selection=KnownSelection(selection, of_data=True))
    clusters = ObservedClusters(gaussian_posteriors() if posteriors is None else posteriors)
    return Problem.from_clusters(population, clusters, Survey.of_volume(volume, sample_variance=False), counts=counts)


def integral(function):
    """Over all masses, split where the selection bends."""
    ends = (12.5, 13.5, 14.0, 14.5, 15.0, 16.0)
    return sum(quad(function, a, b, epsabs=0, epsrel=1e-11)[0] for a, b in pairwise(ends))


def phi(log10_mass, parameters=PARAMETERS):
    at = torch.tensor([log10_mass], dtype=torch.float64)
    return float(MassFunction().log_density(at, parameters, Z).exp())


def test_cluster_integrals_and_the_expected_number_agree_with_quadrature():
    problem = problem_of(volume=1.0)
    log_rate = problem.log_rate(PARAMETERS)
    # log_likelihood() is log_prob - log_prior, and the flat prior's density is 1 / WIDTH
    expected = [
        quad(lambda m, at=at: norm.pdf(m, *at) * WIDTH * phi(m), 13.0, 15.6, points=[at[0]])[0]
        for at in zip(MEAN, STD, strict=True)
    ]
    # the trapezoid rule on a step of 0.01 dex, under a tenth of the narrowest Gaussian
    np.testing.assert_allclose(problem.likelihood.log_clusters(log_rate).exp().numpy(), expected, rtol=2e-5)
    found = float(problem.likelihood.log_expected(problem.log_selected_rate(PARAMETERS)).exp())
    np.testing.assert_allclose(found, integral(lambda m: phi(m) * selection(m)), rtol=2e-4)


def test_the_sum_and_the_product_are_the_same_integral():
    """With a further likelihood of 1 the route that sums cell by cell gives what the matrix product gives."""
    problem = problem_of()
    log_rate, blank = problem.log_rate(PARAMETERS), torch.zeros(1, len(GRID), dtype=torch.float64)
    product, total = (problem.likelihood.log_clusters(log_rate, factor) for factor in (None, lambda block: blank))
    torch.testing.assert_close(product, total, rtol=0, atol=1e-10)  # float64 round-off


def test_gaussian_errors_on_a_gaussian_population_have_the_closed_form():
    """Integral of N(d | m, s) N(m | mu, t) dm = N(d | mu, sqrt(s^2 + t^2))."""
    centre, spread = 14.3, 0.1
    problem = problem_of(Population(NormalMasses()), volume=1.0, counts=False)
    at = {"mass_mean": torch.tensor(centre), "mass_width": torch.tensor(spread)}
    found = problem.terms({name: value.double() for name, value in at.items()})["clusters"]
    expected = norm.logpdf(MEAN, centre, np.hypot(STD, spread)) + np.log(WIDTH)
    # both Gaussians end over 6 sigma inside the grid, but the first cluster's (4.5 sigma, 7e-6 of it)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_log_density_of_the_pyro_model_is_the_formula():
    with poutine.trace() as traced, poutine.condition(data=PARAMETERS):
        population_model(problem_of())
    prior = norm.logpdf(14.1, 14.18, 0.5) + norm.logpdf(-1.8, -1.90, 0.4) + norm.logpdf(-4.5, -4.67, 1.0)
    expected = prior + lognorm.logpdf(0.8, 0.3, scale=0.69) - VOLUME * integral(lambda m: phi(m) * selection(m))
    for at in zip(MEAN, STD, strict=True):
        one = quad(lambda m, at=at: norm.pdf(m, *at) * WIDTH * phi(m) * VOLUME, 13.0, 15.6, points=[at[0]])[0]
        expected += np.log(one)
    # the selection's trapezoid error of 1e-4 times some hundred expected clusters is the largest
    assert float(traced.trace.log_prob_sum()) == pytest.approx(expected, abs=0.02)


def test_the_pyro_model_and_the_samplers_potential_are_the_same_density():
    """Up to the Jacobian of the sampler's coordinates."""
    problem = problem_of()
    coordinates = problem.coordinates
    totals = []
    for shift in (0.0, 0.3):
        position = coordinates.centre + shift
        parameters = coordinates.parameters(position)
        with poutine.trace() as traced, poutine.condition(data=parameters):
            population_model(problem)
        jacobian = torch.autograd.functional.jacobian(
            lambda y: torch.stack(list(coordinates.parameters(y).values())), position
        )
        totals.append(float(traced.trace.log_prob_sum() + torch.linalg.slogdet(jacobian).logabsdet))
        assert -float(problem.potential(position)) == pytest.approx(totals[-1], abs=1e-8)


def test_shape_only_model_ignores_the_amplitude():
    problem = problem_of(counts=False)
    more = {**PARAMETERS, "log10_density": PARAMETERS["log10_density"] + 3}
    few, many = (problem.terms(parameters)["clusters"] for parameters in (PARAMETERS, more))
    torch.testing.assert_close(few, many, rtol=0, atol=1e-10)  # float64 round-off


def test_counts_and_shape_agree_once_the_amplitude_is_integrated_out_with_a_1_over_a_prior():
    """The integral over ln A of the Poisson likelihood is the normalised one times Gamma(N), for any shape."""
    problem = problem_of(volume=VOLUME / 1e3)
    coordinates = problem.coordinates
    ln_amplitude = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    ratios = []
    for shift in (0.0, 0.3):
        at = coordinates.centre + shift * torch.tensor([1.0, 0.5, -0.5, 0.0], dtype=torch.float64)
        parameters = {name: value.expand(4001) for name, value in coordinates.parameters(at).items()}
        parameters["log10_density"] = parameters["log10_density"] + ln_amplitude / np.log(10)
        terms = problem.terms(parameters)
        log_clusters, log_count = terms["clusters"].sum(-1), terms["count"]
        marginal = np.log(np.trapezoid(np.exp((log_clusters + log_count).numpy()), ln_amplitude.numpy()))
        ratios.append(marginal - float(log_clusters[0]))
    assert ratios[0] == pytest.approx(ratios[1], abs=1e-8)  # trapezoid on an analytic peak, steps of 0.006


@pytest.mark.parametrize("counts", [True, False])
def test_gradient_of_the_potential_agrees_with_central_differences(counts):
    problem = problem_of(counts=counts)
    position = problem.coordinates.centre + torch.tensor([0.1, -0.2, 0.15, 0.05], dtype=torch.float64)
    found = torch.func.grad(problem.potential)(position)
    steps = 1e-5 * torch.eye(4, dtype=torch.float64)
    expected = torch.stack([problem.potential(position + e) - problem.potential(position - e) for e in steps]) / 2e-5
    # step^2 times third derivatives of some hundred, and round-off of 1e-12 / step
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-5)


def test_gradient_stays_finite_where_the_mass_function_underflows():
    problem = problem_of()
    values = {"log10_m_star": 13.5, "alpha": -1.9, "beta": 1.6, "log10_density": -4.6}
    extreme = MassFunction().coordinates.position({k: torch.tensor(v).double() for k, v in values.items()})
    assert torch.isfinite(torch.func.grad(problem.potential)(extreme)).all()


def test_the_training_prior_is_divided_out():
    """Flat-trained and steeply-trained estimators of the same data are the same evidence about the population."""
    flat = gaussian_posteriors()
    tilted = flat.with_prior(-3.0 * (GRID - 14.0))
    assert np.abs(tilted.mean - flat.mean).max() > 0.05
    others = {**PARAMETERS, "log10_m_star": PARAMETERS["log10_m_star"] + 0.3}
    one, other = (
        problem_of(posteriors=posteriors).terms(others)["clusters"]
        - problem_of(posteriors=posteriors).terms(PARAMETERS)["clusters"]
        for posteriors in (flat, tilted)
    )
    # ratios, because a constant a cluster cannot be carried by a normalised posterior
    torch.testing.assert_close(one, other, rtol=0, atol=1e-10)  # float64 round-off


def test_losses_that_the_data_do_not_show_multiply_each_likelihood():
    """A survey that drops clusters by chance: the density of the kept data has P(m) in the integral and in N_e."""
    by_chance = problem_of(Population(selection=KnownSelection(selection, of_data=False)), counts=False)
    total = integral(lambda m: phi(m) * selection(m))
    found = by_chance.terms(PARAMETERS)["clusters"].exp().numpy()
    expected = [
        quad(lambda m, at=at: norm.pdf(m, *at) * WIDTH * phi(m) * selection(m), 13.0, 15.6, points=[at[0], 14.1])[0]
        for at in zip(MEAN, STD, strict=True)
    ]
    np.testing.assert_allclose(found, np.array(expected) / total, rtol=3e-4)  # trapezoid where the selection bends


def test_order_of_the_clusters_and_of_the_blocks_does_not_matter():
    posteriors, shell = gaussian_posteriors(), np.array([1, 0, 1, 2, 0])
    log_rate = torch.linspace(0, 1, 3, dtype=torch.float64)[:, None] - torch.linspace(0, 9, 351, dtype=torch.float64)
    whole = PopulationLikelihood.from_posteriors(posteriors, shell=shell, mass_range=(13.0, 15.6))
    parts = PopulationLikelihood.from_posteriors(posteriors, shell=shell, mass_range=(13.0, 15.6), at_once=1)
    log_rate = log_rate[:, : len(GRID)]
    assert len(whole.blocks) == 3
    assert len(parts.blocks) == 5
    torch.testing.assert_close(whole.log_clusters(log_rate), parts.log_clusters(log_rate), rtol=0, atol=1e-12)
    found = whole.log_clusters(log_rate)[np.argsort(whole.order)]
    for i in range(5):
        alone = PopulationLikelihood.from_posteriors(posteriors[[i]], mass_range=(13.0, 15.6))
        expected = alone.log_clusters(log_rate[shell[i] : shell[i] + 1])
        assert float(found[i]) == pytest.approx(float(expected), abs=1e-12)


def test_expected_clusters_outside_the_grid_are_counted_on_both_sides():
    narrow = MassPosteriors.from_normal([14.4], [0.1], np.linspace(14.1, 14.9, 81))
    problem = problem_of(posteriors=narrow)
    rate = problem.log_selected_rate(PARAMETERS)
    below, above = outside_shares(problem.likelihood, rate)
    total = integral(lambda m: phi(m) * selection(m))
    expected = [
        quad(lambda m: phi(m) * selection(m), *ends, limit=200)[0] / total for ends in ((12.5, 14.1), (14.9, 16))
    ]
    np.testing.assert_allclose([below, above], expected, rtol=1e-3)  # trapezoid on 0.01 dex where the selection bends
    low, high = central_interval(problem.likelihood, rate, 0.99)
    inside = quad(lambda m: phi(m) * selection(m), low, high, points=[14.1])[0] / total
    assert 0.99 <= inside < 0.9925  # rounded outwards to the grid of 0.01 dex


def test_sampling_a_wider_range_does_not_move_the_clusters_integrals():
    found = []
    for mass_range in ((13.5, 15.0), (12.0, 16.5)):  # the first lies within the posteriors' grid, which is added
        problem = problem_of(Population(selection=KnownSelection(selection, of_data=True), mass_range=mass_range))
        found.append(problem.likelihood.log_clusters(problem.log_rate(PARAMETERS)))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_likelihood_beyond_the_training_prior_is_refused_by_name():
    posteriors = gaussian_posteriors()
    log_prior = np.where(GRID < 13.5, -np.inf, posteriors.log_prior)
    broken = dataclasses.replace(posteriors, log_prior=log_prior, names=("A85", "A119", "A576", "Coma", "A2142"))
    with pytest.raises(ValueError, match=r"5 of 5 clusters .* not finite.*'A85'[\s\S]*inside the support"):
        problem_of(posteriors=broken)


def test_cluster_without_likelihood_anywhere_is_refused_by_name():
    posteriors = gaussian_posteriors()
    log_prob = posteriors.log_prob.copy()
    log_prob[3] = -np.inf
    with pytest.raises(ValueError, match=r"1 of 5 clusters .* zero likelihood at every mass.*'3'"):
        problem_of(posteriors=dataclasses.replace(posteriors, log_prob=log_prob))


def test_no_clusters_are_refused():
    empty = MassPosteriors(GRID, np.zeros((0, GRID.size)), np.zeros(GRID.size), ())
    with pytest.raises(ValueError, match="no posteriors"):
        problem_of(posteriors=empty)


@pytest.mark.parametrize(
    ("bad", "words"),
    [({"mass_range": (16.0, 12.5)}, "mass_range"), ({"correlated": True}, "two relations or more")],
)
def test_impossible_populations_are_refused(bad, words):
    with pytest.raises(ValueError, match=words):
        Population(**bad)

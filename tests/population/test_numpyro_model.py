"""The factor of NumPyro is that of Pyro, and so is its gradient; NUTS finds a slope."""

import numpy as np
import pytest
import torch
from pyro import poutine

from sbi_clustermass.population import PopulationLikelihood, Survey, cluster_factor, numpyro_cluster_factor
from sbi_clustermass.posterior import MassPosteriors

jax = pytest.importorskip("jax")
numpyro = pytest.importorskip("numpyro")

RNG = np.random.default_rng(1)
MASSES = 13.9 + RNG.exponential(1 / (1.7 * np.log(10)), 60)  # dn/dm falls as 10^(-1.7 m)
POSTERIORS = MassPosteriors.from_normal(MASSES + RNG.normal(0, 0.08, 60), 0.08, np.linspace(13.3, 15.8, 126))
REDSHIFT = RNG.uniform(0.11, 0.29, 60)
VALUES = 0.4 * (MASSES - 14) + RNG.normal(0, 0.05, 60)
POINT = np.array([-1.6, 0.35, 3.0])  # slope of the rate, slope of an observable, log number


@pytest.fixture(autouse=True)
def double():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def likelihood_of(redshift_error):
    survey = Survey.of_sky(300, [0.1, 0.2, 0.3], redshift_error=redshift_error)
    kernel = survey.log_kernel(REDSHIFT) if redshift_error else None
    return PopulationLikelihood.from_posteriors(POSTERIORS, shell=survey.place(REDSHIFT, 60), log_kernel=kernel), survey


def parts(likelihood, survey, point, xp):
    """Arguments of both factors, in NumPy-like arrays of JAX or torch."""
    asarray = xp.asarray
    mass, grid = (asarray(each.numpy()) - 14.0 for each in (likelihood.log10_mass, likelihood.grid))
    shells = asarray(survey.redshift)[:, None]
    log_rate = point[2] + np.log(10) * point[0] * mass + 2.0 * shells * mass
    log_selected = asarray(np.where(likelihood.log10_mass.numpy() > 13.8, 0.0, -3.0))[None]
    values = asarray(VALUES)
    return log_rate, log_selected, lambda rows: -0.5 * ((values[rows, None] - point[1] * grid) / 0.05) ** 2


def pyro_density(likelihood, survey, point, counts):
    log_rate, log_selected, log_observed = parts(likelihood, survey, point, torch)
    with poutine.trace() as traced:
        cluster_factor("c", likelihood, log_rate, log_selected=log_selected, log_observed=log_observed, counts=counts)
    return traced.trace.log_prob_sum()


def numpyro_density(likelihood, survey, point, counts):
    log_rate, log_selected, log_observed = parts(likelihood, survey, point, jax.numpy)

    def model():
        numpyro_cluster_factor(
            "c", likelihood, log_rate, log_selected=log_selected, log_observed=log_observed, counts=counts
        )

    return numpyro.infer.util.log_density(model, (), {}, {})[0]


@pytest.mark.parametrize("redshift_error", [0.0, 0.02])
@pytest.mark.parametrize("counts", [False, True])
def test_density_and_gradient_are_those_of_pyro(redshift_error, counts):
    likelihood, survey = likelihood_of(redshift_error)
    point = torch.tensor(POINT, requires_grad=True)
    expected = pyro_density(likelihood, survey, point, counts)
    (slope,) = torch.autograd.grad(expected, point)
    found = jax.value_and_grad(lambda at: numpyro_density(likelihood, survey, at, counts))(POINT)
    assert float(found[0]) == pytest.approx(float(expected.detach()), rel=1e-9)  # sums of thousands of float64
    np.testing.assert_allclose(found[1], slope, rtol=1e-9, atol=1e-9)


def test_nuts_finds_the_slope_that_a_subsample_scales_to():
    likelihood = PopulationLikelihood.from_posteriors(POSTERIORS)
    above = np.where(likelihood.log10_mass.numpy() >= 13.9, 0.0, -np.inf)

    def model(subsample_size=None):
        slope = numpyro.sample("slope", numpyro.distributions.Normal(-2.0, 1.0))
        log_rate = (slope * np.log(10) * (likelihood.log10_mass.numpy() - 14.0) + above)[None]
        numpyro_cluster_factor("c", likelihood, log_rate, counts=False, subsample_size=subsample_size)

    kernel = numpyro.infer.NUTS(model)
    chain = numpyro.infer.MCMC(kernel, num_warmup=100, num_samples=200, progress_bar=False)
    chain.run(jax.random.key(1))
    slope = chain.get_samples()["slope"]
    assert abs(float((slope.mean() + 1.7) / slope.std())) < 3  # 1 of 400 seeds
    seeded = numpyro.handlers.seed(model, 1)
    trace = numpyro.handlers.trace(seeded).get_trace(20)
    assert trace["c"]["fn"].log_factor.shape == (20,)
    assert trace["c"]["scale"] == 3.0


def test_single_precision_and_missing_shells_are_refused():
    likelihood, survey = likelihood_of(0.0)
    one_shell = np.zeros((1, len(likelihood.log10_mass)))
    with pytest.raises(ValueError, match="with 2 shells"):
        numpyro_cluster_factor("c", likelihood, one_shell)
    jax.config.update("jax_enable_x64", False)
    with pytest.raises(ValueError, match="float32"):
        numpyro_cluster_factor("c", likelihood, np.zeros((len(survey), len(likelihood.log10_mass))))

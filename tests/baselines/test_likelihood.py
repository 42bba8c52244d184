"""The likelihood of learned summaries on clusters: exact on a grid, the same by MCMC, and for any prior."""

import numpy as np
import pytest
import torch
from sbi.inference.posteriors.posterior_parameters import MCMCPosteriorParameters

from clustermocks import FlatMasses, SphericalJeans
from sbi_clustermass.baselines import LearnedLikelihood
from sbi_clustermass.training import Training

MCMC = MCMCPosteriorParameters(num_chains=100, warmup_steps=10, thin=1)


@pytest.fixture(scope="module")
def clusters():
    return SphericalJeans().simulate(FlatMasses(13.5, 15.3).draw(300, seed=4), seed=5)


@pytest.fixture(scope="module")
def fitted(clusters):
    return LearnedLikelihood(training=Training(learning_rate=1e-3, max_updates=100), epochs=60).fit(clusters)


def test_mcmc_of_sbi_agrees_with_the_grid(fitted, clusters):
    one = clusters.select(np.array([7]))
    posterior = fitted.predict(one).posteriors
    chain = fitted.trainer.build_posterior(fitted.estimator, posterior_parameters=MCMC)
    torch.manual_seed(1)
    with torch.random.fork_rng():
        samples = chain.sample((600,), x=fitted.summaries.of(one), show_progress_bars=False).numpy()[:, 0]
    selected = posterior.with_prior(-fitted.selection.log(fitted.grid))  # sbi's likelihood is that of selected clusters
    # slice samples are hardly correlated: the errors of 600 are std/24 and std/34, here times 4
    assert abs(samples.mean() - selected.mean[0]) < 4 * selected.std[0] / 24
    assert abs(samples.std() - selected.std[0]) < 4 * selected.std[0] / 34


def test_posteriors_are_the_likelihood_times_the_prior_of_the_mocks(fitted, clusters):
    some = clusters.select(np.arange(20))
    posteriors, likelihood = fitted.predict(some).posteriors, fitted.log_likelihood(some, fitted.grid)
    found = posteriors.log_likelihood()
    shift = found - likelihood
    np.testing.assert_allclose(shift - shift[:, :1], 0, atol=1e-9)  # rounding
    assert posteriors.names == some.names


def test_a_support_given_by_the_user_bounds_the_masses(clusters):
    narrow = LearnedLikelihood(support=(14.0, 15.0), training=Training(max_updates=2), epochs=1).fit(clusters)
    assert (narrow.grid[0], narrow.grid[-1]) == (14.0, 15.0)

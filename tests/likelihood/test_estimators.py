"""Likelihoods of summaries by sbi give the posterior of a model whose likelihood is known."""

import numpy as np
import pytest
import torch

from sbi_clustermass.likelihood import METHODS
from sbi_clustermass.posterior import MassPosteriors

LOW, HIGH, NOISE = 13.0, 15.0, 0.3


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_the_likelihood_of_a_gaussian(method):
    torch.manual_seed(1)
    theta = LOW + (HIGH - LOW) * torch.rand(2000, 1)
    summary = theta - 14.0 + NOISE * torch.randn(2000, 1)
    choice = METHODS[method]()
    trainer = choice.trainer((LOW, HIGH)).append_simulations(theta, summary)
    estimator = trainer.train(training_batch_size=200, learning_rate=3e-3, max_num_epochs=6)
    grid, observed = torch.linspace(LOW, HIGH, 101), torch.tensor([[-0.3], [0.0], [0.3]])
    with torch.no_grad():
        log_likelihood = choice.log_likelihood(estimator, observed, grid)
    found = MassPosteriors.from_log_prob(grid.double().numpy(), log_likelihood.double().numpy())
    exact = MassPosteriors.from_normal(14.0 + observed[:, 0], NOISE, found.grid)
    # 2000 pairs know a Gaussian's mean to .3/sqrt(2000) = .007; 60 updates of a network to a tenth of its width
    np.testing.assert_allclose(found.mean, exact.mean, atol=0.05)
    np.testing.assert_allclose(found.std, exact.std, rtol=0.2)

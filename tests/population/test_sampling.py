"""The sampler on a Gaussian, whose draws are known, and its manners."""

import numpy as np
import pyro
import pytest
import torch
from pyro.util import get_rng_state

from sbi_clustermass.population import Sampler
from sbi_clustermass.population.sampling import draw

MEAN = torch.tensor([1.0, -2.0, 30.0], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, 0.9, 0.0], [0.9, 1.0, 0.01], [0.0, 0.01, 1e-3]], dtype=torch.float64)
PRECISION = torch.linalg.inv(COVARIANCE)
SMALL = Sampler(num_samples=12, num_warmup=8, num_chains=2, seed=3)


def potential(position):
    return 0.5 * (position - MEAN) @ PRECISION @ (position - MEAN)


def test_draws_from_a_narrow_correlated_gaussian_have_its_moments():
    positions, diverging = draw(potential, torch.zeros(3, dtype=torch.float64), Sampler(250, 50, 2, seed=1))
    flat = positions.reshape(-1, 3).numpy()
    assert positions.shape == (2, 250, 3)
    assert not diverging.any()
    # 5 sigma of the mean of 500 draws, were only half of them independent: fails once in 10^6
    assert np.all(np.abs(flat.mean(axis=0) - MEAN.numpy()) < 5 * COVARIANCE.diagonal().sqrt().numpy() / np.sqrt(250))
    np.testing.assert_allclose(np.corrcoef(flat.T)[0, 1], 0.9, atol=0.06)  # 5 sigma: (1 - 0.9^2) / sqrt(250) = 0.012


def test_same_seed_same_draws_and_chains_differ():
    start = torch.zeros(3, dtype=torch.float64)
    one, other = (draw(potential, start, SMALL)[0] for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


def test_global_random_states_and_pyros_parameters_are_left_alone_and_nothing_is_printed(capfd):
    pyro.clear_param_store()
    pyro.param("kept", torch.tensor(1.0))
    before = get_rng_state()  # of torch, random and numpy
    draw(potential, torch.zeros(3, dtype=torch.float64), SMALL)
    after = get_rng_state()
    assert torch.equal(after["torch"], before["torch"])
    assert after["random"] == before["random"]
    np.testing.assert_equal(after["numpy"], before["numpy"])
    assert list(pyro.get_param_store().keys()) == ["kept"]
    pyro.clear_param_store()
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_progress_counts_every_draw_of_every_chain(capfd):
    seen = []
    sampler = Sampler(SMALL.num_samples, SMALL.num_warmup, SMALL.num_chains, seed=0, progress=seen.append)
    draw(potential, torch.zeros(3, dtype=torch.float64), sampler)
    assert seen == list(range(1, 41))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("bad", [{"num_samples": 0}, {"num_warmup": 0}, {"num_chains": 0}])
def test_impossible_settings_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Sampler(**bad)

"""Samplers on densities whose moments are known, and one contract over all of them."""

import numpy as np
import pyro
import pytest
import torch
from pyro.util import get_rng_state
from scipy.stats import skewnorm

from sbi_clustermass.population import NUTS, SAMPLERS, SVI, Laplace

MEAN = torch.tensor([1.0, -2.0, 30.0], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, 0.9, 0.0], [0.9, 1.0, 0.01], [0.0, 0.01, 1e-3]], dtype=torch.float64)
PRECISION = torch.linalg.inv(COVARIANCE)
START = torch.zeros(3, dtype=torch.float64)
SMALL = {
    "nuts": NUTS(num_samples=12, num_warmup=8, num_chains=2, seed=3),
    "svi": SVI(steps=20, num_samples=12, seed=3),
    "svi, flow": SVI(guide="flow", steps=20, num_samples=12, seed=3),
    "laplace": Laplace(num_samples=12, seed=3),
}
LARGE = {
    "nuts": NUTS(250, 50, 2, seed=1),
    "svi": SVI(steps=150, num_samples=500, seed=1),
    "svi, flow": SVI(guide="flow", steps=300, particles=1, num_samples=500, seed=1),
    "laplace": Laplace(num_samples=500, seed=1),
}


def gaussian(position):
    return 0.5 * ((position - MEAN) @ PRECISION * (position - MEAN)).sum(-1)


def skewed(position):
    """Potential of a skew normal density with shape 4, and a normal one."""
    u, v = position.unbind(-1)
    return 0.5 * u**2 - torch.special.log_ndtr(4 * u) + 0.5 * v**2


def test_every_named_sampler_is_tested_here():
    assert set(SAMPLERS) == {name.split(",")[0] for name in SMALL}


@pytest.mark.parametrize("name", LARGE)
def test_draws_from_a_narrow_correlated_gaussian_have_its_moments(name):
    draws = LARGE[name].draw(gaussian, START)
    flat = draws.positions.reshape(-1, 3).numpy()
    assert len(flat) == 500
    # 5 sigma of the mean of 500 draws, were only half of them independent: fails once in 10^6
    assert np.all(np.abs(flat.mean(axis=0) - MEAN.numpy()) < 5 * COVARIANCE.diagonal().sqrt().numpy() / np.sqrt(250))
    np.testing.assert_allclose(np.corrcoef(flat.T)[0, 1], 0.9, atol=0.06)  # 5 sigma: (1 - 0.9^2) / sqrt(250) = 0.012
    assert not draws.stats.get("diverging", np.zeros(1)).any()
    assert draws.facts.get("pareto_k", 0.0) < 0.7  # an approximation that is exact here


@pytest.mark.slow
def test_all_but_the_normal_guide_follow_a_skewed_density():
    start = torch.zeros(2, dtype=torch.float64)
    for sampler in (NUTS(400, 100, 2, seed=2), SVI("flow", steps=500, num_samples=800, seed=2), Laplace(800, seed=2)):
        u = sampler.draw(skewed, start).positions[..., 0].numpy().ravel()
        # 800 draws, 400 or so of them independent: errors .03 and .03; the flow's own shape within .05
        np.testing.assert_allclose([u.mean(), u.std()], [skewnorm.mean(4), skewnorm.std(4)], atol=0.1)


def peaked(position):
    """A tenth of the mass is in a peak of width .2, which alone sets the curvature at the mode; the rest is normal."""
    square = 0.5 * position.square().sum(-1)
    return -torch.logaddexp(-square, -square / 0.2**2 + np.log(1 / 9 / 0.2**2))


def test_laplace_proposes_better_round_by_round():
    start = torch.zeros(2, dtype=torch.float64)
    one, three = (Laplace(1000, rounds=rounds, seed=1).draw(peaked, start) for rounds in (1, 3))
    assert three.facts["effective_draws"] > 10 * one.facts["effective_draws"]
    # .9 of variance 1 and .1 of variance .04; 1000 draws: five errors
    np.testing.assert_allclose(three.positions.var().item(), 0.904, atol=5 * 0.904 * np.sqrt(2 / 2000))


def heavy_tailed(u):
    """Independent Student t densities."""
    return 0.6 * torch.log1p(8 * u.square()).sum(-1)


def test_an_approximation_without_the_posteriors_tails_is_found_out():
    draws = Laplace(num_samples=2000, seed=0).draw(heavy_tailed, torch.zeros(6, dtype=torch.float64))
    assert draws.facts["pareto_k"] > 0.7  # weights without a variance


@pytest.mark.parametrize("name", SMALL)
def test_same_seed_same_draws(name):
    one, other = (SMALL[name].draw(gaussian, START).positions for _ in range(2))
    assert torch.equal(one, other)
    assert one.dtype == torch.float64


def test_chains_differ():
    positions = SMALL["nuts"].draw(gaussian, START).positions
    assert positions.shape == (2, 12, 3)
    assert not torch.equal(positions[0], positions[1])


@pytest.mark.parametrize("name", SMALL)
def test_global_state_is_left_alone_and_nothing_is_printed(name, capfd):
    pyro.clear_param_store()
    pyro.param("kept", torch.tensor(1.0))
    before = get_rng_state()  # of torch, random and numpy
    SMALL[name].draw(gaussian, START)
    after = get_rng_state()
    assert torch.equal(after["torch"], before["torch"])
    assert after["random"] == before["random"]
    np.testing.assert_equal(after["numpy"], before["numpy"])
    assert list(pyro.get_param_store().keys()) == ["kept"]
    assert torch.get_default_dtype() == torch.float32
    pyro.clear_param_store()
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


@pytest.mark.parametrize("name", SMALL)
def test_progress_counts_every_step(name):
    seen = []
    SMALL[name].draw(gaussian, START, seen.append)
    assert seen == list(range(1, SMALL[name].total + 1))


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (NUTS, {"num_samples": 0}),
        (NUTS, {"num_warmup": 0}),
        (NUTS, {"num_chains": 0}),
        (SVI, {"steps": 0}),
        (SVI, {"guide": "flwo"}),
        (SVI, {"learning_rate": 0.0}),
        (Laplace, {"num_samples": 0}),
        (Laplace, {"rounds": 0}),
    ],
)
def test_impossible_settings_are_refused_by_name(kind, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        kind(**bad)

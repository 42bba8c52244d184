"""The table of log densities, held against quadrature, and with the ladder of an embedding as its knots."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.integrate import quad

from sbi_clustermass.embeddings import TrialMasses
from sbi_clustermass.flows import Tabulated
from sbi_clustermass.flows.tabulated import TabulatedDensity, TabulatedEstimator


def table(seed, knots=7, scale=5.0):
    generator = torch.Generator().manual_seed(seed)
    logs = scale * torch.randn(2, knots, generator=generator, dtype=torch.float64)
    return TabulatedDensity(torch.linspace(13, 15, knots, dtype=torch.float64), logs)


@given(seed=st.integers(0, 2**16), low=st.floats(12.8, 14.9), width=st.floats(0.01, 2), scale=st.floats(0, 30))
@settings(max_examples=30)
def test_the_mass_within_bounds_is_the_integral_of_the_density(seed, low, width, scale):
    found, high = table(seed, scale=scale), min(low + width, 15.0)
    low = min(low, high - 0.005)

    def density(value, row):
        return found.log_prob(torch.full((1, 1), value, dtype=torch.float64))[row].exp().item()

    kinks = [knot for knot in found.knots.tolist() if low < knot < high]
    for row in range(2):
        edges = [low, *kinks, high]
        truth = sum(quad(density, a, b, args=(row,))[0] for a, b in pairwise(edges))
        assert found.log_mass(low, high).exp()[row].item() == pytest.approx(truth, rel=1e-6, abs=1e-12)


@given(seed=st.integers(0, 2**16), level=st.floats(0.001, 0.999))
@settings(max_examples=30)
def test_the_quantile_undoes_the_mass_below(seed, level):
    found = table(seed)
    values = found.quantile(torch.full((2, 1), level, dtype=torch.float64))
    below = torch.cat([found.log_mass(13.0, float(value)).exp()[[row]] for row, value in enumerate(values)])
    # a piece whose log density changes by less than 1e-3 counts as flat
    torch.testing.assert_close(below, torch.full((2,), level, dtype=torch.float64), rtol=0, atol=1e-4)


def test_flat_logs_are_a_flat_density_with_exponential_tails():
    flow = TabulatedEstimator(torch.tensor([0.0, 1.0]), torch.nn.Identity(), 11, features=11)
    logs = torch.zeros(1, 11)
    values = torch.tensor([0.0, 0.37, 1.0, 1.1, -0.2])[:, None, None]
    # tails of one step, .1, each: total 1.2
    expected = np.array([0, 0, 0, -1, -2]) - np.log(1.2)
    np.testing.assert_allclose(flow.log_prob(values, logs)[:, 0], expected, atol=1e-5)


def test_the_ladder_of_an_embedding_is_the_table_and_has_no_trunk():
    embedding = TrialMasses(14.4, 1.8, trials=19)
    x = torch.rand(20, 15, 3)
    x[..., 1], x[..., 2] = 800 * torch.randn(20, 15), 1
    flow = Tabulated(embedding=embedding)(13.5 + 1.8 * torch.rand(20, 1), x)
    masses = torch.linspace(13.5, 15.3, 19)
    with torch.no_grad():
        density, curve = flow.log_prob_grid(x, masses), flow.embed(x)
    torch.testing.assert_close(density - density[:, :1], curve - curve[:, :1], rtol=1e-4, atol=1e-3)  # float32 of 1e2
    assert len(list(flow.parameters())) == len(list(embedding.parameters()))


def test_tables_of_several_parameters_learn_that_they_depend_on_each_other_and_sample_their_density():
    """b = a + noise of width .1, a flat: one table for each given the others would be .1 wide as well, alone 1 wide."""
    torch.manual_seed(0)
    a, x = 2 * torch.rand(4000, 1), torch.ones(2000, 4, 3)
    theta, test = torch.cat([a, a + 0.1 * torch.randn(4000, 1)], 1).split(2000)
    flow = Tabulated(embedding=torch.nn.Flatten(), trunk=(8,))(theta, x)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        flow.loss(theta, x).mean().backward()
        optimizer.step()
    exact = np.log(2) + 0.5 * np.log(2 * np.pi * np.e * 0.01)  # entropy of both: -0.19; independent: about 1.4
    # 2000 pairs: error .02; knots are half of the width apart, and 2000 pairs to learn from are few
    assert exact - 0.1 < flow.loss(test, x).mean().item() < exact + 0.3
    axis = torch.linspace(-0.5, 2.5, 301)
    with torch.no_grad():
        points = torch.cartesian_prod(axis, axis)
        share = flow.log_prob(points[:, None], x[:1]).exp()[:, 0] * (axis[1] - axis[0]) ** 2
        samples = flow.sample((4000,), x[:1])[:, 0]
    assert share.sum().item() == pytest.approx(1, abs=0.01)  # trapezoid of kinks on a grid of a tenth of the width
    mean = share @ points
    covariance = (points - mean).T @ (share[:, None] * (points - mean))
    # five standard errors of 4000 draws
    torch.testing.assert_close(samples.mean(0), mean, rtol=0, atol=5 * 0.6 / 4000**0.5)
    torch.testing.assert_close(torch.cov(samples.T), covariance, rtol=0, atol=5 * 0.35 / 4000**0.5)


def test_a_ladder_is_the_table_of_a_single_parameter_only():
    embedding = TrialMasses(14.4, 1.8, trials=19)
    x = torch.ones(20, 15, 3)
    flow = Tabulated(embedding=embedding, trunk=(8, 4))(13.5 + 1.8 * torch.rand(20, 2), x)
    assert flow.embed(x).shape == (20, 4)  # of the trunk
    assert flow.sample((3,), x).shape == (3, 20, 2)

"""Flows in a box: all of their probability lies inside it, and the change of variables is right."""

import pytest
import torch
from torch.distributions import Independent, Normal

from sbi_clustermass.flows import MDN, NSF
from sbi_clustermass.flows.box import Boxed, OnBox, normal_coordinates
from sbi_clustermass.flows.density_estimator import DensityEstimator

LOW, HIGH = torch.tensor([13.0, -0.5]), torch.tensor([15.6, 0.5])


class StandardNormal(DensityEstimator):
    """N(0, 1) in two dimensions whatever the condition: a flat density of the parameters."""

    def __init__(self):
        super().__init__(torch.nn.Identity(), (2,), (1,))
        self.base = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)

    def log_prob(self, input, condition):
        return self.base.log_prob(input).expand(*input.shape[:-1])

    def sample(self, sample_shape, condition):
        return self.base.sample((*sample_shape, len(condition)))


def small(kind):
    flow = kind(embedding=torch.nn.Flatten(), trunk=(8,), hidden_features=8)
    x = torch.randn(300, 4, 3, generator=torch.Generator().manual_seed(1))
    theta = LOW + (HIGH - LOW) * torch.rand(300, 2, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(0)
    return OnBox(flow, tuple(LOW.tolist()), tuple(HIGH.tolist()))(theta, x), x


def test_a_standard_normal_of_the_coordinates_is_flat_in_the_box_and_nothing_outside():
    flat = Boxed(StandardNormal(), LOW, HIGH)
    theta = LOW + (HIGH - LOW) * torch.tensor([[0.01, 0.5], [0.3, 0.999], [0.5, 0.5]])[:, None]
    expected = -(HIGH - LOW).log().sum()
    found = flat.log_prob(theta, torch.zeros(1, 1))
    torch.testing.assert_close(found, expected.expand(3, 1), rtol=0, atol=1e-4)  # float32 of masses near 14
    outside = torch.tensor([[[12.9, 0.0]], [[14.0, 0.51]]])
    assert (flat.log_prob(outside, torch.zeros(1, 1)) == -torch.inf).all()


@pytest.mark.parametrize("kind", [MDN, NSF])
def test_its_density_integrates_to_one_inside_the_box_and_its_samples_follow_it(kind):
    network, x = small(kind)
    edges = torch.special.ndtr(torch.linspace(-4.6, 4.6, 401, dtype=torch.float64)).float()  # cells shrink at the ends
    middle, width = (edges[1:] + edges[:-1]) / 2, edges.diff()
    points = LOW + (HIGH - LOW) * torch.cartesian_prod(middle, middle)
    area = torch.outer(width, width).flatten() * (HIGH - LOW).prod()
    with torch.no_grad():
        share = network.log_prob(points[:, None], x[:1]).exp()[:, 0] * area
        assert float(share.sum()) == pytest.approx(1, abs=5e-3)  # mid-points of cells
        draws = network.sample((20_000,), x[:1])[:, 0]
    assert ((draws >= LOW) & (draws <= HIGH)).all()
    mean = (share[:, None] * points).sum(0)
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - mean).abs() < 5 * error + 5e-3).all()


def test_coordinates_end_at_the_edges_and_a_box_must_rise():
    assert normal_coordinates(HIGH[None], LOW, HIGH).max() < 4.8
    with pytest.raises(ValueError, match="rise"):
        OnBox(MDN(), (1.0,), (0.5,))

"""The way back for densities that have become so wide that the truncated loss is flat."""

import torch
from torch import nn

from sbi_clustermass.flows import MDN, StackedAffine
from sbi_clustermass.flows.univariate import GaussianMixture, floored_log_mass

LOW, HIGH = 13.5, 15.3


def toy(n=400):
    torch.manual_seed(1)
    mass = LOW + (HIGH - LOW) * torch.rand(n, 1)
    return mass, mass[:, None] + 0.05 * torch.randn(n, 1, 1)  # the observation is the mass, nearly


def trained(flow, mass, x, updates=400):
    optimizer = torch.optim.Adam(flow.parameters(), lr=3e-2)
    for _ in range(updates):
        loss = flow.truncated_loss(mass, x, low=LOW, high=HIGH).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def test_a_flow_far_wider_than_the_bounds_comes_back():
    mass, x = toy()
    torch.manual_seed(0)
    flow = StackedAffine(hidden=(8,), blocks=1, embedding=nn.Flatten())(mass, x)
    last = [module for module in flow.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.bias[1] = 6.0  # log sigma of the block: 400 times the spread of the masses
    scale = flow.net.normal(flow.embed(x))[1]
    assert scale.min() > 100 * (HIGH - LOW)
    assert trained(flow, mass, x) < 0  # uniform within the bounds: .59; sigma = .05 dex: -1.6


def test_no_component_of_a_mixture_density_network_is_without_bounds():
    mass, x = toy(50)
    flow = MDN(embedding=nn.Flatten(), trunk=(4,))(mass, x)
    with torch.no_grad():
        for name, weight in flow.named_parameters():
            if "_unconstrained_diagonal_layer.bias" in name:
                weight.fill_(-200)  # softplus of it is 0 in float32
    loss = flow.truncated_loss(mass, x, low=LOW, high=HIGH).mean()
    loss.backward()
    assert torch.isfinite(loss)
    assert all(weight.grad is None or torch.isfinite(weight.grad).all() for weight in flow.parameters())


def test_a_mixture_that_only_lies_elsewhere_keeps_the_truncated_loss():
    """A posterior against an end of the prior is the tail of a Gaussian that lies outside: that is no drift."""
    outside = GaussianMixture(torch.zeros(1, 1), torch.tensor([[LOW - 2.0]]), torch.tensor([[0.5]]))
    assert outside.log_mass(LOW, HIGH) < -10
    torch.testing.assert_close(floored_log_mass(outside, LOW, HIGH), outside.log_mass(LOW, HIGH))

"""StackedAffine: the closed form, the paper's size, sbi's door, files, and a device that is not the CPU."""

import pytest
import torch

from sbi_clustermass.embeddings import KDEImage
from sbi_clustermass.flows import StackedAffine, flow_from_config

SMALL = (16, 8, 16)


def toy(n=300, theta=1, dtype=torch.float32):
    """Clusters whose velocity dispersion follows mass: 12 galaxies, some of them padding."""
    generator = torch.Generator().manual_seed(1)
    mass = 13.5 + 1.8 * torch.rand(n, theta, generator=generator, dtype=dtype)
    x = torch.zeros(n, 12, 3, dtype=dtype)
    x[..., 0] = 1.6 * torch.rand(n, 12, generator=generator, dtype=dtype).sqrt()
    sigma = 700 * 10 ** ((mass[:, :1] - 14.5) / 3)
    x[..., 1] = sigma * torch.randn(n, 12, generator=generator, dtype=dtype)
    x[..., 2] = 1
    x[::3, 10:] = 0
    return mass, x


@pytest.mark.parametrize("theta", [1, 2])
@pytest.mark.parametrize("blocks", [1, 3])
def test_the_flow_is_the_gaussian_in_closed_form(blocks, theta):
    torch.manual_seed(0)
    mass, x = toy(60, theta, torch.float64)
    flow = StackedAffine(blocks=blocks, hidden=SMALL)(mass, x).double()
    numbers = 3 * flow.embed(x).reshape(60, blocks, 2, theta)  # larger than at the start: the form is put to the test
    loc, scale = torch.zeros(60, theta).double(), torch.ones(60, theta).double()
    for mu, log_sigma in (pair.unbind(1) for pair in numbers.unbind(1)):
        loc, scale = loc + scale * mu, scale * log_sigma.exp()
    mean, std = mass.mean(0), mass.std(0, correction=0)
    truth = torch.distributions.Normal(mean + std * loc, std * scale).log_prob(mass).sum(-1)
    found = flow.net.log_prob(mass, numbers.flatten(1))[0]
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-10)  # the stack's float64 roundings


def test_three_blocks_are_the_formula_of_the_docstring():
    mass, x = toy(60, dtype=torch.float64)
    flow = StackedAffine(hidden=SMALL)(mass, x).double()
    m1, l1, m2, l2, m3, l3 = flow.embed(x).unbind(1)
    s1, s2, s3 = l1.exp(), l2.exp(), l3.exp()
    mean, std = mass.mean(), mass.std(correction=0)
    loc, scale = mean + std * (m1 + s1 * m2 + s1 * s2 * m3), std * s1 * s2 * s3
    truth = torch.distributions.Normal(loc, scale).log_prob(mass[:, 0])
    torch.testing.assert_close(-flow.loss(mass, x), truth, rtol=0, atol=1e-10)  # float64 roundings
    for found, expected in zip(flow.net.normal(flow.embed(x)), (loc, scale), strict=True):
        torch.testing.assert_close(found[:, 0], expected, rtol=0, atol=1e-10)


def test_the_papers_network_has_4_042_950_weights():
    flow = StackedAffine()(*toy(4))
    assert sum(p.numel() for p in flow.parameters() if p.requires_grad) == 4_042_950


def test_three_hundred_updates_at_the_papers_learning_rate_reduce_the_loss():
    torch.manual_seed(0)
    mass, x = toy(100)
    flow = StackedAffine(hidden=(32, 16, 32), embedding=KDEImage(bins=20))(mass, x)
    summaries, cached = flow.summary(x), flow.on_summaries()
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-4)
    losses = []
    for _ in range(300):
        loss = cached.loss(mass, summaries).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in flow.parameters())
    # a Gaussian of the prior's width scores 0.74 nat; the start is near it, the relation is worth more than 0.15 nat
    assert losses[0] < 1.2
    assert losses[-1] < losses[0] - 0.15


@pytest.mark.parametrize("theta", [1, 2])
def test_a_mixture_base_is_a_mixture_of_gaussians_in_closed_form(theta):
    torch.manual_seed(0)
    mass, x = toy(60, theta, torch.float64)
    flow = StackedAffine(hidden=SMALL, components=3)(mass, x).double()
    numbers = 3 * flow.embed(x)  # larger than at the start: the form is put to the test
    loc, scale = flow.net.normal(numbers)
    base = numbers[:, 3 * 2 * theta :].unflatten(-1, (3, 1 + 2 * theta))
    mean = base[..., 1 : 1 + theta] + torch.tensor([-1.0, 0.0, 1.0])[:, None]
    parts = torch.distributions.Normal(
        loc[:, None] + scale[:, None] * mean, scale[:, None] * base[..., 1 + theta :].exp()
    )
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=base[..., 0]), torch.distributions.Independent(parts, 1)
    )
    torch.testing.assert_close(
        flow.net.log_prob(mass, numbers)[0], mixture.log_prob(mass), rtol=0, atol=1e-10
    )  # float64
    if theta == 1:
        closed = flow.net.mixture(numbers)
        torch.testing.assert_close(closed.log_prob(mass)[:, 0], mixture.log_prob(mass), rtol=0, atol=1e-10)


def test_a_mixture_base_finds_two_modes():
    torch.manual_seed(0)
    mass, x = toy(300)
    sign = torch.where(torch.rand(300, 1) < 0.5, -1.0, 1.0)
    mass = 14.4 + 0.5 * sign + 0.05 * torch.randn(300, 1)
    gaussian, mixture = (StackedAffine(hidden=SMALL, components=n, embedding=KDEImage(bins=6)) for n in (1, 2))
    losses = []
    for flow in (gaussian(mass, x), mixture(mass, x)):
        optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
        images, cached = flow.summary(x), flow.on_summaries()
        for _ in range(100):
            loss = cached.loss(mass, images).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    # entropies: one Gaussian of width .5, 0.73 nat; two of width .05 each, -0.88 nat
    assert losses[1] < losses[0] - 0.8


def test_a_mixture_base_samples_its_density():
    torch.manual_seed(0)
    mass, x = toy(60)
    flow = StackedAffine(hidden=SMALL, components=3)(mass, x)
    samples = flow.sample((4000,), x[:2])[..., 0]
    mixture = flow.net.mixture(flow.embed(x[:2]))
    mean = (mixture.log_weight.exp() * mixture.mean).sum(-1)
    spread = (mixture.log_weight.exp() * (mixture.std**2 + (mixture.mean - mean[:, None]) ** 2)).sum(-1).sqrt()
    assert ((samples.mean(0) - mean).abs() < 4 * spread / 4000**0.5).all()  # once in 16 000 trials, seed fixed
    assert ((samples.std(0) / spread - 1).abs() < 0.06).all()  # four standard errors are .045


def test_the_start_is_modest():
    torch.manual_seed(0)
    mass, x = toy(200)
    numbers = StackedAffine()(mass, x).embed(x)
    assert numbers.abs().max() < 1.5  # torch's default weights behind tanh: sums of 512 terms of 0.03


def test_values_out_of_range_and_unknown_names_fail_in_our_name():
    with pytest.raises(ValueError, match="Did you mean 'stacked_affine'"):
        flow_from_config({"name": "stacked_afine"})
    with pytest.raises(ValueError, match="blocks is 0"):
        StackedAffine(blocks=0)
    with pytest.raises(ValueError, match="hidden is"):
        StackedAffine(hidden=(16, 0))
    with pytest.raises(ValueError, match=r"Did you mean 'tanh'"):
        StackedAffine(activation="tan")

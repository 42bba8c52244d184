"""StackedAffine: the closed form, the paper's size, sbi's door, files, and a device that is not the CPU."""

import pytest
import torch
from torch import nn

from sbi_clustermass.embeddings import KDEImage
from sbi_clustermass.flows import StackedAffine, flow_from_config
from sbi_clustermass.flows.mlp import perceptron

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


@pytest.mark.parametrize("blocks", [1, 3])
def test_the_flow_is_the_gaussian_in_closed_form(blocks):
    torch.manual_seed(0)
    mass, x = toy(60, dtype=torch.float64)
    flow = StackedAffine(blocks=blocks, hidden=SMALL)(mass, x).double()
    numbers = 3 * flow.embed(x).reshape(60, blocks, 2, 1)  # larger than at the start: the form is put to the test
    loc, scale = torch.zeros(60, 1).double(), torch.ones(60, 1).double()
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
    assert all(p.grad is not None and p.grad.isfinite().all() for p in flow.parameters() if p.requires_grad)
    # a Gaussian of the prior's width scores 0.74 nat; the start is near it, the relation is worth more than 0.15 nat
    assert losses[0] < 1.2
    assert losses[-1] < losses[0] - 0.15


def test_a_mixture_base_is_a_mixture_of_gaussians_in_closed_form():
    torch.manual_seed(0)
    mass, x = toy(60, dtype=torch.float64)
    flow = StackedAffine(hidden=SMALL, components=3)(mass, x).double()
    numbers = 3 * flow.embed(x)  # larger than at the start: the form is put to the test
    loc, scale = flow.net.normal(numbers)
    base = numbers[:, 6:].unflatten(-1, (3, 3))
    mean = base[..., 1] + torch.tensor([-1.0, 0.0, 1.0])
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=base[..., 0]),
        torch.distributions.Normal(loc + scale * mean, scale * base[..., 2].exp()),
    )
    found, truth = flow.net.log_prob(mass, numbers)[0], mixture.log_prob(mass[:, 0])
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-10)  # float64
    torch.testing.assert_close(flow.net.mixture(numbers).log_prob(mass)[:, 0], truth, rtol=0, atol=1e-10)


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


def test_of_one_parameter_it_has_no_weights_besides_the_perceptrons_of_the_features():
    mass, x = toy(60)
    torch.manual_seed(3)
    flow = StackedAffine(hidden=SMALL, components=2)(mass, x)
    torch.manual_seed(3)
    perceptrons = [perceptron(2500, *SMALL, wide, activation=nn.Tanh) for wide in (2, 2, 2, 6)]
    names = [f"embedding.2.blocks.{k}.{name}" for k, each in enumerate(perceptrons) for name in each.state_dict()]
    standard = ["embedding.2.standard.mean", "embedding.2.standard.std"]
    theta = ["net.net._transform._transforms.0.mean", "net.net._transform._transforms.0.std"]
    assert sorted(flow.state_dict()) == sorted(names + standard + theta)
    drawn = [weight for each in perceptrons for weight in each.state_dict().values()]
    assert all(torch.equal(flow.state_dict()[name], weight) for name, weight in zip(names, drawn, strict=True))
    features = (flow.summary(x).flatten(1) - flow.state_dict()[standard[0]]) / flow.state_dict()[standard[1]]
    assert torch.equal(flow.embed(x), torch.cat([each(features) for each in perceptrons], 1))


def stirred(components=1, theta=2, dtype=torch.float64):
    """A flow of several parameters that depends strongly on those before and on the observation."""
    torch.manual_seed(0)
    mass, x = toy(60, theta, dtype)
    flow = StackedAffine(hidden=SMALL, components=components, embedding=KDEImage(bins=6))(mass, x).to(dtype)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter *= 2
    return flow, mass, x


@pytest.mark.parametrize("components", [1, 3])
def test_each_parameter_moves_itself_and_those_behind_by_the_jacobian_of_the_density(components):
    flow, mass, x = stirred(components, theta=3)
    context, noise_of = flow.embed(x[:1]), flow.net.net.transform_to_noise
    jacobian = torch.func.jacfwd(lambda theta: noise_of(theta, context)[0])(mass[:1])[:, 0]
    assert torch.equal(jacobian, jacobian.tril())
    assert (jacobian.tril(-1) != 0).sum() == 3  # a dependence on all before
    base = flow.net._base.log_prob(
        noise_of(mass[:1], context), context[:, flow.net.layout.size - flow.net.layout.base :]
    )
    truth = base + jacobian.diagonal().log().sum()
    torch.testing.assert_close(flow.log_prob(mass[:1], x[:1])[0], truth, rtol=0, atol=1e-10)  # float64 roundings


def test_the_inverse_undoes_the_map_to_noise():
    flow, mass, x = stirred(theta=3)
    context = flow.embed(x)
    theta = flow.net.net.transform_to_noise(mass, context)
    for transform in reversed(flow.net._transforms):
        theta, _ = transform.inverse(theta, context)
    torch.testing.assert_close(theta, mass, rtol=0, atol=1e-9)  # float64 roundings, grown by three steep blocks


@pytest.mark.parametrize("components", [1, 3])
def test_samples_of_two_parameters_have_the_moments_of_the_density(components):
    flow, _, x = stirred(components)
    with torch.no_grad():
        samples = flow.sample((20_000,), x[:1])[:, 0]
        width = samples.std(0)
        axes = [torch.linspace(-7, 7, 501).double() * w + m for w, m in zip(width, samples.mean(0), strict=True)]
        points = torch.cartesian_prod(*axes)
        share = (
            flow.log_prob(points[:, None], x[:1]).exp()[:, 0] * (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
        )
    assert share.sum().item() == pytest.approx(1, abs=2e-3)  # what lies beyond seven widths
    mean = share @ points
    covariance = (points - mean).T @ (share[:, None] * (points - mean)) / width.outer(width)
    # four standard errors of 20 000 draws; of products, for tails a little heavier than a Gaussian's
    assert ((samples.mean(0) - mean).abs() < 4 * width / 20_000**0.5).all()
    found = torch.cov(samples.T) / width.outer(width)
    torch.testing.assert_close(found, covariance, rtol=0, atol=4 * 2 / 20_000**0.5)


def test_two_parameters_may_be_correlated_as_no_product_of_gaussians_can():
    """Correlation .95 whatever the observation: worth 1.16 nats more than the product of the right Gaussians."""
    torch.manual_seed(0)
    first = torch.randn(2000, 1)
    theta = torch.cat([first, 0.95 * first + (1 - 0.95**2) ** 0.5 * torch.randn(2000, 1)], 1)
    x = torch.ones(2000, 4, 3)
    flow = StackedAffine(hidden=SMALL, embedding=nn.Flatten())(theta, x)
    optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        flow.loss(theta, x).mean().backward()
        optimizer.step()
    product = -torch.distributions.Normal(theta.mean(0), theta.std(0)).log_prob(theta).sum(-1).mean()
    with torch.no_grad():
        gain = product - flow.loss(theta, x).mean()
    assert 1.06 < gain < 1.26  # training on 2000 pairs moves it by some hundredths


def test_further_parameters_multiply_the_features_once_for_each_condition():
    flow, mass, x = stirred(dtype=torch.float32)
    rows = []
    for layer in flow.embedding[2].products:
        layer.register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0])))
    flow.log_prob(mass[:, None].expand(-1, 5, -1), x[:5])
    flow.sample((100,), x[:5])
    assert rows == [5] * 6  # three blocks, two calls

"""Saliency maps of networks whose answer to a mask is known in closed form."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from clustermocks import MDPL2, Catalogue, Observation
from sbi_clustermass import KDEImage, StackedAffine
from sbi_clustermass.diagnostics.saliency import gaussian_masks, saliency
from sbi_clustermass.flows.affine_flow import AffineFlow, Layout
from sbi_clustermass.flows.embed_once import EmbedOnce
from sbi_clustermass.flows.ensemble import Ensemble

CENTRE, WIDTH = 14.3, 0.02  # [dex] narrow and far from the support's ends: the posterior mean is the network's own


class Weighted(nn.Module):
    """Features (mu, log sigma) = (sum over inputs of weight times input, 0)."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        mu = x.flatten(1) @ self.weight
        return torch.stack([mu, torch.zeros_like(mu)], 1)


class SumOverGalaxies(nn.Module):
    """Features (mu, log sigma) = (sum over galaxies of c R, 0)."""

    def __init__(self, c):
        super().__init__()
        self.c = nn.Parameter(torch.tensor(c))

    def forward(self, x):
        mu = self.c * (x[..., 0] * x[..., 2]).sum(1)
        return torch.stack([mu, torch.zeros_like(mu)], 1)


def network(summary, embedding):
    layout = Layout(theta=1, blocks=1, hidden=(), components=1, activation="tanh")
    inner = AffineFlow(torch.tensor([CENTRE]), torch.tensor([WIDTH]), layout)
    return EmbedOnce(summary, embedding, inner, torch.Size((4, 3)))


def on_image(estimator, weight, **options):
    image = KDEImage(**options)
    return replace(estimator, network=network(image, Weighted(weight)), flow=StackedAffine(embedding=image))


def one_cluster(R_proj, v_los):
    galaxies = {"R_proj": np.asarray(R_proj, float), "v_los": np.asarray(v_los, float)}
    clusters = {"log10_mass": np.array([14.0]), "host_id": np.array([0])}
    offsets = np.array([0, len(galaxies["R_proj"])])
    return Catalogue.from_arrays(Observation(), MDPL2, clusters=clusters, galaxies=galaxies, offsets=offsets)


def some_cluster(n=30, seed=1):
    rng = np.random.default_rng(seed)
    return one_cluster(rng.uniform(0, 1.6, n), rng.normal(0, 600, n))


def test_masks_are_equation_9():
    masks = gaussian_masks(7, 1.5).reshape(7, 7, 7, 7)
    for a, b, i, j in [(0, 0, 0, 0), (2, 5, 3, 1), (6, 1, 0, 6), (4, 4, 4, 3)]:
        expected = 1 - np.exp(-((i - a) ** 2 + (j - b) ** 2) / (2 * 1.5**2))
        assert float(masks[a, b, i, j]) == pytest.approx(expected, abs=1e-15)  # float64
    assert gaussian_masks(50).shape == (2500, 2500)


def test_a_linear_network_loses_what_the_mask_hides_of_its_weighted_image(estimator):
    rng = np.random.default_rng(2)
    weight = torch.from_numpy(rng.normal(0, 30, 2500)).float()
    cluster = some_cluster()
    found = saliency(on_image(estimator, weight), cluster, 0)
    image = KDEImage()(torch.from_numpy(cluster.padded()))[0].double()
    i = torch.arange(50.0, dtype=torch.float64)
    hidden = torch.exp(-((i[:, None] - i) ** 2) / 8)  # sigma = 2 pixels, along one axis
    light = (weight.double() * image).reshape(50, 50)
    expected = -WIDTH * torch.einsum("ai,bj,ij->ab", hidden, hidden, light)
    # the masses go through float32, 1e-6 dex at 14
    np.testing.assert_allclose(found.change, expected.detach().numpy(), atol=3e-6)
    assert np.abs(found.change).max() > 1e-3
    assert found.log10_mass == pytest.approx(CENTRE + WIDTH * float(light.sum()), abs=3e-6)
    assert found.masked == "pixels"


def test_the_number_of_galaxies_behind_the_pixels_is_not_masked(estimator):
    weight = torch.zeros(2501)
    weight[-1] = 4.0
    found = saliency(on_image(estimator, weight, richness=True), some_cluster(), 0)
    np.testing.assert_allclose(found.change, 0, atol=1e-6)  # as above
    assert found.log10_mass == pytest.approx(CENTRE + WIDTH * 4 * np.log10(30), abs=3e-6)


def test_an_ensemble_shows_the_mean_of_its_members_maps(estimator):
    weights = [torch.from_numpy(np.random.default_rng(seed).normal(0, 3, 2500)).float() for seed in (3, 4)]
    single = [on_image(estimator, weight) for weight in weights]
    networks = [each.network for each in single]
    both = replace(single[0], network=Ensemble(networks, estimator.support), histories=estimator.histories * 2)
    maps = [saliency(each, some_cluster(), 0) for each in single]
    found = saliency(both, some_cluster(), 0)
    # the mean of a mixture is the mean of the means
    np.testing.assert_allclose(found.change, (maps[0].change + maps[1].change) / 2, atol=5e-6)


def test_a_network_on_galaxies_is_asked_without_those_near_the_mask(estimator):
    cluster = some_cluster(25, seed=5)
    sums = replace(estimator, network=network(nn.Identity(), SumOverGalaxies(0.5)))
    found = saliency(sums, cluster, 0)
    R, v = cluster.galaxies(0)
    a, b = np.floor(R / 0.032), np.floor((v + 2500) / 100)  # pixels of 1.6 / 50 h^-1 Mpc and 5000 / 50 km/s
    i = np.arange(50)
    apart = (a - i[:, None, None]) ** 2 + (b - i[:, None]) ** 2
    removed = apart < 2 * 4 * np.log(2)  # dimmed by half or more
    np.testing.assert_allclose(found.change, -WIDTH * 0.5 * (removed * R).sum(-1), atol=5e-6)  # float32
    assert np.abs(found.change).max() > 1e-3
    assert found.masked == "galaxies"


def test_a_mask_that_leaves_no_galaxy_gives_no_mass(estimator):
    close = one_cluster(np.full(12, 0.5), np.full(12, 44.0))
    found = saliency(replace(estimator, network=network(nn.Identity(), SumOverGalaxies(0.5))), close, 0)
    assert np.isnan(found.at(0.5, 44.0))
    assert np.isfinite(found.change).sum() == 2500 - 21  # pixels of a disc of radius 2.35: 21 of a 5 x 5 square


def test_the_mirrored_cluster_has_the_mirrored_map_where_the_network_is_even(estimator):
    weight = torch.from_numpy(np.random.default_rng(6).normal(0, 3, (50, 50))).float()
    even = on_image(estimator, (weight + weight.flip(1)).flatten())
    cluster = some_cluster(seed=7)
    R, v = cluster.galaxies(0)
    one, other = saliency(even, cluster, 0), saliency(even, one_cluster(R, -v), 0)
    np.testing.assert_allclose(other.change, one.change[:, ::-1], atol=5e-6)  # float32
    assert float(other.at(R[3], -v[3])) == pytest.approx(float(one.at(R[3], v[3])), abs=5e-6)


def test_a_trained_network_answers_and_its_change_is_that_of_its_own_posteriors(estimator, mocks):
    found = saliency(estimator, mocks, 4)
    assert found.log10_mass == pytest.approx(float(estimator.posterior(mocks.select(np.array([4]))).mean[0]), abs=1e-4)
    assert np.isfinite(found.change).all()
    far = np.abs(found.change[found.density < 1e-3 * found.density.max()])
    assert np.median(far) < 0.2 * np.abs(found.change).max()  # masks over nothing do next to nothing


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan")])
def test_masks_without_a_width_are_refused(sigma, estimator, mocks):
    with pytest.raises(ValueError, match="sigma"):
        saliency(estimator, mocks, 0, sigma=sigma)

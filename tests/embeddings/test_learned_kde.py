"""LearnedKDE against KDEImage, and its gradient against differences."""

import numpy as np
import pytest
import torch

from sbi_clustermass.embeddings import KDEImage, LearnedKDE


def cluster(n, *, rho=0.0, spread=600.0, v_mean=0.0, seed=0):
    """(n, 3) galaxies with correlation rho between R and v."""
    a, b = np.random.default_rng(seed).standard_normal((2, n))
    v = v_mean + spread * (rho * a + np.sqrt(1 - rho**2) * b)
    return np.stack([0.8 + 0.25 * a, v, np.ones(n)], 1).astype(np.float32)


def padded(*clusters, width=40):
    x = torch.zeros(len(clusters), width, 3)
    for row, each in zip(x, clusters, strict=True):
        row[: len(each)] = torch.from_numpy(each)
    return x


CASES = {
    "one galaxy": cluster(1),
    "two galaxies": cluster(2),
    "all at one place": np.tile(cluster(1), (12, 1)),
    "all at one radius": cluster(30) * np.float32([0, 1, 1]) + np.float32([0.7, 0, 0]),
    "all at one velocity": cluster(30) * np.float32([1, 0, 1]),
    "all on a line": cluster(30, rho=1.0),
    "ten galaxies": cluster(10, seed=1),
    "correlated": cluster(40, rho=0.8, seed=2),
    "nearly on a line": cluster(30, rho=0.99999, seed=3),
    "far outside the grid": cluster(10, spread=1e-3, v_mean=1e7),
    "just outside the grid": cluster(10, spread=30.0, v_mean=2400.0),
    "none": np.zeros((0, 3), np.float32),
}
ALL = padded(*CASES.values())


def test_it_starts_at_the_fixed_image_to_the_last_bit_for_every_kind_of_cluster():
    """In float64, in which the learned image always sums."""
    for fields in ({}, {"factor": 0.15}, {"bins": 20, "aperture": 1.0, "richness": True}):
        for x in (ALL, *ALL.split(1)):
            assert torch.equal(LearnedKDE(**fields)(x.double()), KDEImage(**fields)(x.double()))
            torch.testing.assert_close(LearnedKDE(**fields)(x), LearnedKDE(**fields)(x.double()).float())


@pytest.mark.parametrize("factor", [0.05, 0.3, 0.9])
def test_trained_to_another_factor_it_is_the_fixed_image_of_that_factor(factor):
    learned = LearnedKDE(0.4)
    with torch.no_grad():
        learned.log_growth.fill_(np.log(factor / 0.4))
    np.testing.assert_allclose(learned.factors().detach(), factor, rtol=1e-6)
    truth = KDEImage(factor)(ALL)
    # the factor itself is float32: 1e-7 times a log pixel of up to -100
    torch.testing.assert_close(learned(ALL), truth, rtol=2e-5, atol=1e-6 * float(truth.max()))


def test_a_wider_kernel_along_one_axis_is_that_of_stretched_galaxies():
    """Without correlation, a kernel grown in v about galaxies at v is that about 2v, shrunk: by brute force."""
    learned, galaxies = LearnedKDE(), cluster(25, seed=4)
    with torch.no_grad():
        learned.log_growth.copy_(torch.tensor([-0.3, 0.5]))
    f_R, f_v = learned.factors().tolist()
    R, v = galaxies[:, :2].T.astype(float)
    H = np.diag([f_R, f_v]) @ np.cov(R, v) @ np.diag([f_R, f_v])
    image = learned.image
    grid = np.stack(np.meshgrid(image.R_centres, image.v_centres, indexing="ij"), -1)
    offset = grid[:, :, None] - np.stack([R, v], 1)
    truth = np.exp(-0.5 * np.einsum("abni,ij,abnj->abn", offset, np.linalg.inv(H), offset)).sum(-1)
    found = learned(padded(galaxies))[0].detach().reshape(50, 50)
    np.testing.assert_allclose(found, truth / truth.sum(), atol=1e-5 * (truth / truth.sum()).max())  # design's floor


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_agrees_with_differences_in_float64(case):
    x = padded(CASES[case]).double()
    learned = LearnedKDE(bins=12).double()
    weights = torch.from_numpy(np.random.default_rng(1).standard_normal(144))

    def loss(log_growth):
        return (torch.func.functional_call(learned, {"log_growth": log_growth}, (x,)) * weights).sum()

    for start in ([0.0, 0.0], [0.3, -0.4]):
        at = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(loss(at), at)
        steps = 1e-6 * torch.eye(2, dtype=torch.float64)
        differences = torch.stack([(loss(at + step) - loss(at - step)) / 2e-6 for step in steps]).detach()
        # central differences: 1e-12 of the third derivative, 1e6 times the first on a line; rounding of 1e-16 / 1e-6
        torch.testing.assert_close(slope, differences, rtol=1e-5, atol=1e-8)


def test_descent_finds_the_factors_that_made_an_image():
    target = LearnedKDE(bins=16)
    with torch.no_grad():
        target.log_growth.copy_(torch.tensor([0.3, -0.2]))
    x = padded(*(cluster(20, seed=seed) for seed in range(8)))
    truth, learned = target(x).detach(), LearnedKDE(bins=16)
    optimizer = torch.optim.Adam(learned.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        (1e4 * (learned(x) - truth).square().mean()).backward()
        optimizer.step()
    np.testing.assert_allclose(learned.log_growth.detach(), target.log_growth.detach(), atol=0.02)  # Adam's last steps

"""Posteriors on a grid against Gaussians and truncated Gaussians in closed form."""

import numpy as np
import pytest
from scipy import stats

from sbi_clustermass.diagnostics.grid_posterior import GridPosterior, legendre_nodes

LOW, HIGH = (13.5, 0.3, -0.5), (15.3, 1.1, 0.5)
MEAN = np.array([[14.4, 0.7, 0.0], [14.1, 0.66, 0.04]])
COVARIANCE = np.diag([0.09, 0.08, 0.08]) @ [[1, 0.6, -0.3], [0.6, 1, 0.2], [-0.3, 0.2, 1]] @ np.diag([0.09, 0.08, 0.08])


def on_grid(log_prob, masses=181, nodes=6):
    """The posterior of a log density of parameters, (point, 3) -> (cluster, point)."""
    axes = [np.linspace(LOW[0], HIGH[0], masses), *(legendre_nodes(LOW[k], HIGH[k], nodes) for k in (1, 2))]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return GridPosterior(LOW, HIGH, log_prob(points).reshape(-1, masses, nodes, nodes))


def gaussian(points):
    return 5 + np.array([stats.multivariate_normal(mean, COVARIANCE).logpdf(points) for mean in MEAN])


def truncated(k):
    """Normal distributions with an end of the box a width away."""
    mean, std = (14.4, 0.4, 0.2)[k], (0.1, 0.1, 0.3)[k]
    return stats.truncnorm((LOW[k] - mean) / std, (HIGH[k] - mean) / std, mean, std)


def test_a_gaussian_inside_the_box_keeps_its_density_moments_and_quantiles():
    found = on_grid(gaussian)
    theta = MEAN + np.array([[0.05, -0.03, 0.06], [-0.02, 0.1, -0.1]])
    truth = [stats.multivariate_normal(mean, COVARIANCE).logpdf(row) for mean, row in zip(MEAN, theta, strict=True)]
    np.testing.assert_allclose(found.log_prob_at(theta), truth, atol=1e-4)  # the box ends five widths away
    np.testing.assert_allclose(found.mean, MEAN, atol=1e-5)
    np.testing.assert_allclose(found.std, np.tile(np.sqrt(np.diag(COVARIANCE)), (2, 1)), rtol=1e-3)
    quantile = stats.norm(MEAN, np.sqrt(np.diag(COVARIANCE))).ppf(0.16)
    np.testing.assert_allclose(found.quantile(0.16), quantile, atol=1e-3)  # steps of .3 widths


def test_what_the_box_cuts_off_is_cut_off():
    def log_prob(points):
        return sum(truncated(k).logpdf(points[:, k]) for k in range(3))[None]

    found = on_grid(log_prob)
    for k in range(3):
        exact = truncated(k)
        assert found.mean[0, k] == pytest.approx(exact.mean(), abs=1e-3)  # trapezoidal steps of a quarter width
        assert found.std[0, k] == pytest.approx(exact.std(), rel=5e-3)
        weight = np.gradient(found.axes[k])
        weight[[0, -1]] /= 2
        assert found.marginals[k][0] @ weight == pytest.approx(1, abs=1e-9)
        np.testing.assert_allclose(found.marginals[k][0], exact.pdf(found.axes[k]), rtol=2e-2, atol=1e-6)
    assert found.log_prob_at([[14.4, 0.4, 0.2]])[0] == pytest.approx(
        log_prob(np.array([[14.4, 0.4, 0.2]]))[0], abs=5e-3
    )


def test_samples_have_the_covariance_of_the_density_and_stay_inside():
    found = on_grid(gaussian)
    samples = found.sample(20_000, seed=1)
    assert samples.shape == (2, 20_000, 3)
    assert ((samples >= LOW) & (samples <= HIGH)).all()
    for drawn, mean in zip(samples, MEAN, strict=True):
        width = np.sqrt(np.diag(COVARIANCE))
        assert (np.abs(drawn.mean(axis=0) - mean) < 4 * width / np.sqrt(20_000)).all()  # once in 5000 seeds
        # five errors of a covariance, and a step squared over 12: .015 of the variance
        np.testing.assert_allclose(
            np.cov(drawn.T) / np.outer(width, width), COVARIANCE / np.outer(width, width), atol=0.06
        )


def test_masses_without_density_are_left_out():
    def log_prob(points):
        return np.where(np.abs(points[:, 0] - 14.4) < 0.5, gaussian(points)[:1], -np.inf)

    with_all, without = on_grid(lambda points: gaussian(points)[:1]), on_grid(log_prob)
    np.testing.assert_allclose(without.mean, with_all.mean, atol=1e-5)  # five widths away: 6e-7
    np.testing.assert_allclose(without.log_prob_at(MEAN[:1]), with_all.log_prob_at(MEAN[:1]), atol=1e-5)

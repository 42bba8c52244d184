"""Two likelihoods of one mass: against the closed form of normal ones."""

import numpy as np
import pytest

from sbi_clustermass import MassPosteriors, combined

GRID = np.linspace(13.0, 15.6, 521)
NAMES = ("A85", "A119", "Coma")


def normal(mean, std, grid=GRID, names=NAMES):
    found = MassPosteriors.from_normal(mean, std, grid)
    return MassPosteriors.from_log_prob(grid, found.log_prob, names=names[: len(mean)])


def test_normal_likelihoods_multiply_and_priors_are_divided_out():
    galaxies = normal([14.3, 14.5, 14.9], 0.15).with_prior(-2.0 * (GRID - 14))
    lensing = normal([14.4, 14.3], 0.2, np.linspace(12.5, 16.0, 701)).with_prior(np.linspace(0, -3, 701))
    found = combined(galaxies, lensing)
    precision = 1 / 0.15**2 + 1 / 0.2**2
    mean = (np.array([14.3, 14.5]) / 0.15**2 + np.array([14.4, 14.3]) / 0.2**2 - 2.0) / precision
    np.testing.assert_allclose(found.mean[:2], mean, atol=1e-4)  # grids of .005 dex
    np.testing.assert_allclose(found.std[:2], precision**-0.5, rtol=1e-3)
    np.testing.assert_allclose(found.log_prob[2], galaxies.log_prob[2], atol=1e-12)
    np.testing.assert_array_equal(found.log_prior, galaxies.log_prior)
    assert found.names == NAMES


def test_every_line_of_sight_to_a_cluster_gets_the_likelihood_of_its_lensing():
    lines = normal([14.3, 14.5, 14.3], 0.15, names=("A85", "A119", "A85"))
    found = combined(lines, normal([14.4], 0.2, names=("A85",)))
    np.testing.assert_allclose(found.log_prob[2], found.log_prob[0], atol=1e-12)
    assert found.std[2] == pytest.approx((1 / 0.15**2 + 1 / 0.2**2) ** -0.5, rel=1e-3)  # a grid of .005 dex


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (normal([14.0], 0.1, names=("A2029",)), "1 clusters are not among the first, such as 'A2029'"),
        (normal([14.0, 14.1], 0.1, names=("A85", "A85")), "names repeat in the other data"),
        (normal([14.0], 0.1, np.linspace(13.5, 15.6, 100)), "do not reach over 13.00 to 15.60"),
        (MassPosteriors.from_log_prob(GRID, np.where(GRID < 14, 0, -np.inf)[None], names=("A85",)), "'A85'"),
    ],
)
def test_likelihoods_that_do_not_fit_are_refused(other, words):
    high = np.where(GRID > 14.5, 0.0, -np.inf)
    galaxies = MassPosteriors.from_log_prob(GRID, np.stack([high] * 3), names=NAMES)
    with pytest.raises(ValueError, match=words):
        combined(galaxies, other)


def test_estimates_of_some_clusters_are_matched_by_their_names_and_never_by_their_numbers():
    galaxies = MassPosteriors.from_normal([14.3, 14.5, 14.9], 0.15, GRID, names=NAMES)
    found = combined(galaxies, MassPosteriors.from_normal([14.8], 0.15, GRID, names=["Coma"]))
    np.testing.assert_allclose(found.mean, [14.3, 14.5, 14.85], atol=1e-4)  # equal errors; a grid of .005 dex
    with pytest.raises(ValueError, match=r"1 of 3 clusters have no names but their numbers[\s\S]*names="):
        combined(
            MassPosteriors.from_normal([14.3, 14.5, 14.9], 0.15, GRID), MassPosteriors.from_normal([14.8], 0.1, GRID)
        )
    with pytest.raises(ValueError, match="names repeat"):
        combined(galaxies, MassPosteriors.from_normal([14.8, 14.9], 0.1, GRID, names=["Coma", "Coma"]))

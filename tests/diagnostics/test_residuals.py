"""Residuals, coverage and the R^2 of richness on what is right, or nothing, by construction."""

import numpy as np
import pytest
import torch
from torch import nn

from clustermocks import MDPL2, Catalogue, Observation
from sbi_clustermass import KDEImage, MassPosteriors
from sbi_clustermass.diagnostics import coverage, residuals, richness_r2

GRID = np.linspace(12, 17, 800)


def test_residuals_have_the_mean_and_scatter_of_their_draw_and_honest_errors():
    rng = np.random.default_rng(0)
    draws = [residuals(14 + rng.normal(0.1, 0.2, 400), np.full(400, 14.0)) for _ in range(300)]
    means, scatters = ([pair[i].value for pair in draws] for i in (0, 1))
    # 300 repeats fix a standard deviation to 4 %; three of those
    assert np.std(means) == pytest.approx(draws[0][0].error, rel=0.12)
    assert np.std(scatters) == pytest.approx(np.mean([pair[1].error for pair in draws]), rel=0.12)
    assert np.mean(means) == pytest.approx(0.1, abs=0.002)  # .2 / sqrt(120 000) = .0006, three of them


@pytest.mark.parametrize("level", [0.5, 0.68, 0.95])
def test_right_posteriors_cover_as_promised_and_narrow_ones_do_not(level):
    rng = np.random.default_rng(1)
    mean = rng.uniform(14, 15, 4000)
    truth = mean + rng.normal(0, 0.2, 4000)
    right = coverage(MassPosteriors.from_normal(mean, 0.2, GRID), truth, level)
    assert abs(right.value - level) < 4 * right.error  # fails once in 16 000 seeds
    assert coverage(MassPosteriors.from_normal(mean, 0.1, GRID), truth, level).value < level - 10 * right.error


def clusters_of(n, columns, seed=0):
    """A catalogue whose cluster i has n[i] galaxies, and an embedding that returns row i of the columns."""
    galaxies = {"R_proj": np.repeat(np.arange(len(n)), n).astype(float), "v_los": np.zeros(n.sum())}
    clusters = {"log10_mass": np.full(len(n), 14.0), "host_id": np.arange(len(n))}
    offsets = np.concatenate([[0], np.cumsum(n)])
    table = torch.from_numpy(columns)
    lookup = nn.Module()
    lookup.forward = lambda x: table[x[:, 0, 0].long()]
    catalogue = Catalogue.from_arrays(Observation(), MDPL2, clusters=clusters, galaxies=galaxies, offsets=offsets)
    return lookup, catalogue


def test_richness_is_found_in_features_that_hold_it_and_not_in_noise():
    rng = np.random.default_rng(1)
    n = rng.integers(10, 200, 800)
    noise = rng.standard_normal((800, 300))
    held = noise.copy()
    held[:, 7] = 50 + 1e-3 * np.log10(n)
    nothing, everything = (richness_r2(*clusters_of(n, columns)) for columns in (noise, held))
    assert abs(nothing.value) < 0.02  # the penalty is chosen on the same clusters: the best of 34 looks at noise
    assert everything.value > 0.5  # one column of 300
    only = richness_r2(*clusters_of(n, held[:, 7:8]))
    assert only.value > 0.999999


def test_r2_of_a_noisy_feature_is_its_squared_correlation_with_an_honest_error():
    rng = np.random.default_rng(2)
    found = []
    for _ in range(40):
        n = np.round(10 ** rng.normal(1.8, 0.2, 400)).astype(int).clip(10)
        columns = np.log10(n)[:, None] + rng.normal(0, 0.2, (400, 1))
        found.append((richness_r2(*clusters_of(n, columns)), np.corrcoef(columns[:, 0], np.log10(n))[0, 1] ** 2))
    # leaving one out costs 2 of 400 degrees of freedom, and .5 % of what is not explained
    np.testing.assert_allclose([each.value for each, _ in found], [truth for _, truth in found], atol=0.006)
    errors = [each.error for each, _ in found]
    # 40 repeats fix a standard deviation to 11 %; three of those
    assert np.std([each.value for each, _ in found]) == pytest.approx(np.mean(errors), rel=0.35)


def test_the_normalised_image_tells_most_of_the_richness(mocks):
    """The design's reason for thinning: .82 of the variance of log N, measured there on other mocks."""
    assert richness_r2(KDEImage(), mocks.select(np.arange(700))).value > 0.6
    assert richness_r2(KDEImage(richness=True, bins=5), mocks.select(np.arange(700))).value > 0.99


def test_r2_of_one_richness_is_refused():
    with pytest.raises(ValueError, match="different numbers"):
        richness_r2(*clusters_of(np.full(20, 30), np.ones((20, 2))))

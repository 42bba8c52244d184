"""Two modes are found where a mixture has two, with the medians and shares of its components, and nowhere else."""

import numpy as np
import pytest
from scipy.stats import norm

from sbi_clustermass.posterior import MassPosteriors

GRID = np.linspace(12.8, 15.8, 256)


def mixture(*components):
    """Posterior of Gaussian components, each (share, mean, std)."""
    density = sum(share * norm(mean, std).pdf(GRID) for share, mean, std in components)
    return MassPosteriors.from_log_prob(GRID, np.log(density)[None])


@pytest.mark.parametrize("share", [0.06, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("width", [0.08, 0.15])
def test_the_modes_of_two_distant_gaussians_are_these_gaussians(share, width):
    low, high, low_share = (
        float(each[0]) for each in mixture((share, 13.5, 0.1), (1 - share, 14.9, width)).two_modes()
    )
    # the components overlap by 1e-5; a step of the grid is .012 dex
    assert low == pytest.approx(13.5, abs=0.002)
    assert high == pytest.approx(14.9, abs=0.002)
    assert low_share == pytest.approx(share, abs=1e-3)


@pytest.mark.parametrize(("apart", "found"), [(3.2, False), (3.5, True)])
def test_two_equal_gaussians_are_two_modes_where_their_sum_dips_below_half_of_its_peaks(apart, found):
    # exp(-d^2 / 8) = 1/4 at d = 3.33 widths, but for the peaks' own shift
    posterior = mixture((0.5, 14.3 - apart * 0.1, 0.2), (0.5, 14.3 + apart * 0.1, 0.2))
    low, high, share = posterior.two_modes()
    assert np.isfinite([low, high, share]).all() == found


@pytest.mark.parametrize(
    "components",
    [
        ((1.0, 14.3, 0.2),),
        ((1.0, 15.9, 0.2),),  # piled up at the edge
        ((0.04, 13.2, 0.1), (0.96, 14.9, 0.1)),  # too small a share
        ((0.5, 14.3, 0.1), (0.5, 14.3, 0.6)),  # a peak on a broad one
        ((0.5, 14.0, 0.2), (0.5, 14.4, 0.2)),
    ],
)
def test_one_mode_a_small_one_or_a_shoulder_are_no_two_modes(components):
    assert np.isnan(mixture(*components).two_modes()).all()


def test_each_cluster_of_many_is_looked_at_by_itself():
    both = np.concatenate([mixture((1.0, 14.3, 0.2)).log_prob, mixture((0.5, 13.5, 0.1), (0.5, 14.9, 0.1)).log_prob])
    low, _, _ = MassPosteriors.from_log_prob(GRID, both).two_modes()
    np.testing.assert_array_equal(np.isnan(low), [True, False])

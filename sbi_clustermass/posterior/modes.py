"""Two separated modes of a tabulated density, where it has them.

Masses are log10_mass [dex], densities per dex.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sbi_clustermass.posterior.tabulated import inverse_cdf

_SHARE = 0.05  # least share of a mode: a smaller one lies outside the central 90 %
_DIP = 0.5  # of the lower peak: two equal Gaussians dip below it where 3.3 widths or more lie between them


class TwoModes(NamedTuple):
    """Two modes of each density, NaN where it has one.

    Attributes:
        low: Median of the part below the dip [dex], (cluster,).
        high: Median of the part above it [dex], (cluster,).
        low_share: Probability of the part below the dip [1], (cluster,).
    """

    low: Float[np.ndarray, "cluster"]
    high: Float[np.ndarray, "cluster"]
    low_share: Float[np.ndarray, "cluster"]


def two_modes(
    grid: Float[np.ndarray, "mass"], prob: Float[np.ndarray, "cluster mass"], cdf: Float[np.ndarray, "cluster mass"]
) -> TwoModes:
    """Find the deepest dip of each density that separates two modes.

    The density there is below half of the lower of the two peaks, and each side holds 5 % or more of the probability.
    Shallower dips and smaller peaks are the noise of a network; a wide interval tells as much about the mass.
    """
    lower_peak = np.minimum(np.maximum.accumulate(prob, axis=1), np.maximum.accumulate(prob[:, ::-1], axis=1)[:, ::-1])
    depth = np.divide(prob, lower_peak, out=np.ones_like(prob), where=(cdf >= _SHARE) & (cdf <= 1 - _SHARE))
    at, row = depth.argmin(axis=1), np.arange(len(prob))
    share = np.where(depth[row, at] < _DIP, cdf[row, at], np.nan)
    low, high = inverse_cdf(grid, prob, cdf, np.nan_to_num(np.stack([share / 2, (1 + share) / 2], axis=1))).T
    return TwoModes(np.where(np.isnan(share), np.nan, low), np.where(np.isnan(share), np.nan, high), share)

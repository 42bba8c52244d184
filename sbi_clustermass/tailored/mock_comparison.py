"""Comparison of clusters with mocks of similar velocity dispersion: depth, profile and interlopers.

Distances are comoving [h^-1 Mpc], velocities [km/s], "dex" is log10.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Int

from sbi_clustermass.tailored.features import Features
from sbi_clustermass.tailored.reference_mocks import ReferenceMocks

_ROUNDS = 4  # of thinning the mocks to the depth of the data; two reach 2 %
_DRAWS = 2000
_LOWEST, _HIGHEST = 0.05, 20.0  # completeness at the edge over that in the centre

Values = Float[np.ndarray, "cluster"]


@final
@dataclass(frozen=True)
class MockComparison:
    """Differences between clusters and mocks of the same velocity dispersions with complete redshifts.

    Attributes:
        depth: Median log10 ratio of the number of galaxies to that of the mocks [dex].
        depth_error: Standard error of `depth` [dex]; for a single cluster the scatter of the mocks.
        depth_spread: Scatter of the clusters in excess of that of the mocks [dex].
        edge: Ratio of the completeness at the aperture to that in the centre, assumed linear in distance [1].
        edge_error: Standard error of `edge` [1].
        mean_R: Mean projected distance of the mocks' galaxies [h^-1 Mpc].
        core: Number of galaxies within an eighth of the aperture, in all clusters.
        core_expected: The same in mocks, thinned to the same numbers of galaxies.
        fast: Number of galaxies outside the inner third and faster than 2.5 of its dispersions, in all clusters.
        fast_expected: The same in mocks.
        fast_chance: Share of sets of mocks with no more fast galaxies [1].
    """

    depth: float
    depth_error: float
    depth_spread: float
    edge: float
    edge_error: float
    mean_R: float
    core: int
    core_expected: float
    fast: int
    fast_expected: float
    fast_chance: float


def compare(clusters: Features, reference: ReferenceMocks, *, seed: int) -> MockComparison:
    """Compare clusters with mocks, thinned until they are as deep as the clusters.

    Args:
        clusters: Features of the clusters.
        reference: Mocks in the same cylinder.
        seed: Seed of the draws for `fast_chance`.
    """
    depth, reference = _as_deep(clusters, reference)
    like = reference.like(clusters)
    scatter = float(np.log10(reference.seen.number[like]).std(axis=1).mean())
    n = len(depth)
    spread = float(np.sqrt(max(depth.var(ddof=1) - scatter**2, 0.0))) if n > 1 else 0.0
    edge, error, mean_R = _edge(clusters, reference, like)
    fast = _as_many(reference.seen.fast, clusters, reference, reference.as_fast(clusters))
    core = _as_many(reference.seen.core, clusters, reference, like)
    return MockComparison(
        depth=float(np.median(depth)),
        depth_error=scatter if n == 1 else 1.25 * float(np.hypot(scatter, spread) / np.sqrt(n)),  # of a median
        depth_spread=spread,
        edge=edge,
        edge_error=error,
        mean_R=mean_R,
        core=int(clusters.core.sum()),
        core_expected=float(core.mean(axis=1).sum()),
        fast=int(clusters.fast.sum()),
        fast_expected=float(fast.mean(axis=1).sum()),
        fast_chance=_chance(int(clusters.fast.sum()), fast, seed),
    )


def _as_deep(clusters: Features, reference: ReferenceMocks) -> tuple[Values, ReferenceMocks]:
    """Depth of each cluster relative to similar complete mocks [dex], and the mocks thinned to the same depth."""
    depth = np.zeros(len(clusters.number))
    for _ in range(_ROUNDS):
        like = reference.like(clusters)
        depth = np.log10(clusters.number) - np.log10(reference.complete[like]).mean(axis=1)
        share = min(float(10 ** np.median(depth)), 1.0)
        if abs(share / reference.share - 1) < 0.03:
            break
        reference = reference.thinned_to(share)
    return depth, reference


def _edge(
    clusters: Features, reference: ReferenceMocks, like: Int[np.ndarray, "cluster mock"]
) -> tuple[float, float, float]:
    """Ratio t of the completeness at the edge to the centre's, its error, and the mocks' mean distance.

    Weights 1 + (t - 1) R / a turn the mean distance m1 into (m1 + (t - 1) m2 / a) / (1 + (t - 1) m1 / a), where m2 is
    the mean squared distance. The result is the t that gives the clusters' mean distance.
    """
    seen, weight = reference.seen, clusters.number / clusters.number.sum()
    expected = seen.mean_R[like]
    m1, m2 = float(weight @ expected.mean(axis=1)), float(weight @ seen.mean_R2[like].mean(axis=1))
    found = float(weight @ clusters.mean_R)
    error = float(np.sqrt(weight**2 @ expected.var(axis=1)))
    aperture = reference.mocks.observation.aperture
    middle, low, high = (_tilt(mean, m1, m2, aperture) for mean in (found, found - error, found + error))
    return middle, (high - low) / 2, m1


def _tilt(mean: float, m1: float, m2: float, aperture: float) -> float:
    below = m2 - mean * m1
    return float(np.clip(1 + aperture * (mean - m1) / below, _LOWEST, _HIGHEST)) if below > 0 else _HIGHEST


def _as_many(
    counted: Values, clusters: Features, reference: ReferenceMocks, like: Int[np.ndarray, "cluster mock"]
) -> Float[np.ndarray, "cluster mock"]:
    """Expected galaxies of a kind in mocks like each cluster, scaled to its number of galaxies."""
    return (counted / reference.seen.number)[like] * clusters.number[:, None]


def _chance(found: int, expected: Float[np.ndarray, "cluster mock"], seed: int) -> float:
    """Share of sets of one mock a cluster, with Poisson numbers, that have no more such galaxies."""
    rng = np.random.default_rng(seed)
    n, like = expected.shape
    few = sum(rng.poisson(expected[np.arange(n), rng.integers(like, size=n)]).sum() <= found for _ in range(_DRAWS))
    return (1 + int(few)) / (1 + _DRAWS)

"""Proper scores of posteriors: log score, CRPS, information gain, and the gap to the exact posterior.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; densities per dex; `log_` is natural, scores in nats. They
reward calibrated posteriors under any distribution of test masses, and are best under the prior of the test masses.
"""

from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float

from sbi_clustermass.diagnostics.residuals import Measured, mean_of
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.posterior.tabulated import chunks, locate


def log_score(posteriors: MassPosteriors, log10_true: Float[np.ndarray, "cluster"]) -> Measured:
    """Mean log density at the truth [nats, of a density per dex]: higher is better; -inf if a truth is off the grid."""
    return mean_of(posteriors.log_prob_at(log10_true))


def information_gain(posteriors: MassPosteriors, log10_true: Float[np.ndarray, "cluster"]) -> Measured:
    """Mean of log q(truth | data) - log π(truth) [nats]: the information of the data beyond the effective prior.

    π is the prior of clusters before the cuts, so that the information in passing the cuts is included.
    """
    prior = MassPosteriors.from_log_prob(posteriors.grid, posteriors.log_prior[None])
    of_each = prior[np.zeros(len(posteriors), int)].log_prob_at(log10_true)
    with np.errstate(invalid="ignore"):  # a truth off the grid, where both densities are zero
        return mean_of(posteriors.log_prob_at(log10_true) - of_each)


def gap(posteriors: MassPosteriors, exact: MassPosteriors, log10_true: Float[np.ndarray, "cluster"]) -> Measured:
    """Mean log score of exact posteriors minus that of others, for the same clusters and prior [nats].

    Its expectation is the mean Kullback-Leibler divergence from the exact posterior, never negative, if clusters were
    drawn from that prior.

    Raises:
        ValueError: Their numbers differ.
    """
    if len(posteriors) != len(exact):
        raise ValueError(f"gap: {len(posteriors)} posteriors and {len(exact)} exact ones; it needs the same clusters.")
    return mean_of(exact.log_prob_at(log10_true) - posteriors.log_prob_at(log10_true))


def crps(posteriors: MassPosteriors, log10_true: Float[np.ndarray, "cluster"]) -> Measured:
    """Mean continuous ranked probability score [dex]: lower is better, the absolute error of a point estimate."""
    return mean_of(crps_of_each(posteriors, log10_true))


def crps_of_each(posteriors: MassPosteriors, log10_true: Float[np.ndarray, "cluster"]) -> Float[np.ndarray, "cluster"]:
    r"""$\int (F(x) - [x \geq M])^2 dx$ of each cluster [dex], with F the distribution that `pit` and `sample` follow.

    In a cell F is a parabola, whose square is integrated in closed form; a truth off the grid adds its distance to it.

    References:
        Gneiting & Raftery 2007, JASA 102, 359, eq. 20.
    """
    masses = np.broadcast_to(np.asarray(log10_true, float), (len(posteriors),))
    prob, cdf, grid = posteriors.prob, posteriors.cdf, posteriors.grid
    parts = [_crps(grid, prob[rows], cdf[rows], masses[rows]) for rows in chunks(len(prob))]
    return np.concatenate(parts) + np.maximum(grid[0] - masses, 0) + np.maximum(masses - grid[-1], 0)


class _Parabola(NamedTuple):
    """Coefficients of a + b t + c t^2 at the position t in each cell, 0 to 1."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray

    @classmethod
    def from_density(cls, prob: Float[np.ndarray, "cluster mass"], cdf: Float[np.ndarray, "cluster mass"]) -> Self:
        """Integrate the density, which is linear in each cell and scaled to the cell's probability."""
        low, high, mass = prob[:, :-1], prob[:, 1:], np.diff(cdf)
        ends = low + high
        tilt = np.divide(high - low, ends, out=np.zeros_like(ends), where=ends > 0)
        return cls(cdf[:, :-1], mass * (1 - tilt), mass * tilt)

    def complement(self) -> Self:
        """One minus the parabola."""
        return type(self)(1 - self.a, -self.b, -self.c)

    def at(self, row: np.ndarray, cell: np.ndarray) -> Self:
        """Select one cell per cluster."""
        return type(self)(*(each[row, cell] for each in self))

    def square(self, t: float | np.ndarray = 1.0) -> np.ndarray:
        """Integral of the square from 0 to t."""
        a, b, c = self
        return t * (a * a + t * (a * b + t * ((b * b + 2 * a * c) / 3 + t * (b * c / 2 + t * (c * c / 5)))))


def _crps(grid: np.ndarray, prob: np.ndarray, cdf: np.ndarray, masses: np.ndarray) -> Float[np.ndarray, "cluster"]:
    steps, (cell, t) = np.diff(grid), locate(grid, masses)
    below = _Parabola.from_density(prob, cdf)
    above = below.complement()
    cells, here, own = np.arange(len(steps)), cell[:, None], (np.arange(len(prob)), cell)
    whole = np.where(cells < here, below.square(), np.where(cells > here, above.square(), 0.0)) @ steps
    last = above.at(*own)
    return whole + steps[cell] * (below.at(*own).square(t) + last.square() - last.square(t))

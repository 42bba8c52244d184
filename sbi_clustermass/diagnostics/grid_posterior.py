"""Posterior densities of several parameters on a grid: the first one fine, the further ones with polynomials between.

`log_` is natural.
"""

from dataclasses import dataclass
from functools import cached_property, reduce
from typing import final

import numpy as np
from jaxtyping import Float
from numpy.polynomial import legendre
from scipy.interpolate import CubicSpline

_FINE = 33  # equidistant values of each further parameter, over which the density is integrated


@final
@dataclass(frozen=True)
class GridPosterior:
    """Densities in a box, which contains all of their probability.

    The log densities of the further parameters are smooth: a polynomial passes through those at Gauss-Legendre nodes.
    Integrals are by the trapezoidal rule over the first parameter's values and 33 values of each further one.

    Attributes:
        low: Lower end of each parameter.
        high: Upper end of each parameter.
        log_prob: Natural log densities up to a constant per cluster, at equidistant values of the first parameter from
            end to end and at nodes of the further ones; -inf for all nodes of a value where nothing is.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    log_prob: Float[np.ndarray, "cluster value *node"]

    def __len__(self) -> int:
        return len(self.log_prob)

    @property
    def axes(self) -> list[Float[np.ndarray, "value"]]:
        """Values of each parameter over which the density is integrated."""
        points = (self.log_prob.shape[1],) + (_FINE,) * (len(self.low) - 1)
        return [np.linspace(*ends) for ends in zip(self.low, self.high, points, strict=True)]

    @property
    def marginals(self) -> list[Float[np.ndarray, "cluster value"]]:
        """Density of each parameter at its `axes`, the others integrated out."""
        return self._integrals[1]

    @property
    def mean(self) -> Float[np.ndarray, "cluster parameter"]:
        """Posterior means."""
        return self._moment(1)

    @property
    def std(self) -> Float[np.ndarray, "cluster parameter"]:
        """Posterior standard deviations."""
        return np.sqrt(self._moment(2) - self.mean**2)

    def quantile(self, level: float) -> Float[np.ndarray, "cluster parameter"]:
        """Value of each parameter below which a share `level` of its probability lies."""
        columns = []
        for axis, marginal in zip(self.axes, self.marginals, strict=True):
            fine = np.linspace(axis[0], axis[-1], 8 * (len(axis) - 1) + 1)
            density = CubicSpline(axis, marginal, axis=1)(fine).clip(min=0)
            below = np.cumsum(np.pad((density[:, 1:] + density[:, :-1]) / 2, ((0, 0), (1, 0))), axis=1)
            columns.append([np.interp(level, row / row[-1], fine) for row in below])
        return np.column_stack(columns)

    def log_prob_at(self, theta: Float[np.ndarray, "cluster parameter"]) -> Float[np.ndarray, "cluster"]:
        """Natural log density of each cluster at its own parameters, by a cubic in the first one."""
        rows = np.asarray(theta, float)
        found = self.log_prob
        for k in reversed(range(1, rows.shape[1])):
            at = polynomial(rows[:, k], self.low[k], self.high[k], found.shape[-1])
            found = np.einsum("c...n,cn->c...", found, at)
        where = (rows[:, 0] - self.low[0]) / (self.high[0] - self.low[0]) * (found.shape[1] - 1)
        first = np.clip(np.floor(where).astype(int) - 1, 0, found.shape[1] - 4)
        four = np.take_along_axis(found, first[:, None] + np.arange(4), axis=1)
        return (four * _cubic(where - first)).sum(axis=1) - self._integrals[0]

    def sample(self, n: int, *, seed: int) -> Float[np.ndarray, "cluster sample parameter"]:
        """Draw parameters: at random within a step of the `axes` around their values."""
        rng, out = np.random.default_rng(seed), np.empty((len(self), n, len(self.low)))
        ends = np.array([[axis[0], axis[-1]] for axis in self.axes])
        steps = np.array([axis[1] - axis[0] for axis in self.axes])
        for row in range(len(self)):
            share = self._shares(row)[1]
            drawn = np.unravel_index(rng.choice(share.size, n, p=share.ravel() / share.sum()), share.shape)
            centre = np.column_stack([axis[each] for axis, each in zip(self.axes, drawn, strict=True)])
            low, high = np.maximum(centre - steps / 2, ends[:, 0]), np.minimum(centre + steps / 2, ends[:, 1])
            out[row] = low + (high - low) * rng.random(centre.shape)
        return out

    @cached_property
    def _integrals(self) -> tuple[Float[np.ndarray, "cluster"], list[Float[np.ndarray, "cluster value"]]]:
        """Log of the integral of each density, and the marginal densities."""
        log_total, marginals = np.empty(len(self)), [np.empty((len(self), len(axis))) for axis in self.axes]
        for row in range(len(self)):
            highest, share = self._shares(row)
            log_total[row] = highest + np.log(share.sum())
            for k, (axis, marginal) in enumerate(zip(self.axes, marginals, strict=True)):
                others = tuple(j for j in range(share.ndim) if j != k)
                marginal[row] = share.sum(axis=others) / share.sum() / trapezoid_weights(axis)
        return log_total, marginals

    def _shares(self, row: int) -> tuple[float, Float[np.ndarray, "value *further"]]:
        """Probability of one cluster around each point of the `axes`, over e to the power of a log density."""
        log_prob = self.log_prob[row]
        there = np.isfinite(log_prob.reshape(len(log_prob), -1)).all(axis=1)
        fine = log_prob[there]
        for k in range(1, fine.ndim):
            to_fine = polynomial(self.axes[k], self.low[k], self.high[k], fine.shape[k])
            fine = np.moveaxis(np.tensordot(fine, to_fine, axes=(k, 1)), -1, k)
        highest = float(fine.max())
        weight = reduce(np.multiply.outer, map(trapezoid_weights, self.axes))
        share = np.zeros(weight.shape)
        share[there] = np.exp(fine - highest) * weight[there]
        return highest, share

    def _moment(self, power: int) -> Float[np.ndarray, "cluster parameter"]:
        parts = zip(self.axes, self.marginals, strict=True)
        return np.column_stack([density @ (axis**power * trapezoid_weights(axis)) for axis, density in parts])


def legendre_nodes(low: float, high: float, n: int) -> Float[np.ndarray, "node"]:
    """Gauss-Legendre nodes between two ends."""
    return low + (high - low) * (legendre.leggauss(n)[0] + 1) / 2


def polynomial(values: np.ndarray, low: float, high: float, n: int) -> Float[np.ndarray, "value node"]:
    """Matrix from a function at n Gauss-Legendre nodes to the polynomial through them at other values."""
    node, weight = legendre.leggauss(n)
    to_coefficients = (np.arange(n) + 0.5)[:, None] * legendre.legvander(node, n - 1).T * weight
    return legendre.legvander(2 * (values - low) / (high - low) - 1, n - 1) @ to_coefficients


def trapezoid_weights(axis: Float[np.ndarray, "value"]) -> Float[np.ndarray, "value"]:
    """Weights of the trapezoidal rule on equidistant values."""
    weight = np.full(len(axis), axis[1] - axis[0])
    weight[[0, -1]] /= 2
    return weight


def _cubic(where: Float[np.ndarray, "cluster"]) -> Float[np.ndarray, "cluster 4"]:
    """Weights of the cubic through function values at 0, 1, 2 and 3."""
    t = where[:, None] - np.arange(4)
    others = [np.delete(t, k, axis=1).prod(axis=1) for k in range(4)]
    return np.column_stack(others) / np.array([-6, 2, -2, 6])

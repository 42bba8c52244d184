r"""Galaxies of a cluster as a Poisson process whose mean scatters from cluster to cluster, over a known background.

The cluster's own galaxies have mean G mu, G a Gamma variate of mean 1 and shape k; the background adds B on average.
`log_` is natural.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln
from scipy.stats import nbinom, poisson

from clustermocks.haloes.cosmology import Values

_STEPS = 5
_NODES = 8  # of the integral over G


def log_process(
    log_member: Float[np.ndarray, "galaxy"],
    n: Int[np.ndarray, "cluster"],
    *,
    expected: float,
    shape: float,
    background: tuple[float, float],
) -> Float[np.ndarray, "cluster"]:
    r"""Natural log of the density of finding exactly these galaxies, in this order.

    $\int dG\,\Gamma(G; k, 1/k)\,e^{-(G\mu + B)} \prod_i [G \mu p_i + b] / N!$, which sums and integrates to 1.

    Args:
        log_member: log of mu p_i, the expected density of the cluster's own galaxies where each galaxy is; cluster
            after cluster.
        n: Number of galaxies of each cluster.
        expected: mu, the integral of mu p [1].
        shape: k [1], 4 or more; infinite for a Poisson process.
        background: B, the expected number of background galaxies, and b, their density, in the unit of mu p.

    Returns:
        Exact without a background or scatter; else good to 1e-5 for k > 25, 1e-3 for k >= 4.

    References:
        Streit 2010, Poisson Point Processes, sect. 2.2; without a background N is negative binomial.
    """
    number, density = background
    if not number:
        return _log_number(n, expected, shape) - n * np.log(expected) + cluster_sums(log_member, n)
    excess = np.exp(log_member) / density
    if np.isinf(shape):
        log_mean = cluster_sums(np.log1p(excess), n) - expected
    else:
        log_mean = _log_mean_over_scatter(excess, n, expected=expected, shape=shape)
    return log_mean - number + n * np.log(density) - gammaln(n + 1)


def cluster_sums(values: Float[np.ndarray, "galaxy"], n: Int[np.ndarray, "cluster"]) -> Float[np.ndarray, "cluster"]:
    """Sums over the galaxies of each cluster; 0 where there is none."""
    sums, some = np.zeros(len(n)), n > 0
    if some.any():
        sums[some] = np.add.reduceat(values, (np.cumsum(n) - n)[some])  # several times as fast as bincount
    return sums


def _log_number(n: Int[np.ndarray, "*batch"], expected: float | Values, shape: float) -> Values:
    """Log probability of n galaxies: negative binomial of mean `expected`."""
    if np.isinf(shape):
        return poisson.logpmf(n, expected)
    return nbinom.logpmf(n, shape, shape / (shape + expected))


def _log_mean_over_scatter(
    excess: Float[np.ndarray, "galaxy"], n: Int[np.ndarray, "cluster"], *, expected: float, shape: float
) -> Float[np.ndarray, "cluster"]:
    """Log of the mean of exp(-G mu) prod(1 + G excess) over G: Gauss-Hermite in ln G about the integrand's peak."""
    rate = shape + expected
    G, width = _peak(excess, n, rate=rate, shape=shape)
    node, weight = np.polynomial.hermite.hermgauss(_NODES)
    log_terms = np.empty((_NODES, len(n)))
    for j, z in enumerate(node):
        at = G * np.exp(np.sqrt(2) * width * z)
        log_terms[j] = shape * np.log(at) - rate * at + cluster_sums(np.log1p(np.repeat(at, n) * excess), n) + z**2
    highest = log_terms.max(axis=0)
    log_norm = shape * np.log(shape) - gammaln(shape)
    return np.log(weight @ np.exp(log_terms - highest) * np.sqrt(2) * width) + highest + log_norm


def _peak(
    excess: Float[np.ndarray, "galaxy"], n: Int[np.ndarray, "cluster"], *, rate: float, shape: float
) -> tuple[Float[np.ndarray, "cluster"], Float[np.ndarray, "cluster"]]:
    """Approximate peak of the integrand over ln G, as G, and its width in ln G; it has one peak."""
    G = (shape + 0.5 * n) / rate
    for _ in range(_STEPS):  # Newton in ln G on k + sum of shares = G rate, from the left with a shorter step
        odds = np.repeat(G, n) * excess
        share = odds / (1 + odds)
        members, certain = cluster_sums(share, n), cluster_sums(share**2, n)
        slope = np.maximum(G * rate - members, shape) + certain
        G = G * np.exp(np.clip((shape + members - G * rate) / slope, -1, 1))
    return G, 1 / np.sqrt(shape + certain)


def log_at_least(minimum: int, *, expected: Values, shape: float, background: float) -> Values:
    """Natural log of the probability of `minimum` galaxies or more, for means `expected`."""
    mean = np.asarray(expected, float)
    fewer = np.zeros(mean.shape)
    for n in range(minimum):  # n members, and a background that leaves the sum below the minimum
        fewer += np.exp(_log_number(np.array(n), mean, shape)) * poisson.cdf(minimum - 1 - n, background)
    with np.errstate(divide="ignore"):
        return np.log(np.clip(1 - fewer, 0, 1))

r"""Likelihood of members among interlopers, with their unknown number integrated out.

`excess` is a galaxy's density among members over that among interlopers, each normalised in the cylinder [1]. `log_` is
natural. Results are relative to all galaxies being interlopers.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

from clustermocks.spherical_jeans.poisson import cluster_sums


def log_any_share(excess: Float[np.ndarray, "galaxy"], n: Int[np.ndarray, "cluster"]) -> Float[np.ndarray, "cluster"]:
    r"""$\ln \int_0^1 dw \prod_i (1 - w + w x_i)$: a uniform prior on the share w of members.

    The integrand is a polynomial of degree n in w: Gauss-Legendre is exact with (n + 1) / 2 nodes. As the integrand is
    no narrower than $\sqrt{w(1-w)/n}$, $3 \sqrt{n}$ nodes are accurate to 1e-5.

    Args:
        excess: Ratios of densities x_i, concatenated over clusters.
        n: Number of galaxies of each cluster.
    """
    most = int(n.max(initial=0))
    node, weight = _legendre(min(most // 2 + 1, int(3 * np.sqrt(most)) + 8))
    share = 0.5 * (node + 1)
    log_terms = [cluster_sums(np.log(1 - w + w * excess), n) for w in share]
    return np.asarray(logsumexp(np.array(log_terms), b=0.5 * weight[:, None], axis=0))


def log_any_number(
    excess: Float[np.ndarray, "galaxy"], n: Int[np.ndarray, "cluster"], *, background: float
) -> Float[np.ndarray, "cluster"]:
    r"""$\ln \int_0^\infty d\mu\, e^{-\mu} \prod_i (1 + \mu x_i / B)$: a uniform prior on the mean number of members.

    Gauss-Legendre in the root of mu, in which the error of a Poisson mean is always .5; accurate to 1e-5.

    Args:
        excess: Ratios of densities x_i, concatenated over clusters.
        n: Number of galaxies of each cluster.
        background: B, the mean number of interlopers in the cylinder, above 0.
    """
    reach = np.sqrt(n) + 5.0
    node, weight = _legendre(int(2.5 * reach.max(initial=5.0)) + 8)
    log_terms = np.empty((len(node), len(n)))
    for j, t in enumerate(0.5 * (node + 1)):
        root = t * reach
        inside = cluster_sums(np.log1p(np.repeat(root**2 / background, n) * excess), n)
        log_terms[j] = inside - root**2 + np.log(root * reach * weight[j])  # 2 of dmu = 2 root droot, 1/2 of the nodes
    return np.asarray(logsumexp(log_terms, axis=0))


@lru_cache(maxsize=64)
def _legendre(nodes: int) -> tuple[Float[np.ndarray, "node"], Float[np.ndarray, "node"]]:
    return np.polynomial.legendre.leggauss(nodes)

r"""The likelihood of clusters of one mass: members and interlopers together.

Lengths are comoving [h^-1 Mpc], velocities [km/s], `log_` is natural.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.observation import Observation
from clustermocks.spherical_jeans.model import SphericalJeans
from clustermocks.spherical_jeans.poisson import cluster_sums, log_process
from sbi_clustermass.baselines.jeans_densities import TrialHalo, log_mamon2010, log_uniform, mamon2010_number

_NEAREST = 1e-6  # [h^-1 Mpc] smallest projected distance: the density diverges at 0


class GalaxyBatch(NamedTuple):
    """Concatenated galaxies of some clusters, R_proj [h^-1 Mpc] and v_los [km/s], and their number per cluster."""

    R_proj: Float[np.ndarray, "galaxy"]
    v_los: Float[np.ndarray, "galaxy"]
    number: Int[np.ndarray, "cluster"]

    @classmethod
    def from_catalogue(cls, clusters: Catalogue, rows: Int[np.ndarray, "row"]) -> "GalaxyBatch":
        """Read the galaxies of some clusters of a catalogue."""
        parts = [clusters.galaxies(int(i)) for i in rows]
        R_proj, v_los = (np.concatenate(columns).astype(float) for columns in zip(*parts, strict=True))
        return cls(np.maximum(R_proj, _NEAREST), v_los, clusters.n_galaxies[rows])


class GalaxyModel(NamedTuple):
    """Model of a cluster's galaxies: kind and number of interlopers, and the use of the number of galaxies.

    `background` is B, the mean number in the cylinder, or "marginalised" or "law" (`JeansLikelihood`); `counts` gives
    the number of members at each mass, or is None if the number of galaxies is not used.
    """

    interlopers: str
    background: float | str | None
    counts: SphericalJeans | None
    observation: Observation


def log_likelihood(
    population: GalaxyModel, galaxies: GalaxyBatch, log10_mass: float, halos: list[TrialHalo]
) -> Float[np.ndarray, "cluster"]:
    """Natural log of the density of each cluster's galaxies, averaged over haloes of one mass."""
    parts = [_log_likelihood_of_halo(population, galaxies, log10_mass, halo) for halo in halos]
    if len(parts) == 1:
        return parts[0]
    return np.asarray(logsumexp(np.array(parts) + np.array([halo.log_weight for halo in halos])[:, None], axis=0))


def _log_likelihood_of_halo(
    population: GalaxyModel, galaxies: GalaxyBatch, log10_mass: float, halo: TrialHalo
) -> Float[np.ndarray, "cluster"]:
    log_members = halo.log_members(galaxies.R_proj, galaxies.v_los)
    expected = _expected(population, log10_mass, halo)
    if population.interlopers == "none":
        return _one_population(population, log_members, galaxies.number, expected)
    log_others = _log_interlopers(population, galaxies, halo)
    if population.background == "law":
        per_member = mamon2010_number(halo, population.observation) / halo.inside
        log_both = np.logaddexp(log_members, log_others + np.log(per_member)) - np.log1p(per_member)
        return _one_population(population, log_both, galaxies.number, expected * (1 + per_member))
    mixed = _two_populations(population, log_members - log_others, galaxies.number, expected)
    return mixed + cluster_sums(log_others, galaxies.number)


def _expected(population: GalaxyModel, log10_mass: float, halo: TrialHalo) -> float:
    """Mean number of members in the cylinder; 1 if the number is not used."""
    counts = population.counts
    if counts is None:
        return 1.0
    number = float(counts.mean_number(log10_mass))
    return number if counts.richness == "independent" else number * halo.per_virial * halo.inside


def _log_interlopers(population: GalaxyModel, galaxies: GalaxyBatch, halo: TrialHalo) -> Float[np.ndarray, "galaxy"]:
    if population.interlopers == "mamon2010":
        return log_mamon2010(halo, galaxies.R_proj, galaxies.v_los, observation=population.observation)
    return np.full(galaxies.R_proj.shape, log_uniform(population.observation))


def _one_population(
    population: GalaxyModel, log_density: Float[np.ndarray, "galaxy"], n: Int[np.ndarray, "cluster"], expected: float
) -> Float[np.ndarray, "cluster"]:
    """Log likelihood of galaxies of one normalised density; their number counts or is given."""
    if population.counts is None:
        return cluster_sums(log_density, n)
    shape = population.counts.shape
    return log_process(np.log(expected) + log_density, n, expected=expected, shape=shape, background=(0.0, 0.0))


def _two_populations(
    population: GalaxyModel, log_excess: Float[np.ndarray, "galaxy"], n: Int[np.ndarray, "cluster"], expected: float
) -> Float[np.ndarray, "cluster"]:
    """Log likelihood of members among interlopers, relative to the density of interlopers."""
    if not isinstance(population.background, int | float):
        return log_any_share(np.exp(log_excess), n)
    background = float(population.background)
    if population.counts is None:
        return log_any_number(np.exp(log_excess), n, background=background)
    shape = population.counts.shape
    number = (background, background)  # the density is in units of that of interlopers
    return log_process(np.log(expected) + log_excess, n, expected=expected, shape=shape, background=number)


def log_any_share(excess: Float[np.ndarray, "galaxy"], n: Int[np.ndarray, "cluster"]) -> Float[np.ndarray, "cluster"]:
    r"""$\ln \int_0^1 dw \prod_i (1 - w + w x_i)$: a uniform prior on the share w of members.

    x_i is a galaxy's density among members over that among interlopers, each normalised in the cylinder, and n the
    number of galaxies of each cluster. The result is relative to all galaxies being interlopers.

    The integrand is a polynomial of degree n in w: Gauss-Legendre is exact with (n + 1) / 2 nodes. As the integrand is
    no narrower than $\sqrt{w(1-w)/n}$, $3 \sqrt{n}$ nodes are accurate to 1e-5.
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

    As for `log_any_share`, with the mean number B of interlopers in the cylinder, above 0.

    Gauss-Legendre in the root of mu, in which the error of a Poisson mean is always .5; accurate to 1e-5.
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

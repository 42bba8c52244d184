"""Evaluation of a network on any number of clusters, in memory that does not grow with their number.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; `log_` is natural.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from clustermocks import Catalogue
from sbi_clustermass.flows.density_estimator import columns_of
from sbi_clustermass.flows.embed_once import EmbedOnce
from sbi_clustermass.flows.ensemble import Ensemble, mean_density
from sbi_clustermass.flows.univariate import MixtureEstimator

_CLUSTERS = 500  # per batch, so that a flow's temporaries on 256 masses stay below 100 MB
_SLOTS = 50_000  # galaxies and padding per batch: a set network has 128 numbers or so for each


@torch.no_grad()
def log_prob_and_spread(
    network: EmbedOnce | Ensemble, catalogue: Catalogue, grid: Float[np.ndarray, "mass"]
) -> tuple[Float[np.ndarray, "cluster mass"], Float[np.ndarray, "cluster"] | None]:
    """Natural log density of every cluster on a grid of masses, up to a constant per cluster, and the members' spread.

    A mixture of Gaussians is normalised over the grid, in float64, so that nothing cancels however far outside it lies.

    Args:
        network: A trained network of one parameter, or an ensemble, whose members are normalised on its support.
        catalogue: Clusters with any number of galaxies.
        grid: Log10 masses [dex].

    Returns:
        The densities, and the standard deviation between the members' means [dex], None for one network. Means are by
        the trapezoidal rule, right to .001 dex for densities wider than the grid's steps.
    """
    device = next(network.parameters()).device
    masses = torch.as_tensor(grid, dtype=torch.float32, device=device)
    within = (float(masses[0]), float(masses[-1])) if isinstance(network.net, MixtureEstimator) else None
    out, spread = np.empty((len(catalogue), len(grid))), np.empty(len(catalogue))
    for rows in batches_of(catalogue.n_galaxies):
        x = observations(network, catalogue.select(rows))
        if isinstance(network, Ensemble):
            members = network.members_on_grid(x, masses, within=within)
            out[rows] = mean_density(members).cpu().numpy()
            spread[rows] = np.std([_mean(each.cpu().numpy(), grid) for each in members], axis=0)
        else:
            out[rows] = network.log_prob_grid(x, masses, within=within).cpu().numpy()
    return out, spread if isinstance(network, Ensemble) else None


def _mean(log_prob: Float[np.ndarray, "cluster mass"], grid: Float[np.ndarray, "mass"]) -> Float[np.ndarray, "cluster"]:
    weights = np.exp(log_prob - log_prob.max(axis=1, keepdims=True)) * np.gradient(grid)
    weights[:, [0, -1]] /= 2
    return weights @ grid / weights.sum(axis=1)


@torch.no_grad()
def leakage_of(network: EmbedOnce | Ensemble, catalogue: Catalogue, support: tuple[float, float]) -> float:
    """Share of the probability outside the prior's support, averaged over clusters and members."""
    members = network.members if isinstance(network, Ensemble) else [network]
    inside = 0.0
    for rows in batches_of(catalogue.n_galaxies):
        x = observations(network, catalogue.select(rows))
        inside += sum(float(member.log_mass_within(x, *support).exp().sum()) for member in members)
    return 1 - inside / (len(members) * len(catalogue))


def observations(
    network: EmbedOnce | Ensemble, catalogue: Catalogue, width: int | None = None
) -> Float[Tensor, "cluster galaxy column"]:
    """Padded galaxies with what the network takes, sky positions and conditions, on its device."""
    x = catalogue.padded(width, **columns_of(network)._asdict())
    return torch.from_numpy(x).to(next(network.parameters()).device)


def batches_of(
    n_galaxies: Int[np.ndarray, "cluster"], *, clusters: int = _CLUSTERS, slots: int = _SLOTS
) -> Iterator[Int[np.ndarray, "some"]]:
    """Rows of clusters of similar richness, each row once, so that padding is a few per cent.

    Args:
        n_galaxies: Number of galaxies of each cluster.
        clusters: Maximum number of clusters in a batch.
        slots: Maximum of clusters times galaxies of the richest in a batch; a single richer cluster is its own batch.
    """
    poorest_first = np.argsort(n_galaxies, kind="stable")
    richness = np.maximum(n_galaxies[poorest_first], 1)
    start = 0
    while start < len(richness):
        size = np.arange(1, min(clusters, len(richness) - start) + 1)
        fits = size * richness[start : start + len(size)] <= slots
        stop = start + max(int(fits.sum()), 1)
        yield poorest_first[start:stop]
        start = stop

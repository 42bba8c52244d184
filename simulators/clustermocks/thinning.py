"""Training sets in which the number of galaxies is independent of the mass.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Int

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.haloes.mass_distributions import flatten

LEVELS = 12  # different numbers of galaxies after the thinning


def without_richness(catalogue: Catalogue, *, fewest: int, most: int, low: float, high: float, seed: int) -> Catalogue:
    """Thin every cluster to a number of galaxies n that is drawn independently of its mass.

    Leaving richness out of a network's input is not enough, because the noise of an image or an average of galaxies
    reveals their number. Here n is one of up to 12 whole numbers, evenly spaced in log n between `fewest` and `most`
    and equally likely. Clusters with fewer than n galaxies are dropped, the others keep n random galaxies, and for each
    n clusters are dropped until the masses are flat. Then n and mass are independent.

    The attempts of the result are its own clusters, so that its effective prior is flat. The likelihood of a posterior
    trained on it describes the distances and velocities of n galaxies, but neither n nor a cut on it.

    Args:
        catalogue: Clusters with known masses.
        fewest: Smallest n.
        most: Largest n, limited by the poorest clusters of the lowest mass.
        low: Lower end of the mass range [dex].
        high: Upper end of the mass range [dex].
        seed: Seed of n, and of the galaxies and clusters that are kept.

    Raises:
        ValueError: `fewest` and `most` are not whole numbers with 1 <= fewest <= most, or for some n a mass bin of 0.1
            dex is without clusters.
    """
    if not 1 <= fewest <= most or fewest != int(fewest) or most != int(most):
        raise ValueError(f"without_richness: needs whole numbers 1 <= fewest <= most, found {fewest!r} and {most!r}.")
    streams = np.random.SeedSequence(seed).spawn(3)
    levels = np.unique(np.geomspace(fewest, most, LEVELS).round().astype(int))
    n = np.random.default_rng(streams[0]).choice(levels, len(catalogue))
    rich = catalogue.n_galaxies >= n
    seeds = streams[1].generate_state(len(levels))
    rows = [
        _flat(catalogue, np.flatnonzero(rich & (n == level)), int(level), seed=int(each), support=(low, high))
        for level, each in zip(levels, seeds, strict=True)
    ]
    rows = np.sort(np.concatenate(rows))
    return _thinned(catalogue.select(rows), n[rows], np.random.default_rng(streams[2]))


def _flat(
    catalogue: Catalogue, rows: Int[np.ndarray, "cluster"], n: int, *, seed: int, support: tuple[float, float]
) -> Int[np.ndarray, "kept"]:
    """Select rows of clusters, thinned to n galaxies, that make a set flat in mass."""
    try:
        return rows[flatten(catalogue.log10_mass[rows], seed, low=support[0], high=support[1])]
    except ValueError as error:
        raise ValueError(
            f"without_richness: thinned to n = {n}, {error}\n  try:    a lower `most`, a higher `low`, or more clusters"
        ) from error


def _thinned(catalogue: Catalogue, n: Int[np.ndarray, "cluster"], rng: np.random.Generator) -> Catalogue:
    """Keep n random galaxies of each cluster, in their order."""
    cluster = catalogue.cluster_of_galaxy
    shuffled = np.lexsort((rng.random(len(cluster)), cluster))
    first = np.cumsum(catalogue.n_galaxies) - catalogue.n_galaxies
    kept = np.sort(shuffled[np.arange(len(cluster)) - first[cluster] < n[cluster]])
    bounds = int(n.min()), int(n.max())
    cut = replace(
        catalogue,
        observation=replace(catalogue.observation, min_galaxies=bounds[0]),
        provenance=replace(catalogue.provenance, thinned_to=bounds),
    )
    galaxies = {name: values[kept] for name, values in catalogue.galaxy_columns.items()}
    return cut.with_galaxies(galaxies, cluster[kept], keep_failed=False)

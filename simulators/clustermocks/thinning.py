"""Training sets in which the number of galaxies says nothing about the mass.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Int

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.haloes.mass_distributions import flatten

LEVELS = 12  # numbers of galaxies to thin to


def without_richness(catalogue: Catalogue, *, fewest: int, most: int, low: float, high: float, seed: int) -> Catalogue:
    """Thin every cluster to a number of galaxies n that is drawn without regard to its mass.

    To leave richness out of a network's input is not enough: an image or an average of few galaxies is noisier than one
    of many, so that it still tells their number. Here n is one of up to 12 whole numbers, evenly spaced in log n
    between `fewest` and `most` and equally likely. Clusters with fewer than their n are dropped, the others keep n
    galaxies at random, and at each n clusters are dropped until the masses are flat. Then n and mass are independent.

    The result counts as a set drawn flat of which all was observed: its attempts are its own clusters, and its
    effective prior is flat. What the posterior's likelihood describes is the distances and velocities of n galaxies of
    a cluster, not the number itself, nor a cut on it.

    Args:
        catalogue: Clusters with known masses.
        fewest: Least n.
        most: Largest n. The poorest clusters of the lowest mass limit it.
        low: Lower end of the mass range [dex].
        high: Upper end [dex].
        seed: Of the numbers, the galaxies and the clusters that are kept.

    Raises:
        ValueError: `fewest` and `most` are not whole numbers that rise from at least 1, or at one n a mass bin of 0.1
        dex is left without clusters.
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
    """Those of the rows, which all have n galaxies, that make a set flat in mass."""
    try:
        return rows[flatten(catalogue.log10_mass[rows], seed, low=support[0], high=support[1])]
    except ValueError as error:
        raise ValueError(
            f"without_richness: thinned to n = {n}, {error}\n  try:    a lower `most`, a higher `low`, or more clusters"
        ) from error


def _thinned(catalogue: Catalogue, n: Int[np.ndarray, "cluster"], rng: np.random.Generator) -> Catalogue:
    """n galaxies of each cluster, at random, in their order."""
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

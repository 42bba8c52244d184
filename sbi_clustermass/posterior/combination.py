"""Posteriors of the same clusters from several kinds of data: two likelihoods of one mass."""

import numpy as np

from sbi_clustermass.posterior.posteriors import MassPosteriors


def combined(posteriors: MassPosteriors, *others: MassPosteriors) -> MassPosteriors:
    """Multiply posteriors by the likelihoods of other, independent data of the same clusters, such as their lensing.

    Clusters are matched by name, and so is each line of sight to them; those that others lack keep their posteriors.
    The prior of the result is that of `posteriors`; the others' are divided out. For published masses see
    `MassPosteriors.from_normal(..., names=...)`.

    Args:
        posteriors: Mass posteriors.
        others: Posteriors of the same quantity, M200c in h^-1 Msun, on grids that reach as far.

    Raises:
        ValueError: A name is not among the clusters, or repeats in one of the others, some of the clusters have numbers
            for names, a grid ends before that of the posteriors, or two likelihoods exclude each other.
    """
    log_prob = posteriors.log_prob.copy()
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(posteriors.names):
        rows.setdefault(name, []).append(row)
    for other in others:
        _refuse_numbers(len(rows), other)
        unknown = [name for name in other.names if name not in rows]
        if len(set(other.names)) < len(other):
            raise ValueError("combined: names repeat in the other data, which would count a cluster's data twice.")
        if unknown:
            raise ValueError(f"combined: {len(unknown)} clusters are not among the first, such as {unknown[0]!r}.")
        if other.grid[0] > posteriors.grid[0] or other.grid[-1] < posteriors.grid[-1]:
            raise ValueError(
                f"combined: masses of {other.grid[0]:.2f} to {other.grid[-1]:.2f} do not reach over "
                f"{posteriors.grid[0]:.2f} to {posteriors.grid[-1]:.2f}, so that their likelihood is not known there."
            )
        for name, log_likelihood in zip(other.names, other.log_likelihood(), strict=True):
            log_prob[rows[name]] += np.interp(posteriors.grid, other.grid, log_likelihood)
    nowhere = np.flatnonzero(np.isneginf(log_prob).all(axis=1))
    if nowhere.size:
        raise ValueError(f"combined: no mass of {posteriors.names[nowhere[0]]!r} is possible by all data.")
    return MassPosteriors.from_log_prob(
        posteriors.grid, log_prob, log_prior=posteriors.log_prior, names=posteriors.names, leakage=posteriors.leakage
    )


def _refuse_numbers(n_clusters: int, other: MassPosteriors) -> None:
    if len(other) < n_clusters and other.names == tuple(map(str, range(len(other)))):
        raise ValueError(
            f"combined: {len(other)} of {n_clusters} clusters have no names but their numbers, 0 to {len(other) - 1}, "
            "and would be taken for the first ones.\n  try:    MassPosteriors.from_normal(mean, std, grid, names=...)"
        )

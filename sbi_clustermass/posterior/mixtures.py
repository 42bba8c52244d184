"""Mixtures of posteriors on one grid: the members of an ensemble as one answer.

Masses are log10_mass [dex]; `log_` is natural.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from sbi_clustermass.posterior.posteriors import MassPosteriors


def checked_weights(weights: ArrayLike | None, n: int) -> Float[np.ndarray, "member"]:
    """Weights of n members, of sum 1; equal ones by default.

    Raises:
        ValueError: Another number of weights, a negative or infinite one, or none above zero.
    """
    given = np.ones(n) if weights is None else np.asarray(weights, float)
    if given.shape != (n,) or not np.isfinite(given).all() or (given < 0).any() or not given.sum() > 0:
        raise ValueError(f"a mixture of {n} needs {n} weights of at least 0, not all of them 0; found {weights!r}.")
    return given / given.sum()


def check_members(members: Sequence["MassPosteriors"]) -> None:
    """Refuse members that are not the same clusters, on one grid, under one prior.

    Raises:
        ValueError: No members, or which one differs in what.
    """
    if not members:
        raise ValueError("a mixture needs at least one member; the list is empty.")
    first = members[0]
    for i, other in enumerate(members[1:], 1):
        if not np.array_equal(other.grid, first.grid):
            raise ValueError(f"mixture: member {i} is on another grid ({other!r}) than member 0 ({first!r}).")
        if other.names != first.names:
            raise ValueError(f"mixture: member {i} is of other clusters than member 0, or in another order.")
        if not np.allclose(shape_of(other), shape_of(first), rtol=0, atol=1e-6, equal_nan=True):
            raise ValueError(
                f"mixture: member {i} has another effective prior than member 0, so their mixture has none.\n"
                "  try:    member.with_prior(members[0].log_prior) for each member"
            )


def shape_of(posteriors: "MassPosteriors") -> Float[np.ndarray, "mass"]:
    """Log prior up to a constant."""
    return posteriors.log_prior - posteriors.log_prior.max()


def log_mixture(
    members: Sequence["MassPosteriors"], weights: Float[np.ndarray, "member"]
) -> Float[np.ndarray, "cluster mass"]:
    """Natural log of the weighted sum of densities."""
    with np.errstate(divide="ignore"):  # a weight of zero
        log_weights = np.log(weights)
    total = np.full_like(members[0].log_prob, -np.inf)
    for member, log_weight in zip(members, log_weights, strict=True):
        np.logaddexp(total, member.log_prob + log_weight, out=total)
    return total


def spread_of_means(
    members: Sequence["MassPosteriors"], weights: Float[np.ndarray, "member"]
) -> Float[np.ndarray, "cluster"]:
    """Standard deviation between the members' means [dex]; with the mean variance within, the mixture's variance."""
    means = np.stack([member.mean for member in members])
    return np.sqrt(weights @ (means - weights @ means) ** 2)

"""Whether an estimator can take clusters, and the masses at which it is asked."""

from warnings import warn

import numpy as np
from jaxtyping import Float

from clustermocks import Catalogue, Cosmology, Observation

_GRID = 256


def check_observation(catalogue: Catalogue, observation: Observation, cosmology: Cosmology, *, smaller: bool) -> None:
    """Refuse clusters that were observed in another way than the training set; warn of another richness cut.

    Args:
        catalogue: The clusters.
        observation: How the training set was observed.
        cosmology: Cosmology of the training set.
        smaller: Whether a smaller aperture and velocity cut are allowed.

    Raises:
        ValueError: There are no clusters, or their aperture, velocity cut or cosmology differs.
    """
    if not len(catalogue):
        raise ValueError("the catalogue holds no clusters.")
    for name in ("aperture", "v_cut"):
        ours, theirs = getattr(observation, name), getattr(catalogue.observation, name)
        if theirs != ours and not (smaller and theirs < ours):
            raise ValueError(f"the clusters were observed with {name} {theirs}, the training set with {ours}.")
    if catalogue.cosmology != cosmology:
        raise ValueError(
            f"the clusters' distances assume {catalogue.cosmology}, the training set's {cosmology}.\n"
            "  try:    read them with cosmology=estimator.cosmology"
        )
    ours, theirs = observation.min_galaxies, catalogue.observation.min_galaxies
    if ours != theirs:
        warn(
            f"clusters of {theirs} galaxies or more, a training set of {ours} or more: the posteriors do not know "
            f"of that cut, and their likelihoods are not those that a population fit needs.\n"
            f"  try:    train on mocks.with_min_galaxies({theirs})",
            UserWarning,
            stacklevel=3,
        )


def grid_inside(support: tuple[float, float], grid: Float[np.ndarray, "mass"] | None) -> Float[np.ndarray, "mass"]:
    """Return the grid of log10 masses [dex], by default 256 over the support.

    Raises:
        ValueError: It leaves the support.
    """
    low, high = support
    grid = np.linspace(low, high, _GRID) if grid is None else np.asarray(grid, float)
    if grid[0] < low or grid[-1] > high:
        raise ValueError(f"the grid reaches from {grid[0]} to {grid[-1]}, beyond the prior's support {low} to {high}.")
    return grid

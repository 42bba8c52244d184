"""Mass estimates with Gaussian errors: log10 M200c [h^-1 Msun], errors in dex."""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

_LARGEST_MASS = 20.0  # [dex]


def checked_estimates(
    mean: ArrayLike, std: ArrayLike, grid: Float[np.ndarray, "mass"]
) -> tuple[Float[np.ndarray, "cluster"], Float[np.ndarray, "cluster"]]:
    """Estimates and errors as arrays of one length.

    Raises:
        ValueError: Lengths differ, or values are not log10 masses with errors in dex on such a grid.
    """
    mean, std = np.atleast_1d(np.asarray(mean, float)), np.asarray(std, float)
    if mean.ndim != 1 or std.shape not in ((), (1,), mean.shape):
        raise ValueError(
            f"mass estimates: need one mass a cluster, and one error for each or for all; found shapes {mean.shape} of "
            f"masses, {std.shape} of errors."
        )
    if grid.ndim != 1 or not (np.diff(grid) > 0).all() or grid[-1] > _LARGEST_MASS:
        raise ValueError(f"mass estimates: the grid must rise, in log10 mass up to {_LARGEST_MASS:.0f}, found {grid}.")
    std = np.broadcast_to(std, mean.shape)
    known = np.isfinite(mean) & np.isfinite(std) & (std > 0)
    _refuse(~known, mean, std, "are not finite, or have an error that is not positive", "leave these clusters out")
    low, high = grid[[0, -1]]
    span = high - low
    _refuse(
        (mean < low - span) | (mean > high + span) | (std > span),
        mean,
        std,
        f"lie further from the grid of masses, {low:.2f} to {high:.2f}, than it is wide, or have a wider error",
        "log10 of masses in h^-1 Msun, errors in dex (.434 times a relative error), or a wider grid",
    )
    return mean, std


def _refuse(
    bad: Bool[np.ndarray, "cluster"],
    mean: Float[np.ndarray, "cluster"],
    std: Float[np.ndarray, "cluster"],
    fault: str,
    cure: str,
) -> None:
    if bad.any():
        first = int(bad.argmax())
        raise ValueError(
            f"mass estimates: {bad.sum()} of {len(mean)} {fault}; the first is {mean[first]:.6g} ± {std[first]:.6g} in "
            f"row {first}.\n  try:    {cure}"
        )

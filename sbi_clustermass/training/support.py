"""The support of a training set: whether its masses fill it. Masses are M200c [h^-1 Msun] as log10_mass [dex]."""

from warnings import warn

import numpy as np
from jaxtyping import Float

from clustermocks import Catalogue

_GAP, _BESIDE = 0.1, 0.1  # [dex]
_MANY = 10  # clusters expected in a gap: chance leaves it empty once in 22 000


def warn_of_gaps(catalogue: Catalogue, support: tuple[float, float]) -> None:
    """Warn where a training set ends more than .1 dex inside its support and is not sparse there.

    A set that was thinned or flattened keeps its attempts, whose range is the default support: the effective prior
    would have to fall to nothing between the set's end and the support's, which no smooth one does.

    Args:
        catalogue: The training set, inside the support, with its attempts.
        support: Lowest and highest log10 mass of the prior [dex].
    """
    masses = catalogue.log10_mass
    ends = float(masses.min()), float(masses.max())
    cure = tuple(round(e, 2) if abs(e - edge) > _GAP else edge for e, edge in zip(ends, support, strict=True))
    for end, edge in zip(ends, support, strict=True):
        gap = abs(edge - end)
        missing = _expected(catalogue, end, edge) if gap > _GAP else 0.0
        if missing >= _MANY:
            warn(
                f"the masses of the training set end at {end:.2f}, {gap:.2f} dex inside the support {support[0]:g} to "
                f"{support[1]:g}, where about {missing:.0f} more would lie if it went on: posteriors are wrong there.\n"
                f"  try:    train(..., support=({cure[0]:g}, {cure[1]:g}))",
                UserWarning,
                stacklevel=3,
            )


def _expected(catalogue: Catalogue, end: float, edge: float) -> float:
    """Clusters between the set's end and the support's edge if it went on as in its last .1 dex.

    Of attempts that passed the cuts, the same share is kept; where nobody tried, their density stays.
    """
    attempted, passed = catalogue.attempted()
    kept = _beside(catalogue.log10_mass, end)
    low, high = sorted((end, edge))
    tried = (attempted > low) & (attempted < high)
    if not tried.any():
        return kept * abs(edge - end) / _BESIDE if kept > 2 * _MANY else 0.0  # a mass function's tail is sparse
    return float((tried & passed).sum()) * kept / max(_beside(attempted[passed], end), 1)


def _beside(masses: Float[np.ndarray, "cluster"], end: float) -> int:
    return int((np.abs(masses - end) < _BESIDE).sum())

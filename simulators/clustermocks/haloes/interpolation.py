"""Tables of continuous settings, such as a redshift, interpolated between few exact ones that are made when needed.

A group of clusters with a redshift of its own needs tables of its own. These cost microseconds.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from itertools import product
from math import inf, prod
from typing import Any

import numpy as np

from clustermocks.haloes.cosmology import Values

_STEP = 0.04  # of ln(1+z) between exact tables
_LOWEST = 1e-6  # redshift of the first: colossus' growth factor jumps by 3e-5 at 0, its other errors are 1e-5


def stencil(place: float, points: int, *, lowest: float = -inf, highest: float = inf) -> list[tuple[int, float]]:
    """Consecutive whole numbers around a place, within limits, with their weights in Lagrange interpolation.

    Numbers of weight 0 are left out: at a whole number all others.
    """
    first = int(min(max(np.ceil(place - points / 2), lowest), highest - points + 1))
    t = place - first - np.arange(points)
    weights = [float(np.prod([t[j] / (i - j) for j in range(points) if j != i])) for i in range(points)]
    return [(first + i, weight) for i, weight in enumerate(weights) if weight]


def mixed(table: Callable[..., Values], *stencils: Sequence[tuple[Any, float]]) -> Values:
    """Tables at every combination of the stencils' numbers, added up with the products of their weights."""
    corners = (zip(*corner, strict=True) for corner in product(*stencils))
    return sum((prod(weights) * table(*numbers) for numbers, weights in corners), np.zeros(()))


def between_redshifts(table: Callable[..., Values], redshift: float, *settings: Hashable) -> Values:
    """Interpolate `table(redshift, *settings)` between redshifts: cubic in ln(1+z), to 1e-5 where it is smooth.

    The tables between which it interpolates are remembered. None lies at a negative redshift.
    """
    around = stencil(float(np.log1p(redshift)) / _STEP, 4, lowest=0)
    return mixed(lambda number: _exact(table, number, *settings), around)


@lru_cache(maxsize=4096)
def _exact(table: Callable[..., Values], number: int, *settings: Hashable) -> Values:
    return table(float(max(np.expm1(number * _STEP), _LOWEST)), *settings)

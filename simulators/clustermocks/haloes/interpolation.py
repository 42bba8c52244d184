"""Interpolation between tables that are slow to make, by Lagrange's polynomials."""

import numpy as np


def lagrange(place: float, points: int, *, lowest: float = -np.inf, highest: float = np.inf) -> tuple[int, list[float]]:
    """First of the whole numbers around a place, none below `lowest` or above `highest`, and their weights."""
    first = int(min(max(np.ceil(place - points / 2), lowest), highest - points + 1))
    t = place - first - np.arange(points)
    return first, [float(np.prod([t[j] / (i - j) for j in range(points) if j != i])) for i in range(points)]

"""Coverage of the mocks' aperture by a table's galaxies: where a smaller field was observed.

Lengths are comoving [h^-1 Mpc], angles [deg].
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

SCALE_RADIUS = 0.25  # h^-1 Mpc: r200 / c of a cluster of 10^14.5 h^-1 Msun, c of galaxies about 4
CHANCE = 1e-3  # probability that a full field ends as early
GAP_CHANCE = 1e-4  # probability that a round cluster leaves such a gap; of elongated ones 1 in 100 has a gap
SMALLEST_GAP = 60.0  # deg
_EDGES = (1 / 3, 2 / 3, 1.0)  # outer edges of the rings of position angles [aperture]

Values = Float[np.ndarray, "*batch"]


@final
@dataclass(frozen=True)
class NarrowField:
    """Extent of a field that ends inside the aperture.

    Attributes:
        reach: Distance of the outermost galaxy [h^-1 Mpc].
        share: Share of the aperture's galaxies that a usual profile has inside the field [1].
        missing: Number of galaxies beyond the field, if the profile is the usual one.
    """

    reach: float
    share: float
    missing: int


def projected_nfw(x: ArrayLike) -> Values:
    """Count NFW galaxies within x scale radii on the sky, ln(x/2) + arccos(1/x) / sqrt(x^2 - 1), up to a factor.

    Below one scale radius the count is ln(x/2) + arccosh(1/x) / sqrt(1 - x^2).

    References:
        Bartelmann 1996, A&A 313, 697; Lokas & Mamon 2001, MNRAS 321, 155, eqs. 42 and 43.
    """
    x = np.asarray(x, float)
    below, above = np.clip(x, 1e-8, 1 - 1e-8), np.maximum(x, 1 + 1e-8)
    inner = np.log(below / 2) + np.arccosh(1 / below) / np.sqrt(1 - below**2)
    outer = np.log(above / 2) + np.arccos(1 / above) / np.sqrt(above**2 - 1)
    return np.maximum(np.where(x < 1, inner, outer), 0)


def narrow_field(R_proj: Values, aperture: float) -> NarrowField | None:
    """Measure a field that ends inside the mocks' aperture; None where a full field could look the same.

    Galaxies of any velocity count. Of n with a projected NFW profile (scale radius .25 h^-1 Mpc) none lies beyond R
    with probability (share inside R)^n; below .001 the field counts as cut. Background galaxies only lower it.
    """
    reach = float(R_proj.max(initial=0.0))
    if not 0 < reach < aperture:
        return None
    share = float(_share(reach, aperture))
    if share ** len(R_proj) > CHANCE:
        return None
    return NarrowField(reach, share, round(len(R_proj) * (1 / max(share, 1e-6) - 1)))


def widest_field(reach: float, n_galaxies: int, aperture: float) -> float:
    """Largest radius, up to the aperture, of a field whose galaxies could end so early [h^-1 Mpc]; see `narrow_field`.

    Args:
        reach: Distance of the outermost galaxy [h^-1 Mpc], above 0.
        n_galaxies: Number of galaxies.
        aperture: Radius inside which the galaxies were taken [h^-1 Mpc].
    """
    fields = np.linspace(min(reach, aperture), aperture, 500)
    return float(fields[_share(reach, fields) ** n_galaxies > CHANCE].max(initial=reach))


def _share(reach: float, field: ArrayLike) -> Values:
    """Share of a field's galaxies within `reach`, both in [h^-1 Mpc], if their profile is the usual one [1]."""
    return projected_nfw(reach / SCALE_RADIUS) / projected_nfw(np.asarray(field) / SCALE_RADIUS)


def covered_share(angle: Values, R_proj: Values, aperture: float) -> tuple[float, float]:
    """Return the observed share of the aperture's circle by position angles in three rings, and the widest gap [deg].

    Galaxies of any velocity count. In a ring of n galaxies a gap wider than a share g of the circle has probability
    n (1 - g)^(n - 1) or less (Stevens 1939, Annals of Eugenics 9, 315); below .0001 and above 60 degrees it counts as
    unobserved. A sector that is unobserved in one ring is so in the rings outside, unless they hold a galaxy there.
    """
    lost, widest, inner, start, gap = 0.0, 0.0, 0.0, 0.0, 0.0
    for outer in _EDGES:
        ring = angle[(R_proj >= inner * aperture) & (R_proj < outer * aperture)]
        own_start, own = _significant_gap(ring)
        if own or ((ring - start) % 360 < 360 * gap).any():
            start, gap = own_start, own
        lost, widest = lost + (outer**2 - inner**2) * gap, max(widest, 360 * gap)
        inner = outer
    return 1 - lost, widest


def _significant_gap(angle: Values) -> tuple[float, float]:
    """Start [deg] and width [share of the circle] of the widest gap of position angles; 0, 0 if it may be by chance."""
    n = len(angle)
    if n < 2:
        return 0.0, 0.0
    ordered = np.sort(angle % 360)
    gaps = np.diff(ordered, append=ordered[0] + 360) / 360
    at = int(np.argmax(gaps))
    gap = float(gaps[at])
    significant = n * (1 - gap) ** (n - 1) < GAP_CHANCE and 360 * gap > SMALLEST_GAP
    return (float(ordered[at]) + 1e-9, gap - 1e-11) if significant else (0.0, 0.0)

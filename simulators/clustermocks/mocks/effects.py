"""What keeps galaxies out of a spectroscopic catalogue: incompleteness that grows outwards, colliding fibres.

Distances are comoving [h^-1 Mpc], angles in seconds of arc.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy.spatial import KDTree

from clustermocks.haloes.cosmology import Cosmology, Values

_ARCSEC = np.pi / 180 / 3600


@final
@dataclass(frozen=True)
class RadialCompleteness:
    """Probability that a galaxy has a redshift, linear in projected distance: from the centre to the aperture's edge.

    Attributes:
        centre: Probability at the assumed centre [1].
        edge: Probability at the aperture, and for members beyond it [1].
    """

    centre: float
    edge: float

    def __post_init__(self) -> None:
        for name in ("centre", "edge"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"RadialCompleteness: {name} must be 0 to 1, found {getattr(self, name)!r}.")

    def __call__(self, R_proj: ArrayLike, aperture: float) -> Values:
        """Probability [1] at a projected distance from the assumed centre [same unit as the aperture]."""
        fraction = np.minimum(np.asarray(R_proj, float) / aperture, 1.0)
        return self.centre + (self.edge - self.centre) * fraction


def with_redshift(
    completeness: float | RadialCompleteness,
    R_proj: Float[np.ndarray, "galaxy"],
    aperture: float,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "galaxy"]:
    """Which galaxies get a redshift, each independently; no random numbers are drawn where all do."""
    if completeness == 1:
        return np.ones(len(R_proj), bool)
    probability = completeness(R_proj, aperture) if isinstance(completeness, RadialCompleteness) else completeness
    return rng.uniform(size=len(R_proj)) < probability


def fibre_distance(fibre_collision: float, redshift: float, cosmology: Cosmology) -> float:
    """Distance on the sky [comoving h^-1 Mpc] that an angle [arcsec] spans at a redshift, in a flat universe."""
    return float(fibre_collision * _ARCSEC * cosmology.comoving_distance(redshift))


def apart(
    sky: Float[np.ndarray, "galaxy 2"],
    cluster: Int[np.ndarray, "galaxy"],
    least: float,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "galaxy"]:
    """Which galaxies get a fibre: in random order, each that is at least so far from all of its cluster that have one.

    No two that are kept are closer, and each that is dropped is closer than that to one that is kept.

    Args:
        sky: Positions on the sky [comoving h^-1 Mpc].
        cluster: Galaxies of different clusters never collide.
        least: Least distance [comoving h^-1 Mpc].
        rng: Random numbers.
    """
    if not least or not len(sky):
        return np.ones(len(sky), bool)
    extent = float(np.ptp(sky, axis=0).max()) + 2 * least
    shifted = sky + np.column_stack([cluster * extent, np.zeros(len(sky))])  # clusters side by side
    pairs = KDTree(shifted).query_pairs(least, output_type="ndarray")
    return _first_come(pairs, rng.permutation(len(sky)))


def _first_come(pairs: Int[np.ndarray, "pair 2"], turn: Int[np.ndarray, "galaxy"]) -> Bool[np.ndarray, "galaxy"]:
    """Which galaxies are kept where each, in its turn, bars all that it is paired with. A few rounds, all at once."""
    early, late = np.where((turn[pairs[:, 0]] < turn[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1]).T
    kept = np.ones(len(turn), bool)
    while len(early):
        contested = np.zeros(len(turn), bool)
        contested[late] = True
        safe = ~contested[early]  # nobody before them is left: they stay, and bar the later ones
        kept[late[safe]] = False
        left = kept[early] & kept[late]
        early, late = early[left], late[left]
    return kept

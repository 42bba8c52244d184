"""Clusters caught while another falls in: two clumps, each in equilibrium, that move towards each other.

Lengths are comoving [h^-1 Mpc], velocities [km/s]. Masses of the two add up to the cluster's.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
from jaxtyping import Float, Int

from clustermocks.cosmology import Values, nfw_mass

if TYPE_CHECKING:
    from clustermocks.halo import Haloes

_TURNAROUND = 3.0  # r200c; where the infalling clump was at rest
_NEAREST = 0.3  # R_vir; nearer than that nobody would call it a second clump


@final
@dataclass(frozen=True)
class Mergers:
    """How many clusters have an infalling clump, and how massive it is.

    Attributes:
        fraction: Share of clusters with one [1] (Evrard et al. 2008, ApJ 672, 122: a tenth of all haloes, merging, make
            the high tail of the dispersions).
        lightest: Smallest mass of the clump over the main body's [1]; log-uniform up to `heaviest`.
        heaviest: Largest [1].
    """

    fraction: float = 0.1
    lightest: float = 0.1
    heaviest: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise ValueError(f"Mergers: fraction must be 0 to 1, found {self.fraction!r}.")
        if not 0 < self.lightest <= self.heaviest <= 1:
            raise ValueError(
                f"Mergers: needs 0 < lightest <= heaviest <= 1, found {self.lightest!r} and {self.heaviest!r}."
            )


SOME, NONE = Mergers(), Mergers(fraction=0.0)


class Clumps(NamedTuple):
    """The second clump of each halo: share of the mass [1], 0 where there is none; where it is and how fast it moves.

    Position [h^-1 Mpc] and velocity [km/s] are relative to the main body, (halo, 3).
    """

    share: Float[np.ndarray, "halo"]
    position: Float[np.ndarray, "halo 3"]
    velocity: Float[np.ndarray, "halo 3"]

    def merge(
        self,
        halo: Int[np.ndarray, "galaxy"],
        separation: Float[np.ndarray, "galaxy 3"],
        velocity: Float[np.ndarray, "galaxy 3"],
        rng: np.random.Generator,
    ) -> tuple[Float[np.ndarray, "galaxy 3"], Float[np.ndarray, "galaxy 3"]]:
        """Galaxies of one body in equilibrium, dealt out to two of the same mean density.

        Radii and dispersions of haloes go with the cube root of the mass.
        """
        share = self.share[halo]
        falling = rng.uniform(size=len(halo)) < share
        scale = np.where(falling, share, 1 - share)[:, None] ** (1 / 3)
        moved = falling[:, None]
        return (
            scale * separation + np.where(moved, self.position[halo], 0.0),
            scale * velocity + np.where(moved, self.velocity[halo], 0.0),
        )


def draw_clumps(haloes: "Haloes", rng: np.random.Generator, mergers: Mergers) -> Clumps:
    """Second clumps, on their first way in: between .3 and 1 R_vir, falling radially from rest at 3 r200c."""
    n = len(haloes.log10_mass)
    ratio = np.exp(rng.uniform(np.log(mergers.lightest), np.log(mergers.heaviest), n))
    ratio = np.where(rng.uniform(size=n) < mergers.fraction, ratio, 0.0)
    direction = rng.standard_normal((n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    distance = haloes.R_vir * rng.uniform(_NEAREST, 1, n)
    speed = haloes.v_200 * infall_speed(distance / haloes.r_200c, haloes.c_200c)
    return Clumps(ratio / (1 + ratio), distance[:, None] * direction, -speed[:, None] * direction)


def infall_speed(x: Values, c_mass: Values) -> Values:
    r"""Speed [V200] at radius / r200c in an NFW potential, from rest at 3 r200c.

    $v^2 = 2 [\Phi(3) - \Phi(x)]$ with $\Phi(x) = -\ln(1 + c x) / (x m(c))$ (Lokas & Mamon 2001, MNRAS 321, 155, eq. 7).

    Args:
        x: Radius / r200c [1], at most 3.
        c_mass: Concentration of the mass [1].
    """
    fall = np.log1p(c_mass * x) / x - np.log1p(c_mass * _TURNAROUND) / _TURNAROUND
    return np.sqrt(2 * fall / nfw_mass(c_mass))

"""Clusters caught while another falls in: two clumps, each in equilibrium, that move towards each other.

Lengths are comoving [h^-1 Mpc], velocities [km/s]. The sphere of r200c about the main body holds M200c, whatever part
of the second clump lies outside it: that is how halo finders measure a mass.
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Float, Int

from clustermocks.haloes.binding import highest_speed
from clustermocks.haloes.cosmology import Values, nfw_mass
from clustermocks.haloes.structure import Haloes
from clustermocks.io.settings import check_ranges

_TURNAROUND = 3.0  # r200c; where the infalling clump was at rest
_NEAREST = 0.3  # R_vir; at smaller distances it is no second clump
_SHELLS, _STEPS = 64, 10  # of the mass caught by a sphere, and towards the masses that fill it: good to 1e-3


@final
@dataclass(frozen=True)
class Mergers:
    """How many clusters have an infalling clump, and how massive it is.

    Attributes:
        fraction: Share of clusters with one [1] (Evrard et al. 2008, ApJ 672, 122: a tenth of all haloes, merging, make
            the high tail of the dispersions).
        lightest: Smallest mass of the clump over the main body's [1]; log-uniform up to `heaviest`.
        heaviest: Largest such ratio [1].
    """

    fraction: float = 0.1
    lightest: float = 0.1
    heaviest: float = 0.5

    def __post_init__(self) -> None:
        check_ranges(self, fraction=(0, 1))
        if not 0 < self.lightest <= self.heaviest <= 1:
            raise ValueError(
                f"Mergers: needs 0 < lightest <= heaviest <= 1, found {self.lightest!r} and {self.heaviest!r}."
            )


SOME, NONE = Mergers(), Mergers(fraction=0.0)


class Clumps(NamedTuple):
    """The second clump of each halo: share of the mass [1], 0 where there is none; where it is and how fast it moves.

    `total` is the mass of the two bodies, each inside its own r200c, over the cluster's M200c [1]: .9 to 1.3. Position
    [h^-1 Mpc] and velocity [km/s] are relative to the main body, (halo, 3).
    """

    share: Float[np.ndarray, "halo"]
    total: Float[np.ndarray, "halo"]
    position: Float[np.ndarray, "halo 3"]
    velocity: Float[np.ndarray, "halo 3"]

    def merge(
        self,
        halo: Int[np.ndarray, "galaxy"],
        separation: Float[np.ndarray, "galaxy 3"],
        velocity: Float[np.ndarray, "galaxy 3"],
        rng: np.random.Generator,
    ) -> tuple[Float[np.ndarray, "galaxy 3"], Float[np.ndarray, "galaxy 3"]]:
        """Distribute the galaxies of one body in equilibrium over two of the same mean density.

        Radii and dispersions of haloes go with the cube root of the mass.
        """
        if not self.share.any():
            return separation, velocity
        share = self.share[halo]
        falling = rng.uniform(size=len(halo)) < share
        scale = np.cbrt(self.total[halo] * np.where(falling, share, 1 - share))[:, None]
        moved = falling[:, None]
        return (
            scale * separation + np.where(moved, self.position[halo], 0.0),
            scale * velocity + np.where(moved, self.velocity[halo], 0.0),
        )


def draw_clumps(haloes: Haloes, rng: np.random.Generator, mergers: Mergers) -> Clumps:
    """Second clumps, on their first way in: between .3 and 1 R_vir, falling radially from rest at 3 r200c."""
    n = len(haloes.log10_mass)
    if not mergers.fraction:
        return Clumps(np.zeros(n), np.ones(n), np.zeros((n, 3)), np.zeros((n, 3)))
    ratio = np.exp(rng.uniform(np.log(mergers.lightest), np.log(mergers.heaviest), n))
    ratio = np.where(rng.uniform(size=n) < mergers.fraction, ratio, 0.0)
    direction = rng.standard_normal((n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    distance = haloes.R_vir * rng.uniform(_NEAREST, 1, n)
    speed = haloes.v_200 * highest_speed(distance / haloes.r_200c, haloes.c_200c, _TURNAROUND)
    share = ratio / (1 + ratio)
    total = _total_mass(haloes, share, distance / haloes.r_200c)
    return Clumps(share, total, distance[:, None] * direction, -speed[:, None] * direction)


def _total_mass(haloes: Haloes, share: Values, distance: Values) -> Values:
    """Mass of two bodies [M200c], at a distance in r200c, that fills the sphere of r200c with M200c."""
    total, some = np.ones(len(share)), np.flatnonzero(share)
    c_mass, edge = haloes.c_200c[some], (haloes.R_vir / haloes.r_200c)[some]
    for _ in range(_STEPS):
        total[some] /= mass_inside(total[some], share[some], distance[some], c_mass=c_mass, edge=edge)
    return total


def mass_inside(total: Values, share: Values, distance: Values, *, c_mass: Values, edge: Values) -> Values:
    """Mass [M200c] of two NFW bodies in the sphere of r200c about the first.

    Args:
        total: Mass of the two bodies, each inside its own r200c [M200c], (halo,).
        share: Share of the second body in it [1].
        distance: Distance of the second from the first [r200c].
        c_mass: Concentration of both [1].
        edge: Radius at which each ends [its own r200c].
    """
    x = (np.arange(_SHELLS) + 0.5) / _SHELLS * edge[:, None]
    shell = (c_mass[:, None] / (1 + c_mass[:, None] * x)) ** 2 * x * (edge / nfw_mass(c_mass))[:, None] / _SHELLS
    r, d = np.cbrt(total * share)[:, None] * x, distance[:, None]
    caught = (1 + np.clip((1 - d**2 - r**2) / (2 * d * r), -1, 1)) / 2  # the part of a shell's surface inside
    main = nfw_mass(c_mass * np.minimum(1 / np.cbrt(total * (1 - share)), edge)) / nfw_mass(c_mass)
    return total * ((1 - share) * main + share * (shell * caught).sum(axis=1))

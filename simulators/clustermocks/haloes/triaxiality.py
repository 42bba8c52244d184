"""Triaxial haloes: positions and velocities drawn out along the same axes, so that sides of a cluster differ.

Seen along its long axis a halo is compact and fast, across it wide and slow: the largest part of the scatter of the
velocity dispersion at given mass.
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation
from scipy.special import elliprd

from clustermocks.io.settings import check_ranges

_ROUNDEST, _FLATTEST = 1.0, 0.3


@final
@dataclass(frozen=True)
class Shapes:
    """Axis ratios of haloes and of their velocity ellipsoids, which are aligned.

    Attributes:
        position: Mean ratio of the shortest to the longest axis of the galaxies' positions [1]; 1 is a sphere.
        velocity: Mean ratio of the smallest to the largest velocity dispersion [1].
        scatter: Standard deviation of both from halo to halo [1]; the two go together.
        triaxiality: (1 - (b/a)^2) / (1 - (c/a)^2) [1]: 0 is oblate, 1 prolate. A choice: cluster haloes are mostly
            prolate.

    References:
        Wojtak 2013, A&A 559, A89 (axis ratios of cluster haloes, .66 in position, .78 in velocity, aligned).
    """

    position: float = 0.66
    velocity: float = 0.78
    scatter: float = 0.07
    triaxiality: float = 0.7

    def __post_init__(self) -> None:
        check_ranges(self, position=(_FLATTEST, 1), velocity=(_FLATTEST, 1), scatter=(0, 1), triaxiality=(0, 1))


TRIAXIAL = Shapes()
SPHERES = Shapes(1.0, 1.0, 0.0, 0.0)


class Ellipsoids(NamedTuple):
    """Symmetric matrices of each halo, (halo, 3, 3): what stretches isotropic positions and velocities.

    Those of the velocities have a mean square of 1 over directions. `axes` are the eigenvalues of both, in the same
    order: (2, halo, 3).
    """

    position: Float[np.ndarray, "halo 3 3"]
    velocity: Float[np.ndarray, "halo 3 3"]
    axes: Float[np.ndarray, "2 halo 3"]

    def directions(self, halo: Int[np.ndarray, "galaxy"], rng: np.random.Generator) -> Float[np.ndarray, "galaxy 3"]:
        """Unit vectors, (galaxy, 3): the halo's mean profile stays as it is, its galaxies crowd along the long axis.

        Angular central Gaussian (Tyler 1987, Biometrika 74, 579): the directions at given radius of a density that
        falls as the third power of the ellipsoidal radius, as NFW does outside.
        """
        stretched = np.einsum("gij,gj->gi", self.position[halo], rng.standard_normal((len(halo), 3)))
        return stretched / np.linalg.norm(stretched, axis=1, keepdims=True)

    def radial_square(self) -> Float[np.ndarray, "halo"]:
        r"""Mean square by which radial velocities are stretched [1]: above 1, since `directions` crowd where they are.

        $\sum_i v_i^2 \langle n_i^2 \rangle$ with $\langle n_i^2 \rangle = R_D(a_j^{-2}, a_k^{-2}, a_i^{-2}) / 3 a_1 a_2
        a_3$ for an angular central Gaussian of axes a, R_D Carlson's elliptic integral (DLMF 19.16.5).
        """
        inverse = 1 / self.axes[0] ** 2
        share = np.stack([elliprd(*np.roll(inverse, -1 - i, axis=1).T) for i in range(3)], axis=1)
        return (share * self.axes[1] ** 2).sum(axis=1) / (3 * self.axes[0].prod(axis=1))


def draw_ellipsoids(n: int, rng: np.random.Generator, shapes: Shapes) -> Ellipsoids:
    """Shapes of n haloes, oriented at random."""
    deviation = shapes.scatter * rng.standard_normal(n)
    axes = np.stack([_axes(ratio + deviation, shapes.triaxiality) for ratio in (shapes.position, shapes.velocity)])
    axes[1] /= np.sqrt((axes[1] ** 2).mean(axis=-1, keepdims=True))
    rotation = Rotation.random(n, rng).as_matrix()
    position, velocity = np.einsum("hij,khj,hlj->khil", rotation, axes, rotation)
    return Ellipsoids(position, velocity, axes)


def _axes(shortest: Float[np.ndarray, "halo"], triaxiality: float) -> Float[np.ndarray, "halo 3"]:
    shortest = np.clip(shortest, _FLATTEST, _ROUNDEST)
    middle = np.sqrt(1 - triaxiality * (1 - shortest**2))
    return np.column_stack([np.ones_like(shortest), middle, shortest])

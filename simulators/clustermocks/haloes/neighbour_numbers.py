"""Numbers of haloes about a cluster: of each mass, and clustered about it by the linear correlation function.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc].
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Float
from scipy.integrate import cumulative_trapezoid

from clustermocks.haloes.cosmology import Cosmology, Values, correlation_function, growth_factor, mass_function
from clustermocks.haloes.structure import halo_biases

MAX_NEIGHBOUR = 15.7
MASSES = np.linspace(10.5, MAX_NEIGHBOUR, 1301)  # grid of tables, log10 M200c


@final
@dataclass(frozen=True)
class SearchVolume:
    """The space in which galaxies matter: within `radius` of the line of sight and `depth` of the cluster.

    Both are distances [comoving h^-1 Mpc], in projection and in space. Haloes matter that reach into it.
    """

    radius: float
    depth: float
    min_log10_mass: float
    redshift: float
    cosmology: Cosmology


class HaloNumbers(NamedTuple):
    """Haloes between the lightest mass of the grid `MASSES` and each."""

    count: Float[np.ndarray, "mass"]  # [h^3 Mpc^-3]
    biased: Float[np.ndarray, "mass"]  # the same weighted with b(M)


@lru_cache(maxsize=512)
def halo_numbers(redshift: float, cosmology: Cosmology, model: str) -> HaloNumbers:
    """From 10^10.5. The mass function itself is not interpolated in redshift: some have kinks there, all are fast."""
    density = mass_function(10**MASSES, redshift, cosmology, model=model)
    biased = density * halo_biases(MASSES, redshift, cosmology)
    return HaloNumbers(*(cumulative_trapezoid(y, MASSES, initial=0.0) for y in (density, biased)))


@lru_cache(maxsize=512)
def clustered_volume(space: SearchVolume, limit: float) -> tuple[Values, Values]:
    """Distances from a cluster, and the volume inside each and within a limit of the line of sight, weighted by xi."""
    radius, xi, _ = linear_correlation(space.cosmology)
    growth = float(growth_factor(space.redshift, space.cosmology)) ** 2
    grid = np.append(radius[radius < space.depth], space.depth)
    xi = growth * np.maximum(np.interp(grid, radius, xi), 0)
    # of a shell, the two caps within the limit
    caps = 4 * np.pi * grid**2 * (1 - np.sqrt(1 - np.minimum(limit / grid, 1) ** 2))
    return grid, cumulative_trapezoid(caps * xi, grid, initial=0.0)


@lru_cache(maxsize=512)
def linear_correlation(cosmology: Cosmology) -> tuple[Values, Values, Values]:
    """Distances [h^-1 Mpc], and the linear correlation function today there and averaged over the sphere inside."""
    radius = np.geomspace(0.05, 500, 2401)
    xi = correlation_function(radius, 0.0, cosmology)
    sphere = cumulative_trapezoid(4 * np.pi * radius**2 * xi, radius, initial=0.0)
    inner = 4 / 3 * np.pi * radius[0] ** 3
    return radius, xi, (sphere + inner * xi[0]) / (4 / 3 * np.pi * radius**3)

r"""Number density of a cluster's galaxies in the (r, v) plane, by kernels of adaptive width.

Distances are physical [h^-1 Mpc], velocities [km/s]. Internally, velocities over q x 100 km/s are lengths [h^-1 Mpc].
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from clustermocks.haloes.cosmology import Values

_RADII, _SPEEDS = 40, 64  # cells of the plane
_BEYOND = 1.4  # extent of the plane over the velocity cut: kernels reach beyond the cut
_WIDTHS = np.geomspace(0.4, 1.6, 7)  # trial values of h_c


class PhaseSpaceDensity(NamedTuple):
    """Density of galaxies [h Mpc^-1 (km/s)^-1] on a plane of radius and |v|, normalised over both signs of v.

    `r` holds the mid-points of cells from 0 to the aperture; `v` starts at 0.
    """

    r: Float[np.ndarray, "radius"]
    v: Float[np.ndarray, "speed"]
    density: Float[np.ndarray, "radius speed"]


class _Kernels(NamedTuple):
    """Galaxies in units of length, the width of each kernel, and the aperture."""

    x: Float[np.ndarray, "galaxy"]
    y: Float[np.ndarray, "galaxy"]
    width: Float[np.ndarray, "galaxy"]
    reach: float

    def at(self, x: Values, y: Values) -> tuple[Float[np.ndarray, "x galaxy"], Float[np.ndarray, "y galaxy"]]:
        """Kernels of all galaxies in distance and, unnormalised, in velocity.

        Each galaxy has mirror images: at -x, because a density of distances need not vanish at 0; beyond the aperture,
        which cuts the density off; and at -y.
        """
        along = sum(self._kernel(x, image) for image in (self.x, -self.x, 2 * self.reach - self.x))
        across = self._kernel(y, self.y) + self._kernel(y, -self.y)
        return along / (4 * np.pi * self.width**2), across

    def _kernel(self, at: Values, image: Values) -> Float[np.ndarray, "at galaxy"]:
        return np.exp(-0.5 * ((at[:, None] - image) / self.width) ** 2)


def phase_space_density(
    r: Float[np.ndarray, "galaxy"],
    v_los: Float[np.ndarray, "galaxy"],
    *,
    limits: tuple[float, float],
    q: float,
    adaptive: bool,
) -> PhaseSpaceDensity:
    r"""Estimate the density of galaxies by Gaussian kernels, mirrored in v.

    Adaptive: a galaxy's width is $h_c h_{opt} \lambda_i$, $\lambda_i = (\gamma / f_1(x_i))^{1/2}$ with the pilot f_1 of
    width h_opt and its geometric mean gamma; h_c minimises the cross-validated $\int f^2 - 2 \sum_i f_{-i}(x_i) / N$.

    Args:
        r: Distances [physical h^-1 Mpc].
        v_los: Velocities [km/s].
        limits: Aperture [physical h^-1 Mpc] and velocity cut [km/s].
        q: Relative smoothing: a velocity of q x 100 km/s counts as 1 h^-1 Mpc.
        adaptive: Whether widths vary; otherwise all are h_opt.

    References:
        Diaferio 1999, MNRAS 309, 610, eq. 17 and 18, with kernels (1 - t^2)^3. Gaussian ones of the same variance, as
        in Gifford, Miller & Kern 2013, ApJ 773, 116, are products in r and v: a plane is one product of matrices. h_opt
        is that of Silverman (1986, eq. 4.14) for two dimensions and Gaussian kernels.
    """
    reach, scale = limits[0], 100 * q
    y = v_los / scale
    h_opt = len(r) ** (-1 / 6) * np.sqrt((np.var(r) + np.var(y)) / 2)
    kernels = _Kernels(r, y, np.full(len(r), max(h_opt, 1e-3 * reach)), reach)
    grid_r = reach * (np.arange(_RADII) + 0.5) / _RADII
    grid_y = np.linspace(0, _BEYOND * limits[1] / scale, _SPEEDS)
    if adaptive:
        kernels = _adapted(kernels, grid_r, grid_y)
    return PhaseSpaceDensity(grid_r, grid_y * scale, _density(kernels, grid_r, grid_y) / scale)


def _density(kernels: _Kernels, x: Values, y: Values) -> Float[np.ndarray, "x y"]:
    along, across = kernels.at(x, y)
    return along @ across.T / len(kernels.x)


def _adapted(kernels: _Kernels, grid_r: Values, grid_y: Values) -> _Kernels:
    """Widths that follow the density, times the h_c that minimises the cross-validated error."""
    pilot = _pairs(kernels).mean(axis=1)
    local = kernels._replace(width=kernels.width * np.sqrt(np.exp(np.log(pilot).mean()) / pilot))
    trials = [local._replace(width=h_c * local.width) for h_c in _WIDTHS]
    return min(trials, key=lambda trial: _cross_validation(trial, grid_r, grid_y))


def _cross_validation(kernels: _Kernels, grid_r: Values, grid_y: Values) -> float:
    """Mean square error of the density, M_0, up to a constant."""
    n, pairs = len(kernels.x), _pairs(kernels)
    others = (pairs.sum(axis=1) - np.diagonal(pairs)) / (n - 1)
    square = np.trapezoid(_density(kernels, grid_r, grid_y) ** 2, grid_y, axis=1).sum() * (grid_r[1] - grid_r[0])
    return float(2 * square - 2 * others.mean())


def _pairs(kernels: _Kernels) -> Float[np.ndarray, "galaxy galaxy"]:
    """Kernel of each galaxy (column) at the position of each galaxy (row)."""
    along, across = kernels.at(kernels.x, kernels.y)
    return along * across

"""Sizes of NFW haloes of given mass: virial radius, concentration, where their galaxies are and where they end.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from clustermocks.haloes.cosmology import (
    Cosmology,
    Values,
    concentration,
    halo_bias,
    nfw_mass,
    radius_200c,
    truncation_radius,
    virial_ratio,
    virial_velocity,
)
from clustermocks.haloes.interpolation import between_redshifts


class Haloes(NamedTuple):
    """Haloes, each field (halo,): log10 M200c [dex], r200c and R_vir [h^-1 Mpc], c200c [1], V200 [km/s]."""

    log10_mass: Float[np.ndarray, "halo"]
    r_200c: Float[np.ndarray, "halo"]
    R_vir: Float[np.ndarray, "halo"]
    c_200c: Float[np.ndarray, "halo"]
    v_200: Float[np.ndarray, "halo"]


def draw_haloes(
    log10_mass: Float[np.ndarray, "halo"],
    rng: np.random.Generator,
    *,
    concentration_scatter: float,
    redshift: float,
    cosmology: Cosmology,
) -> Haloes:
    """Sizes and concentrations of haloes of log10 M200c [dex, 10.5 to 16.5].

    Concentrations scatter [dex] about the median of Diemer & Joyce 2019.
    """
    grid, median = table_in_mass(concentration, (10.5, 16.5, 241), redshift, cosmology)
    scatter = np.log(10) * concentration_scatter * rng.standard_normal(len(log10_mass))
    c_200c = np.exp(np.interp(log10_mass, grid, np.log(median)) + scatter)
    mass = 10**log10_mass
    r_200c = radius_200c(mass, redshift, cosmology)
    return Haloes(
        log10_mass=log10_mass,
        r_200c=r_200c,
        R_vir=r_200c * virial_ratio(c_200c, redshift, cosmology),
        c_200c=c_200c,
        v_200=virial_velocity(mass, redshift, cosmology),
    )


@lru_cache(maxsize=1024)
def table_in_mass(
    function: Callable[[Values, float, Cosmology], Values],
    span: tuple[float, float, int],
    redshift: float,
    cosmology: Cosmology,
) -> tuple[Values, Values]:
    """Grid of log10 M200c [dex], from its lowest and highest value and its size, and a function of mass on it.

    The function is interpolated in redshift, to 1e-5.
    """
    return np.linspace(*span), between_redshifts(_in_mass, redshift, function, span, cosmology)


def _in_mass(
    redshift: float,
    function: Callable[[Values, float, Cosmology], Values],
    span: tuple[float, float, int],
    cosmology: Cosmology,
) -> Values:
    return function(10 ** np.linspace(*span), redshift, cosmology)


def halo_biases(log10_mass: ArrayLike, redshift: float, cosmology: Cosmology) -> Values:
    """Linear bias [1] of haloes of log10 M200c [dex, 10.5 to 16.5], `cosmology.halo_bias` interpolated to 2e-5."""
    return np.interp(np.asarray(log10_mass, float), *table_in_mass(halo_bias, (10.5, 16.5, 1201), redshift, cosmology))


def nfw_radii(fraction: ArrayLike, x_max: ArrayLike) -> Values:
    """Radii [scale radii] inside which an NFW profile cut at x_max holds the given fractions; to 1e-5 for x < 400."""
    log_x, log_mass = _nfw_table()
    target = np.asarray(fraction, float) * nfw_mass(x_max)
    return np.exp(np.interp(np.log(np.maximum(target, 1e-12)), log_mass, log_x))


@lru_cache(maxsize=1)
def _nfw_table() -> tuple[Float[np.ndarray, "x"], Float[np.ndarray, "x"]]:
    log_x = np.linspace(np.log(1e-5), np.log(400.0), 4801)
    return log_x, np.log(nfw_mass(np.exp(log_x)))


def truncation_radii(log10_mass: ArrayLike, redshift: float, cosmology: Cosmology) -> Values:
    """r_t / r200c [1] of haloes of log10 M200c [dex, 12 to 16]; interpolated."""
    table = table_in_mass(truncation_radius, (12, 16, 81), redshift, cosmology)
    return np.interp(np.asarray(log10_mass, float), *table)

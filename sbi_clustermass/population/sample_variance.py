"""Sample variance: how much the mean density inside the shells of a survey differs from that of the universe.

Lengths are comoving [h^-1 Mpc].
"""

from collections.abc import Iterator
from functools import lru_cache
from math import pi
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.fft import fht

from clustermocks.haloes.cosmology import Cosmology, growth_factor, power_spectrum

_NODES = 48  # of the angle of a point from the axis of its cap, and at least of a distance in a shell
_SPACING = 10.0  # of these distances [h^-1 Mpc]: the correlation function is smooth on it
_ANGLES = 192  # of the angle between two points, denser where it is small
_SEPARATIONS = np.geomspace(1e-3, 1e5, 4096)  # [h^-1 Mpc]
_SMOOTHING = 0.5  # Gaussian smoothing of the density, much less than a shell [h^-1 Mpc]


class Cap(NamedTuple):
    """Shell between two distances inside a circle on the sky."""

    low: float
    high: float
    area: float
    redshift: float


def density_covariance(shells: tuple[Cap, ...], cosmology: Cosmology) -> Float[np.ndarray, "shell shell"]:
    r"""Covariance of the linear density contrasts of shells, each averaged over its volume.

    $$\sigma_{st} = \frac{1}{V_s V_t} \int_{V_s} \int_{V_t} \xi(|x - y|)\,D_s D_t$$

    with the linear correlation function of today and growth factors at the shells' redshifts. The area is taken as one
    circle. Shells that follow each other in redshift with the same area share it; all others are independent.

    Args:
        shells: Distances [h^-1 Mpc], solid angles [sr] and redshifts.
        cosmology: Cosmology of the power spectrum.

    References:
        Hu & Kravtsov 2003, ApJ 584, 702, eq. 5.
    """
    covariance = np.zeros((len(shells), len(shells)))
    growth = growth_factor(np.array([shell.redshift for shell in shells]), cosmology)
    for first, last in _patches(shells):
        separation, share = _separations(shells[first].area)
        for s in range(first, last):
            for t in range(first, s + 1):
                covariance[s, t] = covariance[t, s] = (
                    growth[s] * growth[t] * _mean_correlation(shells[s], shells[t], separation, share, cosmology)
                )
    return covariance


def _patches(shells: tuple[Cap, ...]) -> Iterator[tuple[int, int]]:
    """First and last number, plus one, of shells that lie one behind the other."""
    first = 0
    for i in range(1, len(shells) + 1):
        ends = i == len(shells) or shells[i].area != shells[i - 1].area or shells[i].low < shells[i - 1].high
        if ends:
            yield first, i
            first = i


def _separations(area: float) -> tuple[Float[np.ndarray, "angle"], Float[np.ndarray, "angle"]]:
    """Angles between two random points of a circle on the sky [rad], and the shares of pairs that have them."""
    cap = np.arccos(1 - area / (2 * pi))
    u, weight = _gauss(_ANGLES, 0.0, 1.0)
    angle, weight = min(2 * cap, pi) * u**3, min(2 * cap, pi) * 3 * u**2 * weight
    from_axis, axis_weight = _gauss(_NODES, 0.0, cap)
    cosine = (np.cos(cap) - np.cos(from_axis) * np.cos(angle)[:, None]) / (np.sin(from_axis) * np.sin(angle)[:, None])
    inside = np.arccos(np.clip(cosine, -1, 1)) / pi  # share of the circle about a point that lies in the cap
    share = weight * np.sin(angle) * (inside * np.sin(from_axis) * axis_weight).sum(-1)
    return angle, share / share.sum()


def _mean_correlation(
    one: Cap, other: Cap, angle: Float[np.ndarray, "angle"], share: Float[np.ndarray, "angle"], cosmology: Cosmology
) -> float:
    """Linear correlation function of today, averaged over pairs of points, one in each shell."""
    (r, r_weight), (s, s_weight) = (_radii(shell) for shell in (one, other))
    apart = 4 * r[:, None, None] * s[:, None] * np.sin(angle / 2) ** 2  # precise where points are close
    distance = np.sqrt((r[:, None, None] - s[:, None]) ** 2 + apart)
    separation, correlation = _correlation(cosmology)
    found = np.interp(np.log(np.maximum(distance, separation[0])), np.log(separation), correlation)
    return float(np.einsum("rsa,r,s,a->", found, r_weight, s_weight, share))


def _radii(shell: Cap) -> tuple[Float[np.ndarray, "node"], Float[np.ndarray, "node"]]:
    """Distances in a shell [h^-1 Mpc], and shares of its volume."""
    r, weight = _gauss(max(_NODES, round((shell.high - shell.low) / _SPACING)), shell.low, shell.high)
    return r, weight * r**2 / (weight * r**2).sum()


@lru_cache(maxsize=4)
def _correlation(cosmology: Cosmology) -> tuple[Float[np.ndarray, "separation"], Float[np.ndarray, "separation"]]:
    """Linear correlation function of today, by a Hankel transform of the power spectrum."""
    wavenumber = np.geomspace(1 / _SEPARATIONS[-1], 1 / _SEPARATIONS[0], _SEPARATIONS.size)
    smooth = np.exp(-((wavenumber * _SMOOTHING) ** 2))
    inside = np.clip(wavenumber, 1e-4, 50.0)  # beyond it goes on as k, and is smoothed away
    power = power_spectrum(inside, 0.0, cosmology) * np.minimum(wavenumber / 1e-4, 1.0) * smooth
    step = np.log(wavenumber[1] / wavenumber[0])
    transformed = np.asarray(fht(wavenumber**1.5 * power, step, mu=0.5))
    return _SEPARATIONS, transformed / (2 * pi * _SEPARATIONS) ** 1.5


def _gauss(nodes: int, low: float, high: float) -> tuple[Float[np.ndarray, "node"], Float[np.ndarray, "node"]]:
    x, weight = np.polynomial.legendre.leggauss(nodes)
    return low + 0.5 * (high - low) * (x + 1), 0.5 * (high - low) * weight

"""Distributions from which cluster masses are drawn: log10 M200c [dex of h^-1 Msun]."""

from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.integrate import cumulative_simpson

from clustermocks.haloes.cosmology import MDPL2, Cosmology, Values, mass_function


def _check(name: str, low: float, high: float) -> None:
    if not 10 <= low < high <= 17:
        raise ValueError(
            f"{name}: low and high are log10 of M200c [h^-1 Msun] with 10 <= low < high <= 17, "
            f"found low={low!r}, high={high!r}."
        )


def _check_n(name: str, n: int) -> None:
    if n < 0 or n != int(n):
        raise ValueError(f"{name}.draw: n must be a whole number >= 0, found {n!r}.")


@final
@dataclass(frozen=True)
class FlatMasses:
    """Masses flat in log10 M200c.

    Attributes:
        low: Lower edge [dex of h^-1 Msun].
        high: Upper edge [dex of h^-1 Msun].
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check("FlatMasses", self.low, self.high)

    def draw(self, n: int, seed: int | np.random.SeedSequence) -> Float[np.ndarray, "cluster"]:
        """Draw n values of log10_mass [dex]."""
        _check_n("FlatMasses", n)
        return np.random.default_rng(seed).uniform(self.low, self.high, n)


@final
@dataclass(frozen=True)
class PowerLawMasses:
    """Masses whose number per dex is a power of the mass: to train posteriors for a population fit.

    Real clusters get rarer with mass, and most of a survey's are near its threshold. A flat training set has few of
    those, and an error of their posteriors that is small for one cluster shifts the fit of thousands. A set that falls
    half as steeply as nature does has many of them, and enough massive ones; its prior is divided out exactly.

    Attributes:
        low: Lower edge [dex of h^-1 Msun].
        high: Upper edge [dex of h^-1 Msun].
        slope: d log10(number per dex) / d log10 M [1]; 0 is flat, the mass function has -1 to -3.
    """

    low: float
    high: float
    slope: float = -0.8

    def __post_init__(self) -> None:
        _check("PowerLawMasses", self.low, self.high)
        if not abs(self.slope) <= 10:
            raise ValueError(f"PowerLawMasses: slope must lie between -10 and 10, found {self.slope!r}.")

    def draw(self, n: int, seed: int | np.random.SeedSequence) -> Float[np.ndarray, "cluster"]:
        """Draw n values of log10_mass [dex] by inverting the cumulative distribution."""
        _check_n("PowerLawMasses", n)
        u, rate = np.random.default_rng(seed).random(n), self.slope * np.log(10)
        width = self.high - self.low
        return self.low + (np.log1p(u * np.expm1(rate * width)) / rate if self.slope else u * width)


@final
@dataclass(frozen=True)
class HaloMassFunction:
    """Masses drawn from the halo mass function between two limits (fit and its range: cosmology.mass_function).

    Attributes:
        model: Name of the fit: tinker08, despali16, bocquet16, ...
        low: Lower limit of log10 M200c [dex of h^-1 Msun].
        high: Upper limit [dex of h^-1 Msun].
        redshift: Redshift of the haloes [1].
        cosmology: Background and power spectrum.
    """

    model: str = "tinker08"
    low: float = 12.5
    high: float = 15.6
    redshift: float = 0.117
    cosmology: Cosmology = MDPL2

    def __post_init__(self) -> None:
        _check("HaloMassFunction", self.low, self.high)

    def density(self, log10_mass: ArrayLike) -> Values:
        """dn/dlog10M [h^3 Mpc^-3 dex^-1] at log10_mass [dex]; 0 outside the limits."""
        log10_mass = np.asarray(log10_mass, float)
        inside = (log10_mass >= self.low) & (log10_mass <= self.high)
        clipped = np.clip(log10_mass, self.low, self.high)
        return np.where(inside, mass_function(10**clipped, self.redshift, self.cosmology, model=self.model), 0.0)

    def number_density(self) -> float:
        """Number of haloes between the limits [h^3 Mpc^-3]."""
        return float(_cumulative(self)[1][-1])

    def draw(self, n: int, seed: int | np.random.SeedSequence) -> Float[np.ndarray, "cluster"]:
        """Draw n values of log10_mass [dex] by inverting the cumulative mass function."""
        _check_n("HaloMassFunction", n)
        grid, cumulative = _cumulative(self)
        return np.interp(np.random.default_rng(seed).uniform(0, cumulative[-1], n), cumulative, grid)


@lru_cache(maxsize=16)
def _cumulative(masses: HaloMassFunction) -> tuple[Float[np.ndarray, "mass"], Float[np.ndarray, "mass"]]:
    """Grid of log10_mass and the number density below it [h^3 Mpc^-3]."""
    grid = np.linspace(masses.low, masses.high, max(201, 2 * round(500 * (masses.high - masses.low)) + 1))
    return grid, cumulative_simpson(masses.density(grid), x=grid, initial=0.0)


def flatten(
    log10_mass: Float[np.ndarray, "cluster"], seed: int, *, low: float, high: float, width: float = 0.1
) -> Int[np.ndarray, "kept"]:
    """Choose clusters, as many in every bin of mass as in the emptiest: a set flat after selection.

    A catalogue keeps its attempts when it is so thinned (`catalogue.select(flatten(...))`), from which the effective
    prior of a training set is measured. Train on it with `train(..., support=(low, high))`: the attempts may go
    further, where the prior would have to fall to nothing.

    Args:
        log10_mass: Masses of the clusters that passed the cuts [dex].
        seed: Seed of the choice.
        low: Lower end of the range [dex].
        high: Upper end [dex].
        width: Width of a bin, adjusted to divide the range [dex].

    Returns:
        Indices, rising.

    Raises:
        ValueError: The range is empty, or a bin holds no cluster.
    """
    if not (low < high and width > 0):
        raise ValueError(f"flatten: needs low < high and width > 0, found {low!r}, {high!r} and {width!r}.")
    edges = np.linspace(low, high, max(1, round((high - low) / width)) + 1)
    log10_mass = np.asarray(log10_mass, float)
    number = np.histogram(log10_mass, edges)[0]
    if not number.min():
        empty = int(number.argmin())
        raise ValueError(f"flatten: no cluster between {edges[empty]:.2f} and {edges[empty + 1]:.2f}; draw more.")
    shuffled = np.random.default_rng(seed).permutation(len(log10_mass))
    bins = np.searchsorted(edges, log10_mass[shuffled], side="right") - 1
    kept = [shuffled[bins == each][: number.min()] for each in range(len(number))]
    return np.sort(np.concatenate(kept))

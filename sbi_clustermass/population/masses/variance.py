"""Tables of the variance of the density that collapses to haloes, differentiable in the cosmology.

Masses are log10_mass [dex], in h^-1 Msun; `log_` is natural.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from torch import Tensor

from clustermocks import Cosmology
from clustermocks.haloes.cosmology import CRITICAL_DENSITY, growth_factor, mass_variance, tophat_variance
from clustermocks.io.extras import naming_extras
from sbi_clustermass.population.chebyshev import Chebyshev, Interval
from sbi_clustermass.population.expansion import equation_of_state
from sbi_clustermass.population.parameters import Parameters

NEUTRINO_DENSITY = 93.04  # sum of the masses over their density in units of the critical one and h^-2 [eV]
_GROWTH_NODES = 24, 10  # values of Om0, and of w
_EISENSTEIN_HU_NODES = 24, 0  # values of Om0
_CAMB_NODES = 14, 6  # values of Om0, and of the sum of neutrino masses: spectra take a second each
_REDSHIFTS = np.linspace(0, 2, 17)  # of CAMB's spectra, between which splines interpolate
_WAVENUMBERS = np.geomspace(1e-4, 20, 2000)  # [h Mpc^-1]


class Ranges(NamedTuple):
    """Ranges of the parameters of a table.

    Attributes:
        Om0: Matter density today [1].
        w: Equation of state of dark energy [1]; None for -1.
        m_nu: Sum of neutrino masses [eV]; None for 0.
    """

    Om0: Interval
    w: Interval | None
    m_nu: Interval | None


@final
@dataclass(frozen=True)
class VarianceTable:
    """Variance in spheres of mass M, as a function of Om0, and of w and the sum of neutrino masses if they are free.

    Attributes:
        unit: Log of sigma(M) / sigma8, (mass,), or at each redshift, (shell * mass,); of Om0 and `m_nu`.
        slope: Log of -d ln sigma / d ln M, likewise.
        growth: Log of the growth factor at each redshift, or of its ratio to that of w = -1; of Om0 and `w`.
        shells: Number of redshifts of `unit` and `slope`.
    """

    unit: Chebyshev
    slope: Chebyshev
    growth: Chebyshev
    shells: int

    def __call__(
        self, parameters: Parameters
    ) -> tuple[Float[Tensor, "*draw shell mass"], Float[Tensor, "*draw #shell mass"]]:
        """Natural logs of sigma(M) at each redshift over sigma8, and of -d ln sigma / d ln M."""
        at = [parameters[name] for name in ("Om0", "m_nu")[: len(self.unit.box)]]
        unit, slope = (part(*at).unflatten(-1, (self.shells, -1)) for part in (self.unit, self.slope))
        growth = self.growth(*(parameters["Om0"], equation_of_state(parameters))[: len(self.growth.box)])
        return unit + growth[..., None], slope


@lru_cache(maxsize=8)
def variance_table(
    cosmology: Cosmology,
    log10_mass: tuple[float, ...],
    redshift: tuple[float, ...],
    ranges: Ranges,
    *,
    camb: bool,
) -> VarianceTable:
    """Tabulate the variance over the priors' ranges.

    Args:
        cosmology: Cosmology whose h, ns and Ob0 are held fixed.
        log10_mass: Masses [dex].
        redshift: Redshifts [1].
        ranges: Ranges of the parameters.
        camb: Whether the power spectrum is CAMB's, rather than that of Eisenstein & Hu 1998.
    """
    mass, z = 10 ** np.array(log10_mass), np.array(redshift)

    def variance(matter: float, neutrinos: float = 0.0) -> Float[np.ndarray, "value"]:
        there = replace(cosmology, Om0=matter)
        if camb:
            sigma, slope = _camb_variance(mass, z, there, neutrinos)
            return np.concatenate([np.log(sigma).ravel(), np.log(-slope).ravel()])
        sigma, slope = mass_variance(mass, there)
        return np.concatenate([np.log(sigma / there.sigma8), np.log(-slope)])

    def growth(matter: float, dark_energy: float = -1.0) -> Float[np.ndarray, "shell"]:
        there = replace(cosmology, Om0=matter)
        known = growth_factor(z, there) if camb else 1.0
        return np.log(growth_factor(z, there, w=dark_energy) / known)

    shells = len(z) if camb else 1
    nodes = _CAMB_NODES if camb else _EISENSTEIN_HU_NODES
    spectra = Chebyshev.from_function(variance, *_box(ranges.Om0, ranges.m_nu, nodes))
    unit, slope = spectra.split((shells * mass.size,) * 2)
    return VarianceTable(
        unit, slope, Chebyshev.from_function(growth, *_box(ranges.Om0, ranges.w, _GROWTH_NODES)), shells
    )


def _box(Om0: Interval, other: Interval | None, nodes: tuple[int, int]) -> tuple[tuple[Interval, ...], tuple[int, ...]]:
    return ((Om0,), nodes[:1]) if other is None else ((Om0, other), nodes)


def _camb_variance(
    mass: Float[np.ndarray, "mass"], redshift: Float[np.ndarray, "shell"], cosmology: Cosmology, m_nu: float
) -> tuple[Float[np.ndarray, "shell mass"], Float[np.ndarray, "shell mass"]]:
    """Rms contrast of cold dark matter and baryons over sigma8 of all matter, and d ln sigma / d ln M."""
    clustering, eight = _camb_power(cosmology, m_nu)
    density = CRITICAL_DENSITY * (cosmology.Om0 - m_nu / NEUTRINO_DENSITY / cosmology.h**2)
    radius = np.cbrt(3 * mass / (4 * np.pi * density))
    found = [tophat_variance(radius, _WAVENUMBERS, power) for power in clustering]
    log_variance, slope = (CubicSpline(_REDSHIFTS, part)(redshift) for part in zip(*found, strict=True))
    return np.sqrt(log_variance / eight), slope / 6


@naming_extras()
@lru_cache(maxsize=512)
def _camb_power(cosmology: Cosmology, m_nu: float) -> tuple[Float[np.ndarray, "redshift wavenumber"], float]:
    """k^3 P(k) of cold dark matter and baryons at `_REDSHIFTS`, and the variance of all matter in 8 h^-1 Mpc today."""
    import camb

    h, neutrinos = cosmology.h, m_nu / NEUTRINO_DENSITY
    settings = camb.CAMBparams(WantCls=False, NonLinear=camb.model.NonLinear_none)
    settings.set_cosmology(
        H0=100 * h,
        ombh2=cosmology.Ob0 * h**2,
        omch2=(cosmology.Om0 - cosmology.Ob0) * h**2 - neutrinos,
        mnu=m_nu,
        num_massive_neutrinos=3 if m_nu else 0,
        neutrino_hierarchy="degenerate",
    )
    settings.InitPower.set_params(ns=cosmology.ns)
    settings.set_matter_power(redshifts=_REDSHIFTS[::-1], kmax=1.1 * _WAVENUMBERS[-1] * h, silent=True)
    results = camb.get_results(settings)

    def power(kind: str) -> Float[np.ndarray, "redshift wavenumber"]:
        ends = {"minkh": _WAVENUMBERS[0], "maxkh": _WAVENUMBERS[-1], "npoints": len(_WAVENUMBERS)}
        return results.get_matter_power_spectrum(**ends, var1=kind, var2=kind)[2] * _WAVENUMBERS**3

    eight, _ = tophat_variance(np.array(8.0), _WAVENUMBERS, power("delta_tot")[0])
    return power("delta_nonu"), float(eight)

"""Mass function of a cosmology, differentiable in Om and sigma8.

Masses are M200c or M500c [h^-1 Msun] as log10_mass [dex]; densities are comoving [h^3 Mpc^-3], per dex.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clustermocks import Cosmology
from clustermocks.haloes.cosmology import CRITICAL_DENSITY, MDPL2, growth_factor, mass_variance
from sbi_clustermass.population.chebyshev import Chebyshev
from sbi_clustermass.population.masses.tinker import log_tinker08
from sbi_clustermass.population.parameters import Parameters, Priors, Unconstrained, uniform

_LN10 = math.log(10)
_NODES = 24


@final
@dataclass(frozen=True)
class CosmologyMassFunction:
    """Mass function of Tinker et al. 2008 in flat LCDM, as a function of Om and sigma8.

    The variance sigma(M) and the growth factor of colossus are tabulated at 24 values of Om over the prior's range and
    interpolated by Chebyshev polynomials, with an error of 2e-5 in the mass function; sigma8 scales sigma(M).

    The parameters of the fit follow splines in log overdensity, as published, so that the mass function has no kinks
    in Om. Where the overdensity is tabulated, CCL agrees within 0.2 % from 10^13 to 10^15.5 h^-1 Msun, and colossus
    within 0.4 % up to 10^15. In between both interpolate linearly: for Om of 0.2 to 0.4 and redshifts of 0.05 to 0.8
    CCL differs by up to 1.5 % and colossus, of which the simulators draw, by up to 4 % (2.6 and 5 % at 10^15.5), with
    medians of 0.3 and 0.8 %. Tinker et al. claim 5 %.

    How the cosmology of the training mocks affects each cluster's posterior is not modelled.

    Attributes:
        Om0: Flat prior of the matter density today [1], (low, high).
        sigma8: Flat prior of sigma8 [1], (low, high).
        overdensity: Overdensity that defines the masses, over the critical density: 200 or 500, for example.
        cosmology: Cosmology whose h, ns and Ob0 are held fixed.

    References:
        Tinker et al. 2008, ApJ 688, 709, eq. 2: 10^11 to 10^15.5 h^-1 Msun, z < 2, 5 % at z = 0.

    Raises:
        ValueError: A prior does not increase, is not positive, or allows less matter than baryons.
    """

    name: ClassVar[str] = "cosmology"
    counts: ClassVar[bool] = True

    Om0: tuple[float, float] = (0.1, 0.6)
    sigma8: tuple[float, float] = (0.5, 1.2)
    overdensity: float = 200.0
    cosmology: Cosmology = MDPL2

    def __post_init__(self) -> None:
        if not (self.cosmology.Ob0 < self.Om0[0] and self.Om0[1] < 1 and self.sigma8[0] > 0 and self.overdensity > 0):
            raise ValueError(
                f"CosmologyMassFunction: needs Ob0 = {self.cosmology.Ob0} < Om0 < 1, sigma8 > 0 and overdensity > 0; "
                f"found Om0 {self.Om0}, sigma8 {self.sigma8}, overdensity {self.overdensity}."
            )
        _ = self.priors  # raises for invalid priors

    @property
    def evolves(self) -> bool:
        """It does: variance and overdensity depend on redshift."""
        return True

    @property
    def priors(self) -> Priors:
        """Priors of `Om0` and `sigma8`."""
        return {name: uniform(type(self).__name__, name, getattr(self, name)) for name in ("Om0", "sigma8")}

    @property
    def coordinates(self) -> Unconstrained:
        """Coordinates of both, in which their priors are normal."""
        return Unconstrained(self.priors)

    def log_density(
        self, log10_mass: Float[Tensor, "mass"], parameters: Parameters, redshift: Float[Tensor, "shell"]
    ) -> Float[Tensor, "*draw shell mass"]:
        """Natural log of dn/dlog10M [h^3 Mpc^-3 dex^-1] at each redshift."""
        Om0, sigma8 = (parameters[name][..., None, None] for name in ("Om0", "sigma8"))
        table = _table(self.Om0, self.cosmology, tuple(log10_mass.tolist()), tuple(redshift.tolist()))
        log_unit, log_slope, log_growth = (part.to(log10_mass.device)(parameters["Om0"]) for part in table)
        sigma = sigma8 * torch.exp(log_unit[..., None, :] + log_growth[..., :, None])
        z = redshift[:, None]
        matter = Om0 * (1 + z) ** 3
        log_multiplicity = log_tinker08(sigma, z, self.overdensity * (matter + 1 - Om0) / matter)
        log_number = torch.log(_LN10 * CRITICAL_DENSITY * Om0) - _LN10 * log10_mass  # if all matter were in haloes of M
        return log_multiplicity + log_number + log_slope[..., None, :]

    def derived(self, parameters: Parameters) -> dict[str, Float[Tensor, "*draw"]]:
        """`S8` = sigma8 (Om / .3)^.5 [1]."""
        return {"S8": parameters["sigma8"] * (parameters["Om0"] / 0.3).sqrt()}


@lru_cache(maxsize=8)
def _table(
    Om0: tuple[float, float], cosmology: Cosmology, log10_mass: tuple[float, ...], redshift: tuple[float, ...]
) -> tuple[Chebyshev, Chebyshev, Chebyshev]:
    """Logs of sigma(M) / sigma8, of -d ln sigma / d ln M, and of the growth factor, as functions of Om."""
    mass = 10 ** np.array(log10_mass)

    def row(matter: float) -> Float[np.ndarray, "value"]:
        cosmo = Cosmology(matter, cosmology.h, cosmology.sigma8, cosmology.ns, cosmology.Ob0)
        sigma, slope = mass_variance(mass, cosmo)
        growth = growth_factor(np.array(redshift), cosmo)
        return np.concatenate([np.log(sigma / cosmo.sigma8), np.log(-slope), np.log(growth)])

    log_unit, log_slope, log_growth = Chebyshev.from_function(row, Om0, nodes=_NODES).split(
        (mass.size,) * 2 + (len(redshift),)
    )
    return log_unit, log_slope, log_growth

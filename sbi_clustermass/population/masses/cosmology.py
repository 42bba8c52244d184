"""Mass function of a cosmology, differentiable in Om and sigma8.

Masses are M200c or M500c [h^-1 Msun] as log10_mass [dex]; densities are comoving [h^3 Mpc^-3], per dex.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from clustermocks import Cosmology
from clustermocks.haloes.cosmology import CRITICAL_DENSITY, MDPL2
from sbi_clustermass.population.expansion import equation_of_state, squared_rate
from sbi_clustermass.population.masses.tinker import log_tinker08
from sbi_clustermass.population.masses.variance import NEUTRINO_DENSITY, Ranges, variance_table
from sbi_clustermass.population.parameters import Parameters, Priors, Unconstrained, uniform

_LN10 = math.log(10)
TRANSFERS = ("eisenstein_hu", "camb")


@final
@dataclass(frozen=True)
class CosmologyMassFunction:
    """Mass function of Tinker et al. 2008 in a flat universe, as a function of Om, sigma8, and perhaps w and m_nu.

    The variance sigma(M) and the growth factor of colossus are tabulated at 24 values of Om over the prior's range (and
    10 of w) and interpolated by Chebyshev polynomials, with an error of 2e-5 in the mass function; sigma8 scales
    sigma(M).

    With massive neutrinos the haloes consist of cold dark matter and baryons: their power spectrum and their mean
    density take the place of those of all matter (Costanzi et al. 2013, Castorina et al. 2014). Om0 and sigma8 are
    still those of all matter. The spectra are CAMB's (14 values of Om times 6 of m_nu, three neutrinos of equal mass,
    redshifts up to 2), which take two minutes once in a process. For m_nu up to 0.6 eV interpolation leaves 0.1 % in
    the mass function up to 10^15 and redshift 0.8 (0.2 % at exactly 0 eV), and 0.3 % (1 %) at redshift 1.5 and 10^15.5.

    It is the mass function of which `clustermocks.HaloMassFunction` draws. The parameters of the fit follow splines in
    log overdensity, as published, so that it has no kinks in Om. Where the overdensity is tabulated, CCL agrees within
    0.2 % from 10^13 to 10^15.5 h^-1 Msun, and colossus within 0.4 % up to 10^15. In between both interpolate linearly:
    for Om of 0.2 to 0.4 and redshifts of 0.05 to 0.8 CCL differs by up to 1.5 % and colossus by up to 4 % (2.6 and 5 %
    at 10^15.5), with medians of 0.3 and 0.8 %. Tinker et al. claim 5 %.

    The cosmology of the training mocks affects each cluster's posterior, which is not modelled here:
    `fit_self_consistently` takes it into account.

    Attributes:
        Om0: Flat prior of the matter density today [1], (low, high).
        sigma8: Flat prior of sigma8 of all matter [1], (low, high).
        w: Flat prior of the equation of state of dark energy [1], (low, high); None for -1.
        m_nu: Flat prior of the sum of neutrino masses [eV], (low, high); None for 0. It needs CAMB's transfer function.
        transfer: Transfer function: eisenstein_hu, or camb if that package is installed.
        overdensity: Overdensity that defines the masses, over the critical density: 200 or 500, for example.
        cosmology: Cosmology whose h, ns and Ob0 are held fixed.

    References:
        Tinker et al. 2008, ApJ 688, 709, eq. 2: 10^11 to 10^15.5 h^-1 Msun, z < 2, 5 % at z = 0;
        Costanzi et al. 2013, JCAP 12, 012; Castorina et al. 2014, JCAP 02, 049.

    Raises:
        ValueError: A prior does not increase, or allows what is no such cosmology; or the transfer function is unknown.
    """

    name: ClassVar[str] = "cosmology"
    counts: ClassVar[bool] = True

    Om0: tuple[float, float] = (0.1, 0.6)
    sigma8: tuple[float, float] = (0.5, 1.2)
    w: tuple[float, float] | None = None
    m_nu: tuple[float, float] | None = None
    transfer: str = "eisenstein_hu"
    overdensity: float = 200.0
    cosmology: Cosmology = MDPL2

    def __post_init__(self) -> None:
        _ = self.priors  # raises for invalid priors
        (lowest, highest), heaviest = self.Om0, 0.0 if self.m_nu is None else self.m_nu[1]
        least = self.cosmology.Ob0 + heaviest / (NEUTRINO_DENSITY * self.cosmology.h**2)
        if not (least < lowest and highest < 1 and self.sigma8[0] > 0 and self.overdensity > 0):
            raise ValueError(
                f"CosmologyMassFunction: needs Om0 over {least:.3f} (baryons, neutrinos) and below 1, sigma8 > 0 and "
                f"overdensity > 0; found Om0 {self.Om0}, sigma8 {self.sigma8}, overdensity {self.overdensity}."
            )
        if (self.w is not None and not self.w[1] < 0) or (self.m_nu is not None and not self.m_nu[0] >= 0):
            raise ValueError(f"CosmologyMassFunction: needs w < 0 and m_nu >= 0, found w {self.w}, m_nu {self.m_nu}.")
        if self.transfer not in TRANSFERS or (self.m_nu is not None and self.transfer != "camb"):
            raise ValueError(
                f"CosmologyMassFunction: transfer must be one of {', '.join(TRANSFERS)}, and camb with massive "
                f"neutrinos; found {self.transfer!r} and m_nu {self.m_nu}."
            )

    @property
    def evolves(self) -> bool:
        """It does: variance and overdensity depend on redshift."""
        return True

    @property
    def priors(self) -> Priors:
        """Priors of `Om0` and `sigma8`, and of `w` and `m_nu` if they are free."""
        given = {name: getattr(self, name) for name in ("Om0", "sigma8", "w", "m_nu")}
        return {name: uniform(type(self).__name__, name, prior) for name, prior in given.items() if prior is not None}

    @property
    def coordinates(self) -> Unconstrained:
        """Coordinates of all, in which their priors are normal."""
        return Unconstrained(self.priors)

    def log_density(
        self, log10_mass: Float[Tensor, "mass"], parameters: Parameters, redshift: Float[Tensor, "shell"]
    ) -> Float[Tensor, "*draw shell mass"]:
        """Natural log of dn/dlog10M [h^3 Mpc^-3 dex^-1] at each redshift."""
        table = variance_table(
            self.cosmology,
            tuple(log10_mass.tolist()),
            tuple(redshift.tolist()),
            Ranges(self.Om0, self.w, self.m_nu),
            camb=self.transfer == "camb",
        )
        log_unit, log_slope = table(parameters)
        Om0, sigma8 = (parameters[name][..., None, None] for name in ("Om0", "sigma8"))
        sigma, z = sigma8 * torch.exp(log_unit), redshift[:, None]
        rate = squared_rate(z, Om0, equation_of_state(parameters)[..., None, None])
        haloes = Om0 - self._neutrinos(parameters)  # density of what collapses to haloes
        log_multiplicity = log_tinker08(sigma, z, self.overdensity * rate / (haloes * (1 + z) ** 3))
        log_number = (
            torch.log(_LN10 * CRITICAL_DENSITY * haloes) - _LN10 * log10_mass
        )  # if all of it were in haloes of M
        return log_multiplicity + log_number + log_slope

    def _neutrinos(self, parameters: Parameters) -> Float[Tensor, "*draw 1 1"] | float:
        """Density of neutrinos today [1]."""
        if self.m_nu is None:
            return 0.0
        return parameters["m_nu"][..., None, None] / (NEUTRINO_DENSITY * self.cosmology.h**2)

    def derived(self, parameters: Parameters) -> dict[str, Float[Tensor, "*draw"]]:
        """`S8` = sigma8 (Om / .3)^.5 [1]."""
        return {"S8": parameters["sigma8"] * (parameters["Om0"] / 0.3).sqrt()}

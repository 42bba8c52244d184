"""The mass function as two power laws."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.population.parameters import Parameters, Priors, Separate, normal

_LN10 = math.log(10)
_NAMES = ("log10_m_star", "low_slope", "high_slope", "log10_density")


@final
@dataclass(frozen=True)
class DoublePowerLaw:
    r"""Mass function of two power laws that meet at M*.

    $$dn/d\log_{10} M \propto [(M/M_*)^{-a} + (M/M_*)^{-b}]^{-1},$$

    with slopes a below and b above M*, normalised to $10^{\mathtt{log10\_density}}$ at the pivot. Its tail is heavier
    than that of any cold dark matter cosmology: a check of how much a result owes to the exponential cut-off of
    `MassFunction`. Priors are (centre, width) of normal ones; their centres follow Tinker et al. 2008 in MDPL2 at
    redshift 0.117 within 0.06 dex over 13.3 < log10_mass < 15.2.

    Attributes:
        pivot: Log10 mass at which amplitude and slope are defined [dex].
        log10_m_star: Of log10 M* [dex].
        low_slope: Of a, d log10(dn/dlog10M) / d log10 M far below M* [1].
        high_slope: Of b, the same far above M* [1].
        log10_density: Of log10 dn/dlog10M at the pivot [log10 h^3 Mpc^-3 dex^-1].
    """

    name: ClassVar[str] = "double_power_law"
    counts: ClassVar[bool] = True

    pivot: float = 14.3
    log10_m_star: tuple[float, float] = (14.64, 0.4)
    low_slope: tuple[float, float] = (-1.3, 0.4)
    high_slope: tuple[float, float] = (-3.64, 1.0)
    log10_density: tuple[float, float] = (-4.655, 1.0)

    def __post_init__(self) -> None:
        _ = self.priors  # refuses what is no prior

    @property
    def priors(self) -> Priors:
        """Of `log10_m_star`, `low_slope`, `high_slope` and `log10_density`."""
        return {name: normal(type(self).__name__, name, getattr(self, name)) for name in _NAMES}

    @property
    def coordinates(self) -> Separate:
        """The parameters themselves."""
        return Separate(self.priors)

    def log_density(
        self, log10_mass: Float[Tensor, "mass"], parameters: Parameters, redshift: Float[Tensor, "shell"]
    ) -> Float[Tensor, "*draw 1 mass"]:
        """Natural log of dn/dlog10M [h^3 Mpc^-3 dex^-1]; it does not evolve."""
        wide = {name: parameters[name][..., None, None] for name in _NAMES}
        at_pivot = self._log_shape(torch.as_tensor(self.pivot, dtype=log10_mass.dtype), wide)
        return _LN10 * wide["log10_density"] + self._log_shape(log10_mass, wide) - at_pivot

    def derived(self, parameters: Parameters) -> dict[str, Float[Tensor, "*draw"]]:
        """`slope` at the pivot, d log10(dn/dlog10M) / d log10 M [1]: the mean of both, weighted by their terms."""
        low, high = parameters["low_slope"], parameters["high_slope"]
        distance = _LN10 * (self.pivot - parameters["log10_m_star"])
        share = torch.sigmoid((low - high) * distance)  # of the high-mass term
        return {"slope": low + (high - low) * share}

    @staticmethod
    def _log_shape(log10_mass: Tensor, parameters: Parameters) -> Tensor:
        distance = _LN10 * (log10_mass - parameters["log10_m_star"])
        return -torch.logaddexp(-parameters["low_slope"] * distance, -parameters["high_slope"] * distance)

"""The halo mass function as a Pyro model, and its band in a finished fit.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; densities are comoving [h^3 Mpc^-3], per dex; `log_` is natural.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from arviz import InferenceData

_LN10 = math.log(10)


@final
@dataclass(frozen=True)
class MassFunction:
    r"""Murray-Robotham-Power mass function: a power law with a stretched-exponential cut-off.

    $$dn/d\log_{10} M \propto (M/M_*)^{\alpha+1} \exp[-(M/M_*)^\beta],$$

    normalised to $10^{\mathtt{log10\_density}}$ at the pivot: there a cluster survey measures its amplitude best, and
    its error is hardly correlated with those of the shape. (Murray et al. write the factor as $\ln 10\,A\,\beta$
    instead.) Priors are (centre, width): weak, so that they only exclude what no cold dark matter cosmology makes.

    With its four parameters at their centres it follows the mass function of Tinker et al. 2008 at redshift 0.117 in
    MDPL2 within 0.01 dex over 12.5 < log10_mass < 15.4. The shape's three parameters are strongly correlated: read
    `slope`.

    Attributes:
        pivot: Log10 mass at which amplitude and slope are defined [dex].
        log10_m_star: Normal prior of log10 M* [dex]; as wide as the error of Driver et al. 2022 (14.13 +0.43 -0.40,
            in Msun).
        alpha: Normal prior of the low-mass slope of dn/dM [1]; almost twice as wide as the error of Driver et al. 2022
            (-1.68 +0.21 -0.24), as clusters hardly reach that regime.
        beta: Log-normal prior of the cut-off's exponent [1]: median, and scatter in ln beta. Driver et al. 2022 have
            0.63 +0.25 -0.11.
        log10_density: Normal prior of log10 dn/dlog10M at the pivot [log10 h^3 Mpc^-3 dex^-1]; a factor of ten either
            way, thus flat over the Poisson error of any survey: the 1/A prior under which counts leave the shape
            alone.
        mass_range: Log10 masses between which the haloes a survey might select are counted [dex].

    References:
        Murray, Robotham & Power 2018, ApJ 855, 5; Driver et al. 2022, MNRAS 515, 2138 (measured values).

    Raises:
        ValueError: A prior width is not positive, beta's median is not positive, or `mass_range` does not rise.
    """

    pivot: float = 14.3
    log10_m_star: tuple[float, float] = (14.22, 0.5)
    alpha: tuple[float, float] = (-1.91, 0.4)
    beta: tuple[float, float] = (0.71, 0.3)
    log10_density: tuple[float, float] = (-4.655, 1.0)
    mass_range: tuple[float, float] = (12.5, 16.0)

    def __post_init__(self) -> None:
        widths = {name: getattr(self, name)[1] for name in ("log10_m_star", "alpha", "beta", "log10_density")}
        for name, width in widths.items():
            if not width > 0:
                raise ValueError(f"the prior width of {name} must be positive, got {width}.")
        if not self.beta[0] > 0:
            raise ValueError(f"beta's prior median must be positive, got {self.beta[0]}.")
        if not self.mass_range[0] < self.mass_range[1]:
            raise ValueError(f"mass_range must rise, got {self.mass_range}.")

    def __call__(self, log10_mass: Float[Tensor, "mass"]) -> Float[Tensor, "*draw mass"]:
        """Sample the parameters at their Pyro sites, and return the natural log of dn/dlog10M [h^3 Mpc^-3 dex^-1]."""
        loc, scale = self._priors.loc, self._priors.scale
        parameters = {
            "log10_m_star": pyro.sample("log10_m_star", dist.Normal(loc[0], scale[0])),
            "alpha": pyro.sample("alpha", dist.Normal(loc[1], scale[1])),
            "beta": pyro.sample("beta", dist.LogNormal(loc[2], scale[2])),
            "log10_density": pyro.sample("log10_density", dist.Normal(loc[3], scale[3])),
        }
        for name, value in self.derived(parameters).items():
            pyro.deterministic(name, value)
        return self.log_density(log10_mass, parameters)

    def log_density(
        self, log10_mass: Float[Tensor, "mass"], parameters: Mapping[str, Float[Tensor, "*draw"]]
    ) -> Float[Tensor, "*draw mass"]:
        """Natural log of dn/dlog10M [h^3 Mpc^-3 dex^-1] at given parameters, one function a draw."""
        m_star, alpha, beta, density = (
            parameters[name].unsqueeze(-1) for name in ("log10_m_star", "alpha", "beta", "log10_density")
        )
        distance = _LN10 * (log10_mass - self.pivot)  # natural log of M over the pivot
        steepness = torch.exp(_LN10 * beta * (self.pivot - m_star))
        return _LN10 * density + (alpha + 1) * distance - steepness * torch.expm1(beta * distance)

    def derived(self, parameters: Mapping[str, Float[Tensor, "*draw"]]) -> dict[str, Float[Tensor, "*draw"]]:
        """What follows from the parameters: `slope` at the pivot, d log10(dn/dlog10M) / d log10 M [1]."""
        alpha, beta = parameters["alpha"], parameters["beta"]
        return {"slope": alpha + 1 - beta * 10 ** (beta * (self.pivot - parameters["log10_m_star"]))}

    # ---- the sampler's coordinates: all of space, where the posterior is nearly Gaussian ----

    def position(self, parameters: Mapping[str, Float[Tensor, "*draw"]]) -> Float[Tensor, "*draw 4"]:
        """Slope and log of the curvature -d slope / d log10 M at the pivot, log of beta, log10_density.

        A survey measures slope and curvature; log10_m_star and alpha, given beta, are what makes them.
        """
        beta, log_steepness = parameters["beta"], _LN10 * parameters["beta"] * (self.pivot - parameters["log10_m_star"])
        log_curvature = 2 * beta.log() + log_steepness + math.log(_LN10)
        slope = self.derived(parameters)["slope"]
        return torch.stack([slope, log_curvature, beta.log(), parameters["log10_density"]], dim=-1)

    def parameters(self, position: Float[Tensor, "*draw 4"]) -> dict[str, Float[Tensor, "*draw"]]:
        """The parameters at a position: the inverse of `position`."""
        slope, log_curvature, log_beta, log10_density = position.unbind(dim=-1)
        beta, log_steepness = log_beta.exp(), log_curvature - 2 * log_beta - math.log(_LN10)
        return {
            "log10_m_star": self.pivot - log_steepness / (_LN10 * beta),
            "alpha": slope - 1 + beta * log_steepness.exp(),
            "beta": beta,
            "log10_density": log10_density,
        }

    def log_prior(self, parameters: Mapping[str, Float[Tensor, ""]]) -> Float[Tensor, ""]:
        """Natural log of the prior density of a position, in its coordinates, from its parameters."""
        log_beta = parameters["beta"].log()
        values = torch.stack([parameters["log10_m_star"], parameters["alpha"], log_beta, parameters["log10_density"]])
        log_jacobian = -log_beta - math.log(_LN10)  # of (log10_m_star, alpha) by (slope, log_curvature)
        return self._priors.log_prob(values).sum() + log_jacobian

    @cached_property
    def centre(self) -> Float[Tensor, "4"]:
        """The position at which every parameter is at the centre of its prior."""
        names = ("log10_m_star", "alpha", "beta", "log10_density")
        return self.position({name: torch.tensor(getattr(self, name)[0], dtype=torch.float64) for name in names})

    @cached_property
    def _priors(self) -> dist.Normal:
        """Priors of log10_m_star, alpha, log of beta and log10_density."""
        beta = (math.log(self.beta[0]), self.beta[1])
        pairs = torch.tensor([self.log10_m_star, self.alpha, beta, self.log10_density], dtype=torch.float64)
        return dist.Normal(pairs[:, 0], pairs[:, 1], validate_args=False)  # in the innermost loop


def mass_function_band(
    idata: "InferenceData", log10_mass: Float[np.ndarray, "mass"], *, percentiles: tuple[float, ...] = (16, 50, 84)
) -> Float[np.ndarray, "percentile mass"]:
    """Percentiles of dn/dlog10M over the posterior of a `MassFunction` fit, at each mass.

    Args:
        idata: Result of `fit`. After `counts=False` the amplitude, and so the band, is its prior's.
        log10_mass: Where to evaluate [dex].
        percentiles: In [0, 100].

    Returns:
        dn/dlog10M [h^3 Mpc^-3 dex^-1], a row a percentile.

    Raises:
        ValueError: `idata` does not come from a fit of a `MassFunction`.
    """
    record = json.loads(idata.attrs.get("model", "{}"))
    if record.get("name") != "MassFunction":
        raise ValueError(
            f"a band needs the result of fit(MassFunction(), ...), found {record or 'no record of a model'}."
        )
    model = MassFunction(pivot=record["pivot"])
    names = ("log10_m_star", "alpha", "beta", "log10_density")
    draws = {name: torch.as_tensor(idata["posterior"][name].values.ravel()) for name in names}
    log_phi = model.log_density(torch.as_tensor(np.asarray(log10_mass, float)), draws)
    return np.percentile(np.exp(log_phi.numpy()), percentiles, axis=0)

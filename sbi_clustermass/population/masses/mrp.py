"""The mass function as a power law with a stretched-exponential cut-off.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; densities are comoving [h^3 Mpc^-3], per dex; `log_` is natural.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.population.parameters import Parameters, Priors, log_normal, normal

_LN10 = math.log(10)
_EVOLUTION = ("m_star_evolution", "density_evolution")


@final
@dataclass(frozen=True)
class MassFunction:
    r"""Murray-Robotham-Power mass function: a power law with a stretched-exponential cut-off.

    $$dn/d\log_{10} M \propto (M/M_*)^{\alpha+1} \exp[-(M/M_*)^\beta],$$

    normalised to $10^{\mathtt{log10\_density}}$ at the pivot, where a survey measures the amplitude best and its error
    is hardly correlated with those of the shape. (Murray et al. write the factor as $\ln 10\,A\,\beta$
    instead.) Priors are (centre, width), and weak: they exclude only what no cold dark matter cosmology makes.

    It is the same at all redshifts, unless it has priors of its evolution: then log10 M* and log10 density change
    linearly with redshift, by `m_star_evolution` and `density_evolution` [dex per unit redshift]. With priors centred
    on -0.64 and -0.89 it follows the mass function of Tinker et al. 2008 in MDPL2 from redshift 0 to 1 and from 10^13
    to 10^15 within 0.16 dex, and 0.06 dex rms; in powers of 1 + z it would be within 0.22 dex. A survey that tells
    more is one for `CosmologyMassFunction`.

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
            way, and thus flat over the Poisson error of any survey: the 1/A prior under which counts do not inform the
            shape.
        m_star_evolution: Normal prior of d log10 M* / dz [dex]; None for 0.
        density_evolution: Normal prior of d log10_density / dz [dex]; None for 0.
        redshift_pivot: Redshift of log10_m_star and log10_density [1].

    References:
        Murray, Robotham & Power 2018, ApJ 855, 5; Driver et al. 2022, MNRAS 515, 2138 (measured values).

    Raises:
        ValueError: A prior width or beta's median is not positive.
    """

    name: ClassVar[str] = "mrp"
    counts: ClassVar[bool] = True

    pivot: float = 14.3
    log10_m_star: tuple[float, float] = (14.18, 0.5)
    alpha: tuple[float, float] = (-1.90, 0.4)
    beta: tuple[float, float] = (0.69, 0.3)
    log10_density: tuple[float, float] = (-4.67, 1.0)
    m_star_evolution: tuple[float, float] | None = None
    density_evolution: tuple[float, float] | None = None
    redshift_pivot: float = 0.117

    def __post_init__(self) -> None:
        _ = self.priors  # raises for invalid priors

    @property
    def priors(self) -> Priors:
        """Priors of `log10_m_star`, `alpha`, `beta` and `log10_density`, and of the evolution if there is one."""
        owner = type(self).__name__
        evolution = {
            name: normal(owner, name, prior) for name in _EVOLUTION if (prior := getattr(self, name)) is not None
        }
        return {
            "log10_m_star": normal(owner, "log10_m_star", self.log10_m_star),
            "alpha": normal(owner, "alpha", self.alpha),
            "beta": log_normal(owner, "beta", self.beta),
            "log10_density": normal(owner, "log10_density", self.log10_density),
            **evolution,
        }

    @property
    def evolves(self) -> bool:
        """Whether it has a prior of its evolution."""
        return any(getattr(self, name) is not None for name in _EVOLUTION)

    @property
    def coordinates(self) -> "SlopeAndCurvature":
        """Coordinates: slope and curvature at the pivot, exponent of the cut-off, and density."""
        return SlopeAndCurvature(self)

    def log_density(
        self, log10_mass: Float[Tensor, "mass"], parameters: Parameters, redshift: Float[Tensor, "shell"]
    ) -> Float[Tensor, "*draw #shell mass"]:
        """Natural log of dn/dlog10M [h^3 Mpc^-3 dex^-1] at each redshift; one shell if it does not evolve."""
        m_star, alpha, beta, density = (
            parameters[name][..., None, None] for name in ("log10_m_star", "alpha", "beta", "log10_density")
        )
        since = redshift[:, None] - self.redshift_pivot
        if self.m_star_evolution is not None:
            m_star = m_star + parameters["m_star_evolution"][..., None, None] * since
        if self.density_evolution is not None:
            density = density + parameters["density_evolution"][..., None, None] * since
        distance = _LN10 * (log10_mass - self.pivot)  # natural log of M over the pivot
        steepness = torch.exp(_LN10 * beta * (self.pivot - m_star))
        return _LN10 * density + (alpha + 1) * distance - steepness * torch.expm1(beta * distance)

    def derived(self, parameters: Parameters) -> dict[str, Float[Tensor, "*draw"]]:
        """`slope` at both pivots, d log10(dn/dlog10M) / d log10 M [1]."""
        alpha, beta = parameters["alpha"], parameters["beta"]
        return {"slope": alpha + 1 - beta * 10 ** (beta * (self.pivot - parameters["log10_m_star"]))}


@final
class SlopeAndCurvature:
    """Coordinates of a `MassFunction` in which the posterior of a survey is nearly Gaussian.

    These are the slope at the pivot, the log of the curvature there, -d slope / d log10 M, the log of beta,
    log10_density, and the rates of evolution. A survey measures slope and curvature, which follow from log10_m_star and
    alpha at given beta.
    """

    def __init__(self, model: MassFunction) -> None:
        self._model, self._priors = model, model.priors
        self._evolution = tuple(name for name in _EVOLUTION if name in self._priors)

    @property
    def centre(self) -> Float[Tensor, "coordinate"]:
        """Position at which every parameter is at the centre of its prior."""
        return self.position({n: torch.tensor(getattr(self._model, n)[0], dtype=torch.float64) for n in self._priors})

    def position(self, parameters: Parameters) -> Float[Tensor, "*draw coordinate"]:
        """Position of parameters."""
        beta = parameters["beta"]
        log_steepness = _LN10 * beta * (self._model.pivot - parameters["log10_m_star"])
        log_curvature = 2 * beta.log() + log_steepness + math.log(_LN10)
        slope = self._model.derived(parameters)["slope"]
        others = [parameters[name] for name in ("log10_density", *self._evolution)]
        return torch.stack([slope, log_curvature, beta.log(), *others], dim=-1)

    def parameters(self, position: Float[Tensor, "*draw coordinate"]) -> dict[str, Float[Tensor, "*draw"]]:
        """Parameters at a position: the inverse of `position`."""
        slope, log_curvature, log_beta, log10_density, *evolution = position.unbind(dim=-1)
        beta, log_steepness = log_beta.exp(), log_curvature - 2 * log_beta - math.log(_LN10)
        return {
            "log10_m_star": self._model.pivot - log_steepness / (_LN10 * beta),
            "alpha": slope - 1 + beta * log_steepness.exp(),
            "beta": beta,
            "log10_density": log10_density,
            **dict(zip(self._evolution, evolution, strict=True)),
        }

    def log_prior(self, position: Float[Tensor, "*draw coordinate"], parameters: Parameters) -> Float[Tensor, "*draw"]:
        """Natural log of the prior density of a position, in its coordinates."""
        logs = [prior.log_prob(parameters[name]) for name, prior in self._priors.items()]
        # Jacobian: (log10_m_star, alpha) by (slope, log_curvature) is 1 / (ln 10 beta), beta by its log is beta
        return torch.stack(logs).sum(0) - math.log(_LN10)

r"""Scaling relations: an observable against mass, with intrinsic scatter.

Observables are logarithms [dex], or other quantities that are linear in log10 mass; masses are log10_mass [dex].
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from clustermocks import Cosmology
from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass.population.parameters import Parameters, Priors, half_normal, normal


@final
@dataclass(frozen=True)
class ScalingRelation:
    r"""$y \sim \mathcal{N}(a + b\,(m - m_p) + c \log_{10} E(z) / E(z_p),\ s(m)^2)$ at fixed mass m = log10_mass.

    If y is the log10 of a quantity, the intrinsic scatter of that quantity is log-normal. The scatter is constant, or
    $s(m) = s\,10^{t (m - m_p)}$. Sites are named after the observable: `intercept_NAME`, `slope_NAME`, `scatter_NAME`,
    `scatter_slope_NAME`, `evolution_NAME`.

    Attributes:
        observable: Name of y.
        intercept: Normal prior of a, the mean of y at the pivot [unit of y], (centre, width).
        slope: Normal prior of b [unit of y per dex], (centre, width).
        scatter: Scale of the half-normal prior of s [unit of y].
        scatter_slope: Normal prior of t [1/dex], (centre, width); None for a constant scatter.
        evolution: Normal prior of c [unit of y], (centre, width); None for 0.
        pivot: Pivot mass m_p [dex].
        redshift_pivot: Pivot redshift z_p [1].
        cosmology: Cosmology of E(z), if the masses have no Om0 of their own.

    Raises:
        ValueError: A prior's width is not positive.
    """

    observable: str
    intercept: tuple[float, float]
    slope: tuple[float, float]
    scatter: float
    scatter_slope: tuple[float, float] | None = None
    evolution: tuple[float, float] | None = None
    pivot: float = 14.3
    redshift_pivot: float = 0.117
    cosmology: Cosmology = MDPL2

    def __post_init__(self) -> None:
        if not self.observable.isidentifier():
            raise ValueError(f"ScalingRelation: observable is {self.observable!r}. It needs a name, such as log_sigma.")
        _ = self.priors  # raises for invalid priors

    def site(self, parameter: str) -> str:
        """Name of the Pyro site of a parameter."""
        return f"{parameter}_{self.observable}"

    @property
    def priors(self) -> Priors:
        """Priors of the parameters, by site."""
        owner = f"ScalingRelation {self.observable!r}"
        found = {
            self.site("intercept"): normal(owner, "intercept", self.intercept),
            self.site("slope"): normal(owner, "slope", self.slope),
            self.site("scatter"): half_normal(owner, "scatter", self.scatter),
        }
        for name in ("scatter_slope", "evolution"):
            if (prior := getattr(self, name)) is not None:
                found[self.site(name)] = normal(owner, name, prior)
        return found

    def mean(
        self, log10_mass: Float[Tensor, "mass"], parameters: Parameters, redshift: Float[Tensor, "row"]
    ) -> Float[Tensor, "*draw row mass"]:
        """Mean of y at each mass, at each of several redshifts [unit of y]."""
        intercept, slope = (parameters[self.site(name)][..., None, None] for name in ("intercept", "slope"))
        line = intercept + slope * (log10_mass - self.pivot)
        if self.evolution is None:
            return line.expand(*line.shape[:-2], len(redshift), -1)
        return line + parameters[self.site("evolution")][..., None, None] * self._evolution(parameters, redshift)

    def std(self, log10_mass: Float[Tensor, "mass"], parameters: Parameters) -> Float[Tensor, "*draw 1 #mass"]:
        """Intrinsic scatter of y at each mass, in one column if it is constant [unit of y]."""
        scatter = parameters[self.site("scatter")][..., None, None]
        if self.scatter_slope is None:
            return scatter
        return scatter * 10 ** (parameters[self.site("scatter_slope")][..., None, None] * (log10_mass - self.pivot))

    def _evolution(self, parameters: Parameters, redshift: Float[Tensor, "row"]) -> Float[Tensor, "*draw row 1"]:
        """Log10 of E(z) / E(z_p)."""
        fixed = redshift.new_tensor(self.cosmology.Om0)
        Om0 = parameters.get("Om0", fixed)[..., None, None]
        squared, squared_pivot = (Om0 * (1 + z) ** 3 + 1 - Om0 for z in (redshift[:, None], self.redshift_pivot))
        return 0.5 * torch.log10(squared / squared_pivot)

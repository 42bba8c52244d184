r"""Scaling relations: an observable against mass, with intrinsic scatter.

Observables are logarithms [dex], or other quantities that are linear in log10 mass; masses are log10_mass [dex].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from clustermocks import Cosmology
from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass.population.expansion import equation_of_state, squared_rate
from sbi_clustermass.population.observables import log_sum
from sbi_clustermass.population.parameters import Parameters, Priors, half_normal, normal, uniform


@final
@dataclass(frozen=True)
class ScalingRelation:
    r"""$y \sim \mathcal{N}(a + b\,(m - m_p) + c \log_{10} E(z) / E(z_p),\ s(m)^2)$ at fixed mass m = log10_mass.

    If y is the log10 of a quantity, the intrinsic scatter of that quantity is log-normal. The scatter is constant, or
    $s(m) = s\,10^{t (m - m_p)}$. Sites are named after the observable: `intercept_NAME`, `slope_NAME`, `scatter_NAME`,
    `scatter_slope_NAME`, `evolution_NAME`, `outlier_share_NAME`, `outlier_scatter_NAME`.

    With `outliers`, a share f of the clusters has the scatter $\sqrt{s^2 + w^2}$ about the same mean, so that a few
    values far from the relation widen w and not s.

    Attributes:
        observable: Name of y.
        intercept: Normal prior of a, the mean of y at the pivot [unit of y], (centre, width).
        slope: Normal prior of b [unit of y per dex], (centre, width).
        scatter: Scale of the half-normal prior of s [unit of y].
        scatter_slope: Normal prior of t [1/dex], (centre, width); None for a constant scatter.
        evolution: Normal prior of c [unit of y], (centre, width); None for 0.
        outliers: Highest share f of outliers, below which its prior is flat [1], and scale of the half-normal prior of
            w [unit of y]; None for no outliers.
        pivot: Pivot mass m_p [dex].
        redshift_pivot: Pivot redshift z_p [1].
        cosmology: Cosmology of E(z), if the masses have no Om0 of their own.

    Raises:
        ValueError: A prior's width is not positive, or the highest share of outliers not between 0 and 1.
    """

    observable: str
    intercept: tuple[float, float]
    slope: tuple[float, float]
    scatter: float
    scatter_slope: tuple[float, float] | None = None
    evolution: tuple[float, float] | None = None
    outliers: tuple[float, float] | None = None
    pivot: float = 14.3
    redshift_pivot: float = 0.117
    cosmology: Cosmology = MDPL2

    def __post_init__(self) -> None:
        if not self.observable.isidentifier():
            raise ValueError(f"ScalingRelation: observable is {self.observable!r}. It needs a name, such as log_sigma.")
        if self.outliers is not None and not 0 < self.outliers[0] < 1:
            raise ValueError(f"ScalingRelation: the share of outliers ends between 0 and 1, got {self.outliers[0]}.")
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
        if self.outliers is not None:
            share, scatter = self.outliers
            found[self.site("outlier_share")] = uniform(owner, "outlier_share", (0.0, share))
            found[self.site("outlier_scatter")] = half_normal(owner, "outlier_scatter", scatter)
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

    def with_outliers(
        self,
        log_density: Callable[[Float[Tensor, "*draw 1 #mass"]], Float[Tensor, "*draw row mass"]],
        std: Float[Tensor, "*draw 1 #mass"],
        parameters: Parameters,
    ) -> Float[Tensor, "*draw row mass"]:
        """Natural log of a density or probability, averaged over the shares of outliers and of all others.

        Args:
            log_density: Natural log of the density, as a function of the scatter.
            std: Scatter of clusters that are no outliers [unit of y].
            parameters: Parameters by site.
        """
        if self.outliers is None:
            return log_density(std)
        share = parameters[self.site("outlier_share")][..., None, None]
        wide = torch.hypot(std, parameters[self.site("outlier_scatter")][..., None, None])
        return log_sum(torch.log1p(-share) + log_density(std), share.log() + log_density(wide))

    def draw_std(
        self, std: Float[Tensor, "cluster"], parameters: Parameters, generator: torch.Generator
    ) -> Float[Tensor, "cluster"]:
        """Scatter of each of several clusters, some of which are drawn as outliers [unit of y]."""
        if self.outliers is None:
            return std
        outlier = torch.rand(std.shape, generator=generator, dtype=std.dtype) < parameters[self.site("outlier_share")]
        return torch.where(outlier, torch.hypot(std, parameters[self.site("outlier_scatter")]), std)

    def _evolution(self, parameters: Parameters, redshift: Float[Tensor, "row"]) -> Float[Tensor, "*draw row 1"]:
        """Log10 of E(z) / E(z_p)."""
        Om0 = parameters.get("Om0", redshift.new_tensor(self.cosmology.Om0))[..., None, None]
        w = equation_of_state(parameters)[..., None, None].to(redshift.device)
        pivot = redshift.new_tensor(self.redshift_pivot)
        return 0.5 * torch.log10(squared_rate(redshift[:, None], Om0, w) / squared_rate(pivot, Om0, w))


def log_with_outliers(
    log_density: Callable[[list[Float[Tensor, "*draw 1 #mass"]]], Float[Tensor, "*draw row mass"]],
    relations: Sequence[ScalingRelation],
    stds: list[Float[Tensor, "*draw 1 #mass"]],
    parameters: Parameters,
) -> Float[Tensor, "*draw row mass"]:
    """Natural log of a joint density of several observables, in each of which a cluster may be an outlier.

    Args:
        log_density: Natural log of the density, as a function of the scatters.
        relations: Relation of each observable.
        stds: Scatter of clusters that are no outliers, of each observable.
        parameters: Parameters by site.
    """
    if not relations:
        return log_density(stds)
    *others, last = relations
    *before, std = stds[: len(relations)]
    after = stds[len(relations) :]

    def of_last(scatter: Float[Tensor, "*draw 1 #mass"]) -> Float[Tensor, "*draw row mass"]:
        return log_with_outliers(log_density, others, [*before, scatter, *after], parameters)

    return last.with_outliers(of_last, std, parameters)

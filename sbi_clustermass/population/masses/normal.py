"""Distribution of masses of a sample that is not a census of a volume."""

from dataclasses import dataclass
from typing import ClassVar, final

import pyro.distributions as dist
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.population.parameters import Parameters, Priors, Unconstrained, half_normal, normal


@final
@dataclass(frozen=True)
class NormalMasses:
    """Normal distribution of log10 mass of a sample with any selection: for regressions (Kelly 2007, ApJ 665, 1489).

    It is the density of the *selected* clusters' masses, up to an amplitude that counts do not inform: leave
    `Population.selection` at its default.

    Attributes:
        mean: Normal prior of the mean log10 mass [dex].
        width: Scale of the half-normal prior of the standard deviation [dex].
    """

    name: ClassVar[str] = "normal"
    counts: ClassVar[bool] = False

    mean: tuple[float, float] = (14.3, 1.0)
    width: float = 0.5

    def __post_init__(self) -> None:
        _ = self.priors  # raises for invalid priors

    @property
    def evolves(self) -> bool:
        """It does not: it is that of the sample."""
        return False

    @property
    def priors(self) -> Priors:
        """Priors of `mass_mean` and `mass_width` [dex]."""
        owner = type(self).__name__
        return {"mass_mean": normal(owner, "mean", self.mean), "mass_width": half_normal(owner, "width", self.width)}

    @property
    def coordinates(self) -> Unconstrained:
        """Coordinates: the mean, and the log of the width."""
        return Unconstrained(self.priors)

    def log_density(
        self, log10_mass: Float[Tensor, "mass"], parameters: Parameters, redshift: Float[Tensor, "shell"]
    ) -> Float[Tensor, "*draw 1 mass"]:
        """Natural log of the density per dex, which integrates to 1."""
        mean, width = (parameters[name][..., None, None] for name in ("mass_mean", "mass_width"))
        return dist.Normal(mean, width, validate_args=False).log_prob(log10_mass)

    def derived(self, parameters: Parameters) -> dict[str, Tensor]:
        """Nothing is derived."""
        return {}

"""A sample's own distribution of masses, for those that are no census of a volume."""

from dataclasses import dataclass
from typing import ClassVar, final

import pyro.distributions as dist
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.population.parameters import Parameters, Priors, Separate, half_normal, normal


@final
@dataclass(frozen=True)
class NormalMasses:
    """Masses of a sample are normal in log10 mass, whatever selected it: for regressions (Kelly 2007, ApJ 665, 1489).

    It is the density of the *selected* clusters' masses, up to its amplitude, which no count informs: leave
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
        _ = self.priors  # refuses what is no prior

    @property
    def priors(self) -> Priors:
        """Of `mass_mean` and `mass_width` [dex]."""
        owner = type(self).__name__
        return {"mass_mean": normal(owner, "mean", self.mean), "mass_width": half_normal(owner, "width", self.width)}

    @property
    def coordinates(self) -> Separate:
        """The mean, and the log of the width."""
        return Separate(self.priors)

    def log_density(
        self, log10_mass: Float[Tensor, "mass"], parameters: Parameters, redshift: Float[Tensor, "shell"]
    ) -> Float[Tensor, "*draw 1 mass"]:
        """Natural log of the density per dex, of integral 1."""
        mean, width = (parameters[name][..., None, None] for name in ("mass_mean", "mass_width"))
        return dist.Normal(mean, width, validate_args=False).log_prob(log10_mass)

    def derived(self, parameters: Parameters) -> dict[str, Tensor]:
        """Nothing."""
        return {}

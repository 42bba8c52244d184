r"""Clusters found by the significance of a Sunyaev-Zel'dovich detection, as in the surveys of the South Pole Telescope.

The quantity that scales with mass is the unbiased significance $\zeta$: its natural log is the observable of a
`ScalingRelation`. What is observed is $\xi \sim \mathcal{N}(\sqrt{\zeta^2 + 3}, 1)$, the largest of the significances
at three free numbers, position and scale: Vanderlinde et al. 2010, ApJ 722, 1180, eq. 10; Bocquet et al. 2019, ApJ 878,
55, eqs 1 to 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log, pi
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sbi_clustermass.population.parameters import Parameters, Priors
from sbi_clustermass.population.relation import ScalingRelation
from sbi_clustermass.population.selection import LogProbability, relation_of
from sbi_clustermass.population.survey import Survey

FREE = 3.0  # numbers by which a detection's significance is maximised
_LOW, _HIGH, _STEP = -4.0, 6.0, 0.01  # of ln zeta: exact sums for scatters of .02 and more
_TINY = 1e-300


@final
@dataclass(frozen=True, eq=False)
class Significance:
    """Observed significances xi, whose errors are 1.

    Attributes:
        values: xi of each cluster [1].
        offset: Added to the mean of ln zeta of each cluster: the depth of its field; 0 by default.

    Raises:
        ValueError: A value is not positive and finite.
    """

    values: Float[np.ndarray, "cluster"]
    offset: Float[np.ndarray, "cluster"] | float = 0.0

    def __post_init__(self) -> None:
        values = np.asarray(self.values, float)
        if values.ndim != 1 or not (np.isfinite(values) & (values > 0)).all():
            raise ValueError("significance: every xi must be a positive finite number.")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "offset", np.broadcast_to(np.asarray(self.offset, float), values.shape))

    @property
    def same_galaxies(self) -> bool:
        """It is of the gas."""
        return False

    def __len__(self) -> int:
        return len(self.values)

    def chosen(
        self, rows: Int[np.ndarray, "some"], point: Float[np.ndarray, "cluster"], grid: Float[np.ndarray, "mass"]
    ) -> "Significance":
        """Some of the clusters."""
        return Significance(self.values[rows], np.asarray(self.offset)[rows])

    def log_likelihood(
        self, mean: Float[Tensor, "*draw cluster mass"], std: Float[Tensor, "*draw #cluster #mass"]
    ) -> Float[Tensor, "*draw cluster mass"]:
        """Natural log of p(xi | mass), ln zeta normal with this mean and a scatter that is the same at every mass."""
        ln_zeta = _ln_zeta(mean.device)
        xi = torch.as_tensor(self.values, device=mean.device)
        given_zeta = torch.exp(-0.5 * (xi[:, None] - expected(ln_zeta)) ** 2) / (2 * pi) ** 0.5
        offset = torch.tensor(self.offset, device=mean.device)
        table = torch.log(_smeared(given_zeta, std) + _TINY)
        return _read_off(table, mean + offset[:, None])

    def predict(
        self, mean: Float[Tensor, "*draw cluster"], std: Float[Tensor, "*draw cluster"], generator: torch.Generator
    ) -> Float[Tensor, "*draw cluster"]:
        """What might have been observed."""
        scatter, noise = (torch.randn(mean.shape, generator=generator, dtype=mean.dtype) for _ in range(2))
        offset = torch.tensor(self.offset)
        return expected(mean + offset + std * scatter) + noise


@final
@dataclass(frozen=True)
class AboveSignificance:
    """Clusters whose observed significance exceeds a cut; each shell's offset is that of its field.

    Attributes:
        observable: Name of ln zeta.
        cut: Of xi [1].
    """

    observable: str
    cut: float

    @property
    def of_data(self) -> bool:
        """It cuts on the observable."""
        return True

    @property
    def priors(self) -> Priors:
        """None beside the relation's."""
        return {}

    def bound(
        self, log10_mass: Float[np.ndarray, "mass"], survey: Survey, relations: Mapping[str, ScalingRelation]
    ) -> LogProbability:
        """Natural log of P(xi > cut | mass) in each shell.

        Raises:
            ValueError: The model has no relation for the observable.
        """
        relation = relation_of(self.observable, relations)
        masses, redshift = torch.as_tensor(log10_mass), torch.as_tensor(survey.redshift)
        offset = torch.as_tensor(survey.offset(self.observable))[:, None]
        seen = torch.special.ndtr(expected(_ln_zeta(masses.device)) - self.cut)[None]

        def log_probability(parameters: Parameters) -> Float[Tensor, "*draw shell mass"]:
            mean = relation.mean(masses, parameters, redshift) + offset
            table = torch.log(_smeared(seen, relation.std(masses, parameters)) + _TINY)
            return _read_off(table.expand(*table.shape[:-2], len(redshift), -1), mean)

        return log_probability


def expected(ln_zeta: Tensor) -> Tensor:
    """Mean of xi."""
    return (torch.exp(2 * ln_zeta) + FREE).sqrt()


def _ln_zeta(device: torch.device) -> Float[Tensor, "zeta"]:
    return torch.arange(_LOW, _HIGH, _STEP, dtype=torch.float64, device=device)


def _smeared(
    function: Float[Tensor, "row zeta"], std: Float[Tensor, "*draw 1 #mass"]
) -> Float[Tensor, "*draw row zeta"]:
    """A function of ln zeta averaged over the scatter about each of its values."""
    ln_zeta, width = _ln_zeta(function.device), std[..., :1]
    kernel = torch.exp(-0.5 * ((ln_zeta[:, None] - ln_zeta) / width) ** 2 - width.log() - 0.5 * log(2 * pi))
    return function @ (kernel * _STEP)


def _read_off(table: Float[Tensor, "*draw row zeta"], at: Float[Tensor, "*draw row mass"]) -> Tensor:
    """Each row of a table at values of ln zeta of its own, linear between its points."""
    place = ((at - _LOW) / _STEP).clamp(0, table.shape[-1] - 1.001)
    left = place.detach().floor().long()
    table = table.expand(*at.shape[:-1], table.shape[-1])
    return torch.lerp(table.gather(-1, left), table.gather(-1, left + 1), place - left)

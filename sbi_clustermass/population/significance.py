r"""Clusters found by the significance of a Sunyaev-Zel'dovich detection, as in the surveys of the South Pole Telescope.

The quantity that scales with mass is the unbiased significance $\zeta$: its natural log is the observable of a
`ScalingRelation`. What is observed is $\xi \sim \mathcal{N}(\sqrt{\zeta^2 + 3}, 1)$, the largest of the significances
at three free numbers, position and scale: Vanderlinde et al. 2010, ApJ 722, 1180, eq. 10; Bocquet et al. 2019, ApJ 878,
55, eqs 1 to 3. It holds for haloes that stand out of the noise: were it true down to $\zeta = 0$, every halo of the sky
would exceed $\xi = 5$ once in 1800 times, and a survey would count more groups than clusters. Below $\zeta = 2$ the
mean falls in proportion to $\zeta$ instead. False detections are not haloes: leave them out, or take them off.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import pi
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
_LEAST = 2.0  # zeta of a halo that stands out of the noise
_FLOOR = 1e-16  # precision of a Fourier transform of numbers up to 1


@final
@dataclass(frozen=True, eq=False)
class Significance:
    """Observed significances xi, whose errors are 1.

    Attributes:
        values: xi of each cluster [1].
        offset: Added to the mean of ln zeta of each cluster: the depth of its field; 0 by default.

    Raises:
        ValueError: A value is not positive and finite, or there are neither one nor as many finite offsets.
    """

    values: Float[np.ndarray, "cluster"]
    offset: Float[np.ndarray, "cluster"] | float = 0.0

    def __post_init__(self) -> None:
        values, offset = np.asarray(self.values, float), np.asarray(self.offset, float)
        if values.ndim != 1 or not (np.isfinite(values) & (values > 0)).all():
            raise ValueError("significance: every xi must be a positive finite number.")
        if offset.shape not in ((), values.shape) or not np.isfinite(offset).all():
            raise ValueError(
                f"significance: needs a finite offset for each of {len(values)} clusters, or one for all; found "
                f"{self.offset}."
            )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "offset", np.broadcast_to(offset, values.shape))

    @property
    def same_galaxies(self) -> bool:
        """It is of the gas."""
        return False

    @property
    def seen(self) -> Float[np.ndarray, "cluster"]:
        """The significances."""
        return np.asarray(self.values)

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
        given_zeta, offset = self._on(mean.device)
        return _read_off(torch.log(_smeared(given_zeta, std)), mean + offset)

    def _on(self, device: torch.device) -> tuple[Float[Tensor, "cluster zeta"], Float[Tensor, "cluster 1"]]:
        """p(xi | ln zeta), and the offsets, on a device, where they are kept."""
        if device not in self._kept:
            xi, offset = (torch.tensor(part, device=device)[:, None] for part in (self.values, self.offset))
            given_zeta = torch.exp(-0.5 * (xi - expected(_ln_zeta(device))) ** 2) / (2 * pi) ** 0.5
            self._kept[device] = given_zeta, offset
        return self._kept[device]

    @cached_property
    def _kept(self) -> dict[torch.device, tuple[Tensor, Tensor]]:
        return {}

    def predict(
        self, mean: Float[Tensor, "*draw cluster"], std: Float[Tensor, "*draw cluster"], generator: torch.Generator
    ) -> Float[Tensor, "*draw cluster"]:
        """What might have been observed."""
        scatter, noise = (torch.randn(mean.shape, generator=generator, dtype=mean.dtype) for _ in range(2))
        return expected(mean + self._on(mean.device)[1][:, 0] + std * scatter) + noise


@final
@dataclass(frozen=True)
class AboveSignificance:
    """Clusters whose observed significance exceeds a cut; each shell's offset is that of its field.

    Attributes:
        observable: Name of ln zeta.
        cut: Of xi [1].

    Raises:
        ValueError: The cut is not finite.
    """

    observable: str
    cut: float

    def __post_init__(self) -> None:
        if not np.isfinite(self.cut):
            raise ValueError(f"AboveSignificance: needs a finite cut, found {self.cut}.")

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
            table = torch.log(_smeared(seen, relation.std(masses, parameters)))
            return _read_off(table.expand(*table.shape[:-2], len(redshift), -1), mean)

        return log_probability


def expected(ln_zeta: Tensor) -> Tensor:
    """Mean of xi."""
    zeta = ln_zeta.exp()
    return torch.where(zeta > _LEAST, (zeta**2 + FREE).sqrt(), zeta * (1 + FREE / _LEAST**2) ** 0.5)


def _ln_zeta(device: torch.device) -> Float[Tensor, "zeta"]:
    return torch.arange(_LOW, _HIGH, _STEP, dtype=torch.float64, device=device)


def _smeared(function: Float[Tensor, "row zeta"], std: Float[Tensor, "*draw 1 1"]) -> Float[Tensor, "*draw row zeta"]:
    """A function of ln zeta averaged over the scatter about each of its values.

    A convolution by Fourier transforms: in n log n steps, and right to 1e-16, where it ends.

    Raises:
        ValueError: The scatter changes with mass.
    """
    if std.shape[-1] != 1:
        raise ValueError("significance: takes a scatter that is the same at every mass: no scatter_slope.")
    n, share = function.shape[-1], torch.ones_like(function[:1])  # of the kernel between the ends: half of it there
    wave = 2 * pi * torch.fft.rfftfreq(2 * n, _STEP, dtype=torch.float64, device=function.device)
    spectrum = torch.fft.rfft(torch.cat([function, share]), 2 * n) * torch.exp(-0.5 * (wave * std) ** 2)
    found = torch.fft.irfft(spectrum, 2 * n)[..., :n]
    return (found[..., :-1, :] / found[..., -1:, :]).clamp(min=_FLOOR)


def _read_off(table: Float[Tensor, "*draw row zeta"], at: Float[Tensor, "*draw row mass"]) -> Tensor:
    """Each row of a table at values of ln zeta of its own, by the cubic through the four points about each.

    Samplers start from the curvature, of which a line between two points knows nothing.
    """
    place = ((at - _LOW) / _STEP).clamp(1, table.shape[-1] - 2.001)
    left = place.detach().floor().long()
    t, table = place - left, table.expand(*at.shape[:-1], table.shape[-1])
    before, here, after, beyond = (table.gather(-1, left + step) for step in (-1, 0, 1, 2))
    inner = (t + 1) * (t - 2) * ((t - 1) * here - t * after) / 2
    return inner + t * (t - 1) * ((t + 1) * beyond - (t - 2) * before) / 6

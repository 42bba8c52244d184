r"""Clusters found by the significance of a Sunyaev-Zel'dovich detection, as in the surveys of the South Pole Telescope.

The quantity that scales with mass is the unbiased significance $\zeta$: its natural log is the observable of a
`ScalingRelation`. Observed is $\xi \sim \mathcal{N}(\sqrt{\zeta^2 + 3}, 1)$, a significance maximised over three free
numbers, position and scale: Vanderlinde et al. 2010, ApJ 722, 1180, eq. 10; Bocquet et al. 2019, ApJ 878, 55, eqs 1 to
3. It holds for haloes that stand out of the noise: if it held down to $\zeta = 0$, every halo of the sky would exceed
$\xi = 5$ once in 1800 times, and a survey would count more groups than clusters. Below $\zeta = 2$ the mean falls in
proportion to $\zeta$ instead. False detections are not haloes: leave them out, or subtract them.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import pi
from typing import Self, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sbi_clustermass.population.observables import AtMasses, Observed, OfClusters, Scatter, Values

_FREE = 3.0  # numbers over which the significance of a detection is maximised
_LOW, _HIGH, _STEP = -4.0, 6.0, 0.01  # grid of ln zeta; sums are exact for scatters of .02 and more
_LEAST = 2.0  # least zeta of a halo that stands out of the noise
_FLOOR = 1e-16  # precision of a Fourier transform of numbers up to 1


@final
@dataclass(frozen=True, eq=False)
class Significance(Observed):
    """Observed significances xi, with errors of 1.

    Attributes:
        values: xi of each cluster [1].
        offset: Offset of the mean of ln zeta of each cluster by the depth of its field; 0 by default.

    Raises:
        ValueError: A value is not positive and finite, or the offsets are not finite or not one for each or for all.
    """

    values: Values
    offset: Values | float = 0.0

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
    def observed_values(self) -> Values:
        """Significances."""
        return np.asarray(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def select(self, rows: Int[np.ndarray, "some"], posterior_mean: Values, grid: Float[np.ndarray, "mass"]) -> Self:
        """Select some of the clusters."""
        return replace(self, values=self.values[rows], offset=np.asarray(self.offset)[rows])

    def log_likelihood(self, mean: AtMasses, std: Scatter) -> AtMasses:
        """Natural log of p(xi | mass), for a normal ln zeta whose scatter is the same at every mass."""
        given_zeta, offset = self._tensors(mean.device)
        return _interpolated(torch.log(_averaged(given_zeta, std)), mean + offset)

    def _tensors(self, device: torch.device) -> tuple[Float[Tensor, "cluster zeta"], Float[Tensor, "cluster 1"]]:
        """p(xi | ln zeta), and the offsets, made once for each device."""
        if device not in self._by_device:
            xi, offset = (torch.tensor(part, device=device)[:, None] for part in (self.values, self.offset))
            given_zeta = torch.exp(-0.5 * (xi - _mean_xi(_ln_zeta(device))) ** 2) / (2 * pi) ** 0.5
            self._by_device[device] = given_zeta, offset
        return self._by_device[device]

    @cached_property
    def _by_device(self) -> dict[torch.device, tuple[Tensor, Tensor]]:
        return {}

    def predict(self, mean: OfClusters, std: OfClusters, generator: torch.Generator) -> OfClusters:
        """Draw significances from their predictive distribution."""
        scatter, noise = (torch.randn(mean.shape, generator=generator, dtype=mean.dtype) for _ in range(2))
        return _mean_xi(mean + self._tensors(mean.device)[1][:, 0] + std * scatter) + noise

    @staticmethod
    def log_exceeds(cut: float, mean: AtMasses, std: Scatter, error: float = 0.0) -> AtMasses:
        """Natural log of P(xi > cut | mass).

        Raises:
            ValueError: An error is given, or the scatter changes with mass.
        """
        if error:
            raise ValueError(f"significance: its error is 1 by definition; leave that of the cut at 0, found {error}.")
        exceeds = torch.special.ndtr(_mean_xi(_ln_zeta(mean.device)) - cut)[None]
        table = torch.log(_averaged(exceeds, std))
        return _interpolated(table.expand(*table.shape[:-2], mean.shape[-2], -1), mean)


def _mean_xi(ln_zeta: Tensor) -> Tensor:
    zeta = ln_zeta.exp()
    return torch.where(zeta > _LEAST, (zeta**2 + _FREE).sqrt(), zeta * (1 + _FREE / _LEAST**2) ** 0.5)


def _ln_zeta(device: torch.device) -> Float[Tensor, "zeta"]:
    return torch.arange(_LOW, _HIGH, _STEP, dtype=torch.float64, device=device)


def _averaged(function: Float[Tensor, "row zeta"], std: Float[Tensor, "*draw 1 1"]) -> Float[Tensor, "*draw row zeta"]:
    """Average a function of ln zeta over the scatter about each value, by Fourier transforms: precise to 1e-16."""
    if std.shape[-1] != 1:
        raise ValueError("significance: takes a scatter that is the same at every mass: no scatter_slope.")
    n, share = function.shape[-1], torch.ones_like(function[:1])  # share of the kernel inside: a half at the ends
    wave = 2 * pi * torch.fft.rfftfreq(2 * n, _STEP, dtype=torch.float64, device=function.device)
    spectrum = torch.fft.rfft(torch.cat([function, share]), 2 * n) * torch.exp(-0.5 * (wave * std) ** 2)
    found = torch.fft.irfft(spectrum, 2 * n)[..., :n]
    return (found[..., :-1, :] / found[..., -1:, :]).clamp(min=_FLOOR)


def _interpolated(table: Float[Tensor, "*draw row zeta"], at: Float[Tensor, "*draw row mass"]) -> Tensor:
    """Interpolate each row of a table at its own values of ln zeta, by the cubic through the four nearest points.

    Samplers start from the curvature, which linear interpolation would lose.
    """
    place = ((at - _LOW) / _STEP).clamp(1, table.shape[-1] - 2.001)
    left = place.detach().floor().long()
    t, table = place - left, table.expand(*at.shape[:-1], table.shape[-1])
    before, here, after, beyond = (table.gather(-1, left + step) for step in (-1, 0, 1, 2))
    inner = (t + 1) * (t - 2) * ((t - 1) * here - t * after) / 2
    return inner + t * (t - 1) * ((t + 1) * beyond - (t - 2) * before) / 6

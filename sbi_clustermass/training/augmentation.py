"""Random changes to clusters during training: fewer galaxies, velocity errors, reversed velocities.

Velocities are in [km/s].
"""

from dataclasses import dataclass, replace
from math import inf
from typing import Self, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from clustermocks import Observation
from sbi_clustermass.embeddings.galaxies import check_shape
from sbi_clustermass.embeddings.summary import masked_median

_TUNING = 6.0  # median absolute deviations beyond which a galaxy has no weight, as astropy's


@final
@dataclass(frozen=True)
class Augmentation:
    r"""Incomplete and imprecise spectroscopy, drawn anew for every cluster at every weight update.

    A galaxy is kept with its cluster's completeness, drawn uniformly from a range. Velocity errors are Gaussian, with a
    size drawn uniformly from a range for each cluster. If the mocks' velocities are relative to a measured centre, the
    centre is measured again, by the biweight of the remaining galaxies: with a dozen galaxies its error is a third of
    their dispersion. Galaxies that move beyond the velocity cut are lost; none move in, because those beyond the cut
    are not part of the mocks.

    The richness cut is applied after the thinning: a cluster with too few remaining galaxies has no weight in the loss.
    This does not change the effective prior. Thinning only removes galaxies, so a cluster that failed the cut before
    fails it after, and the thinned set is what the same cut would have selected from *all* attempted clusters,
    thinned: $n'_\mathrm{train}(M) = n_\mathrm{attempted}(M)\,P(N' \ge \mathrm{cut} | M)$. Hence
    $\pi(M) = n'_\mathrm{train} / P'_\mathrm{train} = n_\mathrm{attempted}(M) = n_\mathrm{train} / P_\mathrm{train}$,
    the prior of the set as it was simulated. Similarly, a set resampled by a weight w(M) keeps
    $w\,n_\mathrm{attempted}$. Given their number, the remaining clusters of a batch are independent draws from the
    thinned set, so that their plain mean is unbiased.

    Attributes:
        completeness: Lowest and highest share of a cluster's galaxies with a velocity [1].
        velocity_error: Smallest and largest standard deviation of a cluster's velocity errors [km/s].
        mirror: Whether the velocities of a random half of the clusters are reversed.
        min_galaxies: Fewest remaining galaxies of a cluster; `train` raises it to the catalogue's cut.
        v_cut: Velocity beyond which a galaxy is lost [km/s]; `train` lowers it to the catalogue's cut.
        recentre: Whether the centre velocity of the cluster is measured again; None for no, except that `train` does so
            if the catalogue's were (`Catalogue.is_recentred`).
    """

    completeness: tuple[float, float] = (0.5, 1.0)
    velocity_error: tuple[float, float] = (0.0, 150.0)
    mirror: bool = True
    min_galaxies: int = 1
    v_cut: float = inf
    recentre: bool | None = None

    def __post_init__(self) -> None:
        for name, least, most in (("completeness", 0.0, 1.0), ("velocity_error", 0.0, inf)):
            low, high = getattr(self, name)
            if not (least <= low <= high <= most and high < inf):
                raise ValueError(f"Augmentation: {name} is ({low}, {high}). It rises from {least} to {most} at most.")
        if not self.completeness[1] > 0:
            raise ValueError("Augmentation: completeness is 0: no galaxy is left.")
        if self.min_galaxies < 1 or not self.v_cut > 0:
            raise ValueError(
                f"Augmentation: min_galaxies {self.min_galaxies} and v_cut {self.v_cut}; at least 1, and above 0."
            )

    def within(self, observation: Observation, *, recentred: bool) -> Self:
        """Apply the cuts of a catalogue if they are stricter, and its recentring if `recentre` is None."""
        least, v_cut = max(self.min_galaxies, observation.min_galaxies), min(self.v_cut, observation.v_cut)
        recentre = recentred if self.recentre is None else self.recentre
        return replace(self, min_galaxies=least, v_cut=v_cut, recentre=recentre)

    def __call__(
        self, x: Float[Tensor, "batch galaxy column"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch galaxy column"], Bool[Tensor, " batch"]]:
        """Draw changed clusters, on the device of x and without a synchronisation.

        Args:
            x: R_proj [h^-1 Mpc], v_los [km/s], and 1 for a galaxy or 0 for padding; conditions behind them stay.
            generator: Generator on the device of x.

        Returns:
            The changed clusters, with padding in the place of removed galaxies, and whether each passed the richness
            cut. Those that did not are unchanged, so that they can be evaluated with weight 0.

        Raises:
            ValueError: x has another shape.
        """
        check_shape("Augmentation", x[..., :3])
        share, size, side = torch.rand(3, len(x), 1, generator=generator, dtype=x.dtype, device=x.device)
        v = x[..., 1] + _between(self.velocity_error, size) * _like(torch.randn, x, generator)
        seen = _like(torch.rand, x, generator) < _between(self.completeness, share)
        real = (x[..., 2] > 0) & seen & (v.abs() < self.v_cut)
        if self.recentre:
            v = v - biweight_centre(v, real)  # relativity adds .01 km/s
            real &= v.abs() < self.v_cut
        v = torch.where(side < 0.5, -v, v) if self.mirror else v
        passed = real.sum(1) >= self.min_galaxies
        changed = torch.cat([x[..., :1], v[..., None], x[..., 2:]], -1) * real[..., None]
        return torch.where(passed[:, None, None], changed, x), passed


def _between(bounds: tuple[float, float], share: Tensor) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * share


def _like(draw, x: Tensor, generator: torch.Generator) -> Float[Tensor, "batch galaxy"]:
    return draw(x.shape[:2], generator=generator, dtype=x.dtype, device=x.device)


def biweight_centre(
    v_los: Float[Tensor, "batch galaxy"], real: Bool[Tensor, "batch galaxy"]
) -> Float[Tensor, "batch 1"]:
    """Biweight location of each padded cluster's galaxies, on their device and without a synchronisation.

    It is 0 for a cluster without galaxies. `clustermocks.observation.centre_velocity` repeats this with the
    galaxies within the velocity cut of the centre, which changes little if the velocities were centred before thinning.

    References:
        Beers, Flynn & Gebhardt 1990, AJ 100, 32, eq. 5.
    """
    middle = masked_median(v_los, real)[:, None]
    offset = v_los - middle
    spread = masked_median(offset.abs(), real)[:, None]
    u = offset / torch.where(spread > 0, _TUNING * spread, 1.0)
    weight = torch.where(real & (u.abs() < 1) & (spread > 0), (1 - u**2) ** 2, 0.0)
    return middle + (offset * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1e-6)

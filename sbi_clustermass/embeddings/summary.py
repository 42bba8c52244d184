"""Twenty classical statistics of the galaxies of a cluster, all even in velocity and without weights.

Distances are comoving [h^-1 Mpc], velocities [km/s]; sums run in float64.
"""

from itertools import pairwise
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sbi_clustermass.embeddings.checks import Choice, check_flags, check_positive
from sbi_clustermass.embeddings.galaxies import (
    NoWeights,
    PaddedGalaxies,
    by_richness,
    check_galaxies,
    log10_richness,
    read_galaxies,
)
from sbi_clustermass.embeddings.sky import SKY
from sbi_clustermass.embeddings.sky_statistics import sky_statistics

FLOOR = 10.0  # [km/s] a smaller speed counts as this one
RINGS = (0.25, 0.5)  # [aperture] where the three rings meet
SPARSE = 0.05  # share of the cluster with the overall rms speed that is added to each ring
TO_SIGMA = 1.482602218505602  # standard deviation of a Gaussian over its median absolute deviation
FARTHEST = 9.0  # [median absolute deviations] beyond which the biweight ignores velocities

STATISTICS = (
    "log10 standard deviation of v",
    "log10 rms v",
    "log10 1.48 median absolute deviation of v",
    "log10 biweight scale of v",
    "log10 median speed",
    "log10 90 % speed",
    "log10 fourth moment of v over squared variance",
    "log10 mean deviation over standard deviation of v",
    "distance of the mean v from 0 [rms v]",
    "mean R",
    "median R",
    "90 % R",
    "largest R",
    "standard deviation of R",
    "correlation of R and speed",
    "share of galaxies in the inner ring",
    "share of galaxies in the middle ring",
    "log10 rms v of the inner ring",
    "log10 rms v of the middle ring",
    "log10 rms v of the outer ring",
)


@final
class SummaryStatistics(Choice, nn.Module):
    """Moments, quantiles and robust scales of velocity and distance, in the order of `STATISTICS`.

    Distances are in units of the aperture, speeds are log10 of [km/s] and at least 10 km/s. Moments are those of the
    sample, divided by N; medians are means of the middle two; a 90 % value is the smallest that 90 % do not exceed. The
    biweight scale is that of Beers, Flynn & Gebhardt 1990, AJ 100, 32 (as in astropy), the median absolute deviation
    where it is not defined. An undefined statistic (a correlation of one galaxy) is 0, and so are all statistics of a
    set without galaxies, except speeds, which are at their minimum.

    Rings meet at 1/4 and 1/2 of the aperture; to each is added a twentieth of the cluster with its overall rms v, so
    that an empty ring has the overall rms v.

    Without `richness` the features are a function of the distribution of the galaxies: every galaxy repeated k times
    changes nothing. There is nothing to train, and no gradient with respect to the galaxies.

    Attributes:
        richness: Whether log10 N is the last feature.
        aperture: Unit of R_proj [h^-1 Mpc].
        sky: Whether `SKY_STATISTICS` are features too, of the shape on the sky and of clumps: an observation then has
            the two columns of `Catalogue.padded(sky=True)`.
    """

    even = True  # in velocity

    def __init__(self, *, richness: bool = True, aperture: float = 1.6, sky: bool = False) -> None:
        super().__init__()
        check_flags("SummaryStatistics", richness=richness, sky=sky)
        check_positive("SummaryStatistics", aperture=aperture)
        self.richness, self.aperture, self.sky, self.no_weights = richness, aperture, sky, NoWeights()

    def config(self) -> dict[str, float | bool]:
        """Fields of the embedding, for a file: `SummaryStatistics(**config)` gives the same features."""
        return {"richness": self.richness, "aperture": self.aperture, "sky": self.sky}

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "batch galaxy column"]) -> Float[Tensor, "batch statistic"]:
        """Statistics of each cluster, in the type of x.

        Args:
            x: R_proj [h^-1 Mpc], v_los [km/s], and 1 for a galaxy or 0 for padding; with `sky`, positions.

        Raises:
            ValueError: x has another shape, or flags other than 1 and 0.
        """
        check_galaxies("SummaryStatistics", x, 3 + SKY * self.sky)
        galaxies = read_galaxies("SummaryStatistics", x[..., :3])
        galaxies = galaxies._replace(R=galaxies.R.double() / self.aperture, v=galaxies.v.double())
        parts = [*_velocities(galaxies), *_distances(galaxies), *_rings(galaxies)]
        if self.sky:
            parts += by_richness(lambda some: sky_statistics(some, richness=self.richness), x).unbind(1)
        if self.richness:
            parts.append(log10_richness(x)[:, 0])
        return torch.stack([part.to(x.dtype) for part in parts], 1)


def _velocities(galaxies: PaddedGalaxies) -> tuple[Float[Tensor, " batch"], ...]:
    v, is_galaxy = galaxies.v, galaxies.is_galaxy
    mean, rms, speed = _mean(v, is_galaxy), _mean(v.square(), is_galaxy).sqrt(), v.abs()
    deviation = torch.where(is_galaxy, v - mean[:, None], 0)
    sigma = _mean(deviation.square(), is_galaxy).sqrt()
    centre = masked_median(v, is_galaxy)
    mad = masked_median((v - centre[:, None]).abs(), is_galaxy)
    scales = sigma, rms, TO_SIGMA * mad, _biweight(v - centre[:, None], mad, is_galaxy)
    quantiles = masked_median(speed, is_galaxy), _ninety(speed, is_galaxy)
    scaled = deviation / _or_one(sigma)[:, None]
    moments = _mean(scaled.square().square(), is_galaxy), _mean(scaled.abs(), is_galaxy)
    shape = (_or_one(moment).log10() for moment in moments)
    return (*map(_log10_speed, (*scales, *quantiles)), *shape, mean.abs() / _or_one(rms))


def _distances(galaxies: PaddedGalaxies) -> tuple[Float[Tensor, " batch"], ...]:
    R, is_galaxy = galaxies.R, galaxies.is_galaxy
    mean, std = _mean(R, is_galaxy), _std(R, is_galaxy)
    speed = galaxies.v.abs()
    together = _mean((R - mean[:, None]) * (speed - _mean(speed, is_galaxy)[:, None]), is_galaxy)
    correlation = together / _or_one(std * _std(speed, is_galaxy))
    return mean, masked_median(R, is_galaxy), _ninety(R, is_galaxy), R.amax(1), std, correlation.clamp(-1, 1)


def _rings(galaxies: PaddedGalaxies) -> tuple[Float[Tensor, " batch"], ...]:
    squares, rms_squared = galaxies.v.square(), _mean(galaxies.v.square(), galaxies.is_galaxy)
    edges = (-1.0, *RINGS, float("inf"))
    inside = [(low < galaxies.R) & (high >= galaxies.R) for low, high in pairwise(edges)]
    shares = [_mean(ring.double(), galaxies.is_galaxy) for ring in inside]
    sums = [_mean(ring * squares, galaxies.is_galaxy) for ring in inside]
    of_ring = ((a + SPARSE * rms_squared) / (share + SPARSE) for a, share in zip(sums, shares, strict=True))
    return (*shares[:-1], *(_log10_speed(square.sqrt()) for square in of_ring))


def _mean(values: Float[Tensor, "batch galaxy"], is_galaxy: Bool[Tensor, "batch galaxy"]) -> Float[Tensor, " batch"]:
    return torch.where(is_galaxy, values, 0).sum(1) / is_galaxy.sum(1).clamp(min=1)


def _std(values: Tensor, is_galaxy: Tensor) -> Float[Tensor, " batch"]:
    return _mean((values - _mean(values, is_galaxy)[:, None]).square(), is_galaxy).sqrt()


def _ranked(values: Tensor, is_galaxy: Tensor, *ranks: Tensor) -> tuple[Float[Tensor, " batch"], ...]:
    """The values at these ranks, counted from 0; 0 for a set without galaxies."""
    rising = torch.where(is_galaxy, values, torch.inf).sort(1).values
    found = (rising.gather(1, rank[:, None])[:, 0] for rank in ranks)
    return tuple(torch.where(is_galaxy.any(1), each, 0) for each in found)


def masked_median(values: Tensor, is_galaxy: Tensor) -> Float[Tensor, " batch"]:
    """Median of (batch, galaxy) over each cluster's galaxies, the mean of the middle two; 0 without galaxies."""
    n = is_galaxy.sum(1)
    low, high = _ranked(values, is_galaxy, (n - 1).clamp(min=0) // 2, n // 2)
    return 0.5 * (low + high)


def _ninety(values: Tensor, is_galaxy: Tensor) -> Float[Tensor, " batch"]:
    return _ranked(values, is_galaxy, ((9 * is_galaxy.sum(1) + 9) // 10 - 1).clamp(min=0))[0]


def _biweight(offset: Tensor, mad: Tensor, is_galaxy: Tensor) -> Float[Tensor, " batch"]:
    """Beers et al. 1990, eq. 9; 1.48 mad where that is 0/0."""
    u2 = (offset / (FARTHEST * _or_one(mad)[:, None])).square()
    near = is_galaxy & (u2 < 1)
    top = _mean(near * offset.square() * (1 - u2) ** 4, is_galaxy)
    bottom = _mean(near * (1 - u2) * (1 - 5 * u2), is_galaxy).abs()
    return torch.where((mad > 0) & (bottom > 0), top.sqrt() / _or_one(bottom), TO_SIGMA * mad)


def _or_one(scale: Tensor) -> Tensor:
    return torch.where(scale > 0, scale, 1)


def _log10_speed(speed: Tensor) -> Float[Tensor, " batch"]:
    return speed.clamp(min=FLOOR).log10()

r"""Sums of Gaussian kernels on a grid of pixels in projected phase space.

Distances are comoving [h^-1 Mpc], velocities [km/s]; kernels are float64. In units of the kernel's widths, with the
cluster's mean as origin, a kernel of correlation $\rho$ factorises over pixels $(X_a, Y_b)$ and galaxies $(x_i, y_i)$,
$$e^{-q/2} = e^{\kappa X_a Y_b} f_i(X_a) h_i(Y_b), \qquad \kappa = \rho / (1 - \rho^2),$$
which costs 100 exponentials a galaxy instead of 2500. The factors can be huge where their product is not: clusters for
which they could overflow, or whose pixels all lie far out in the kernels' tails, are summed in another way.
"""

from math import log, pi
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_VANISHED = 1e-250  # [kernel peak] a fainter image vanishes in float64
_SINGULAR = 1e-10  # 1 - rho^2 at and below which a covariance counts as singular
_POINT = 1e-6  # [pixel] kernel width at and below which a covariance counts as singular
_NEVER = -1e30  # exponent of the padding
_LOG2_E = 1 / log(2)  # exponents are to the base 2: `exp2` is four times as fast as `exp`
_BLOCK = 400_000  # numbers in one temporary of the direct sum


class _Limits(NamedTuple):
    """What a floating-point type holds of the factors: terms down to `faint` times 1e-10 survive.

    Attributes:
        exponent: Largest bound on the factors' exponents, to the base 2: beyond, they overflow or lose faint terms.
        product: Largest exponent of the cross term at a galaxy: beyond, rounded exponents are not accurate.
        least: Exponent that stands for all lower ones: smaller numbers than 2^least are slow.
        reach: Distance beyond the outermost galaxy at which a pixel is as good as empty [kernel widths].
        faint: Least accurate maximum of an image [kernel peak].
    """

    exponent: float
    product: float
    least: float
    reach: float
    faint: float


_LIMITS = {
    torch.float64: _Limits(866.0, 866.0, -1010.0, 38.7, 1e-15),
    torch.float32: _Limits(85.0, 12.0, -116.0, 7.0, 1e-2),
}


class Grid(NamedTuple):
    """Centres of the pixels in R [h^-1 Mpc] and v [km/s], and a pixel's widths."""

    centres: Float[Tensor, "2 pixel"]
    pixel: Float[Tensor, "2 1"]


class Kernel(NamedTuple):
    """Galaxies relative to their mean, and the kernel's covariance H (Kodi Ramanah et al. 2020, eq. A1), per cluster.

    Attributes:
        position: Distance and velocity of each galaxy, relative to the mean.
        is_galaxy: False for padding.
        mean: Mean distance and velocity.
        variance: H_RR and H_vv.
        H_Rv: Covariance of R and v.
        H_v_at_R: Variance of v at a given R, H_vv (1 - rho^2).
    """

    position: Float[Tensor, "cluster 2 galaxy"]
    is_galaxy: Bool[Tensor, "cluster 1 galaxy"]
    mean: Float[Tensor, "cluster 2 1"]
    variance: Float[Tensor, "cluster 2 1"]
    H_Rv: Float[Tensor, "cluster 1 1"]
    H_v_at_R: Float[Tensor, "cluster 1 1"]

    @classmethod
    def from_galaxies(cls, x: Float[Tensor, "cluster galaxy 3"], factor: float) -> "Kernel":
        """The kernel whose covariance is factor^2 times the galaxies' sample covariance."""
        x = x.double().mT.contiguous()
        is_galaxy = x[:, 2:] > 0
        n = is_galaxy.sum(2, keepdim=True, dtype=torch.float64)
        position = torch.where(is_galaxy, x[:, :2], 0)
        mean = position.sum(2, keepdim=True) / n.clamp(min=1)
        position = (position - mean).mul_(is_galaxy)
        R, v = position.split(1, 1)
        scale = factor**2 / (n - 1).clamp(min=1)
        variance, H_Rv = scale * position.square().sum(2, keepdim=True), scale * (R * v).sum(2, keepdim=True)
        # from the residuals: H_vv - H_Rv^2 / H_RR would cancel
        H_v_at_R = scale * (v - H_Rv / variance[:, :1] * R).square_().sum(2, keepdim=True)
        return cls(position, is_galaxy, mean, variance, H_Rv, H_v_at_R)

    def rows(self, rows: Tensor) -> "Kernel":
        """Kernels of selected clusters."""
        return Kernel(*(part[rows] for part in self))

    def scaled(self, by: Float[Tensor, "2"]) -> "Kernel":
        """The kernel's width multiplied along either axis, its correlation kept."""
        variance, H_v_at_R = self.variance * by.square()[:, None], self.H_v_at_R * by[1] ** 2
        return self._replace(variance=variance, H_Rv=self.H_Rv * by.prod(), H_v_at_R=H_v_at_R)

    def widened(self, grid: Grid) -> "Kernel":
        """One pixel added in quadrature to the kernel's width along both axes."""
        variance = self.variance + grid.pixel.square()
        H_RR, H_vv = variance.split(1, 1)
        return self._replace(variance=variance, H_v_at_R=H_vv - self.H_Rv**2 / H_RR)

    def peak(self) -> Float[Tensor, "cluster 1 1"]:
        """Density at the centre of a single galaxy's kernel [h Mpc^-1 (km/s)^-1]."""
        n = self.is_galaxy.sum(2, keepdim=True, dtype=torch.float64).clamp(min=1)
        return 1 / (2 * pi * n * (self.variance[:, :1] * self.H_v_at_R).sqrt())

    def is_singular(self, grid: Grid) -> Bool[Tensor, " cluster"]:
        """Whether galaxies are at one place, radius or velocity, or on a line."""
        wide = (self.variance > (_POINT * grid.pixel).square()).all(1)
        return ~(wide & (self.H_v_at_R > _SINGULAR * self.variance[:, 1:])[:, 0])[:, 0]


def factorised(
    kernel: Kernel, grid: Grid, dtype: torch.dtype = torch.float64
) -> tuple[Float[Tensor, "cluster R v"], Bool[Tensor, " cluster"]]:
    """Sum of the kernels in units of their peak, and whether it is accurate for each cluster.

    In float32 that is to 2e-6 of the image's maximum.
    """
    limits, width = _LIMITS[dtype], kernel.variance.sqrt()
    alpha = _LOG2_E * kernel.variance[:, 1:] / kernel.H_v_at_R  # 1 / (1 - rho^2), for powers of 2
    rho = kernel.H_Rv / width.prod(1, keepdim=True)
    kappa = rho * alpha
    x, pixels = kernel.position / width, (grid.centres - kernel.mean) / width
    x_max, other = x.abs().amax(2, keepdim=True), x.flip(1)
    # pixels that no galaxy reaches are moved nearer, so that the cross term stays finite
    pixels = torch.minimum(torch.maximum(pixels, -x_max - limits.reach), x_max + limits.reach)
    product, square = kappa * x.prod(1, keepdim=True), 0.5 * kappa * rho
    largest = torch.where(kernel.is_galaxy, square * other.square() - 0.5 * product, _NEVER)
    f, h = _factors((0.5 * alpha).sqrt(), x - rho * other, pixels, largest, dtype).unbind(1)
    cross = (kappa * pixels[:, :1]).to(dtype).mT * pixels[:, 1:].to(dtype)
    image = torch.bmm(f.mT, h).mul_(cross.exp2_())
    product = product.abs().amax(2)
    corner = (kappa.abs() * pixels.abs().amax(2, keepdim=True).prod(1, keepdim=True))[:, 0]
    bound = corner + product + (square * x_max.square().sum(1, keepdim=True))[:, 0]
    holds = ((bound <= limits.exponent) & (product <= limits.product))[:, 0]
    return image, holds & (image.amax((1, 2)) >= limits.faint) & ~kernel.is_singular(grid)


def _factors(
    steepness: Tensor, galaxies: Tensor, pixels: Tensor, largest: Tensor, dtype: torch.dtype
) -> Float[Tensor, "cluster 2 galaxy pixel"]:
    """2^(largest - steepness^2 (pixel - galaxy)^2) along both axes."""
    distance = (steepness * galaxies).to(dtype)[..., None] - (steepness * pixels).to(dtype)[:, :, None]
    exponent = torch.addcmul(largest.to(dtype)[..., None], distance, distance, value=-1)
    return exponent.clamp_(min=_LIMITS[dtype].least).exp2_()


def direct(kernel: Kernel, grid: Grid) -> Float[Tensor, "cluster R v"]:
    """Sum of the kernels in units of their peak, one exponential for each galaxy and pixel."""
    (X, Y), (R, v) = (part.unbind(1) for part in (grid.centres - kernel.mean, kernel.position))
    half = (0.5 * _LOG2_E / kernel.H_v_at_R).sqrt()
    columns = []
    for some in X.split(max(1, _BLOCK // max(kernel.position.numel() * X.shape[1], 1)), 1):
        offset = some[..., None] - R[:, None]
        log_weight = torch.where(kernel.is_galaxy, -0.5 * _LOG2_E * offset.square() / kernel.variance[:, :1], _NEVER)
        centre = half * (v[:, None] + kernel.H_Rv / kernel.variance[:, :1] * offset)
        distance = (half * Y[:, None])[:, :, None] - centre[..., None]
        columns.append(torch.addcmul(log_weight[..., None], distance, distance, value=-1).exp2_().sum(2))
    return torch.cat(columns, 1)


def is_resolved(exact: Float[Tensor, "cluster R v"], kernel: Kernel, grid: Grid) -> Bool[Tensor, " cluster"]:
    """Whether the direct sum gives an image; otherwise the kernel must be widened."""
    return (exact.amax((1, 2)) >= _VANISHED) & ~kernel.is_singular(grid)


def sum_to_one(image: Float[Tensor, "cluster R v"]) -> Float[Tensor, "cluster pixel"]:
    """Pixels divided by their sum; a uniform image where that is 0."""
    image = image.flatten(1)
    total = image.sum(1, keepdim=True)
    empty = total == 0
    return (image / (total + empty)).add_(empty / image.shape[1])

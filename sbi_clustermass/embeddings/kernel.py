r"""Sums of Gaussian kernels on a grid of pixels in projected phase space.

Distances are comoving [h^-1 Mpc], velocities [km/s]; kernels are float64. In units of the kernel's widths, with the
cluster's mean as origin, a kernel of correlation $\rho$ factorises over pixels $(X_a, Y_b)$ and galaxies $(x_i, y_i)$,
$$e^{-q/2} = e^{\kappa X_a Y_b} f_i(X_a) h_i(Y_b), \qquad \kappa = \rho / (1 - \rho^2),$$
which costs 100 exponentials a galaxy instead of 2500. The factors can be huge where their product is not: clusters for
which they could overflow, or whose pixels all lie far out in the kernels' tails, are summed in another way.
"""

from math import pi
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_VANISHED = 1e-250  # [kernel peak] a fainter image vanishes in float64
_SINGULAR = 1e-10  # 1 - rho^2 at and below which a covariance counts as singular
_POINT = 1e-6  # [pixel] kernel width at and below which a covariance counts as singular
_NEVER = -1e30  # exponent of the padding


class _Limits(NamedTuple):
    """What a floating-point type holds of the factors: terms down to `faint` times 1e-10 survive.

    Attributes:
        exponent: Largest bound on the factors' exponents.
        least: Exponent that stands for all lower ones, of which exponentials take ten times as long.
        reach: Distance beyond the outermost galaxy at which a pixel is as good as empty [kernel widths].
        faint: Least accurate maximum of an image [kernel peak].
    """

    exponent: float
    least: float
    reach: float
    faint: float


_LIMITS = {torch.float64: _Limits(600.0, -700.0, 38.7, 1e-15), torch.float32: _Limits(40.0, -80.0, 7.0, 1e-2)}


class Grid(NamedTuple):
    """Centres of the pixels in R [h^-1 Mpc] and v [km/s], and a pixel's widths."""

    R: Float[Tensor, " R"]
    v: Float[Tensor, " v"]
    pixel: tuple[float, float]


class Kernel(NamedTuple):
    """Galaxies relative to their mean, and the kernel's covariance H (Kodi Ramanah et al. 2020, eq. A1), per cluster.

    Fields are (cluster, galaxy) or (cluster, 1); `H_v_at_R` is the variance of v at a given R, H_vv (1 - rho^2).
    """

    R: Tensor
    v: Tensor
    is_galaxy: Tensor
    mean_R: Tensor
    mean_v: Tensor
    H_RR: Tensor
    H_Rv: Tensor
    H_vv: Tensor
    H_v_at_R: Tensor

    @classmethod
    def from_galaxies(cls, x: Float[Tensor, "cluster galaxy 3"], factor: float) -> "Kernel":
        """The kernel whose covariance is factor^2 times the galaxies' sample covariance."""
        is_galaxy = x[..., 2] > 0
        n = is_galaxy.sum(1, keepdim=True).double()
        R, v = (torch.where(is_galaxy, part, 0) for part in (x[..., 0], x[..., 1]))
        mean_R, mean_v = (part.sum(1, keepdim=True) / n.clamp(min=1) for part in (R, v))
        R, v = (R - mean_R) * is_galaxy, (v - mean_v) * is_galaxy
        scale = factor**2 / (n - 1).clamp(min=1)
        H_RR, H_Rv, H_vv = (scale * (a * b).sum(1, keepdim=True) for a, b in ((R, R), (R, v), (v, v)))
        # from the residuals: H_vv - H_Rv^2 / H_RR would cancel
        H_v_at_R = scale * (v - H_Rv / H_RR * R).square().sum(1, keepdim=True)
        return cls(R, v, is_galaxy, mean_R, mean_v, H_RR, H_Rv, H_vv, H_v_at_R)

    def rows(self, rows: Tensor) -> "Kernel":
        """Kernels of selected clusters."""
        return Kernel(*(part[rows] for part in self))

    def scaled(self, by_R: Tensor, by_v: Tensor) -> "Kernel":
        """The kernel's width multiplied along either axis, its correlation kept."""
        H_RR, H_Rv, H_vv = self.H_RR * by_R**2, self.H_Rv * (by_R * by_v), self.H_vv * by_v**2
        return self._replace(H_RR=H_RR, H_Rv=H_Rv, H_vv=H_vv, H_v_at_R=self.H_v_at_R * by_v**2)

    def widened(self, pixel: tuple[float, float]) -> "Kernel":
        """One pixel added in quadrature to the kernel's width along both axes, in (R, v)."""
        H_RR, H_vv = self.H_RR + pixel[0] ** 2, self.H_vv + pixel[1] ** 2
        return self._replace(H_RR=H_RR, H_vv=H_vv, H_v_at_R=H_vv - self.H_Rv**2 / H_RR)

    def peak(self) -> Float[Tensor, "cluster 1 1"]:
        """Density at the centre of a single galaxy's kernel [h Mpc^-1 (km/s)^-1]."""
        n = self.is_galaxy.sum(1, keepdim=True).double().clamp(min=1)
        return (1 / (2 * pi * n * (self.H_RR * self.H_v_at_R).sqrt()))[..., None]

    def is_singular(self, pixel: tuple[float, float]) -> Bool[Tensor, " cluster"]:
        """Whether galaxies are at one place, radius or velocity, or on a line."""
        point_R, point_v = (_POINT * width for width in pixel)
        wide = torch.minimum(self.H_RR / point_R**2, self.H_vv / point_v**2) > 1
        return ~(wide & (self.H_v_at_R > _SINGULAR * self.H_vv))[:, 0]


def factorised(
    kernel: Kernel, grid: Grid, dtype: torch.dtype = torch.float64
) -> tuple[Float[Tensor, "cluster R v"], Bool[Tensor, " cluster"]]:
    """Sum of the kernels in units of their peak, and whether it is accurate for each cluster.

    In float32 that is to 2e-6 of the image's maximum.
    """
    limits = _LIMITS[dtype]
    h_R, h_v = kernel.H_RR.sqrt(), kernel.H_vv.sqrt()
    alpha = kernel.H_vv / kernel.H_v_at_R  # 1 / (1 - rho^2)
    kappa = kernel.H_Rv / (h_R * h_v) * alpha
    x, y = kernel.R / h_R, kernel.v / h_v
    x_max, y_max = (part.abs().amax(1, keepdim=True) for part in (x, y))
    X, Y = (part / h for part, h in zip(_from_mean(kernel, grid), (h_R, h_v), strict=True))
    # pixels that no galaxy reaches are moved nearer, so that the cross term stays finite
    X, Y = (part.clamp(-end - limits.reach, end + limits.reach) for part, end in ((X, x_max), (Y, y_max)))
    shared, width = 0.5 * kappa * x * y, (0.5 * alpha).sqrt()
    f = _factor(width * X, width * x, kappa * X, y, torch.where(kernel.is_galaxy, shared, _NEVER), dtype)
    h = _factor(width * Y, width * y, kappa * Y, x, shared, dtype)
    cross = (kappa * X).to(dtype)[:, :, None] * Y.to(dtype)[:, None, :]
    bound = kappa.abs() * (X.abs().amax(1, keepdim=True) * Y.abs().amax(1, keepdim=True) + x_max * y_max)
    bound = bound + 0.5 * kappa**2 / alpha * (x_max**2 + y_max**2)
    image = torch.bmm(f.mT, h).mul_(cross.exp_())
    seen = image.amax((1, 2)) >= limits.faint
    return image, (bound[:, 0] <= limits.exponent) & seen & ~kernel.is_singular(grid.pixel)


def direct(kernel: Kernel, grid: Grid) -> Float[Tensor, "cluster R v"]:
    """Sum of the kernels in units of their peak, one exponential for each galaxy and pixel."""
    X, Y = _from_mean(kernel, grid)
    slope, width = kernel.H_Rv / kernel.H_RR, kernel.H_v_at_R.sqrt()
    columns = []
    for column in X.unbind(1):
        offset = column[:, None] - kernel.R
        log_weight = torch.where(kernel.is_galaxy, -0.5 * offset**2 / kernel.H_RR, _NEVER)
        exponent = (Y / width)[:, None, :] - ((kernel.v + slope * offset) / width)[..., None]
        columns.append(exponent.square_().mul_(-0.5).add_(log_weight[..., None]).exp_().sum(1))
    return torch.stack(columns, 1)


def is_resolved(exact: Float[Tensor, "cluster R v"], kernel: Kernel, grid: Grid) -> Bool[Tensor, " cluster"]:
    """Whether the direct sum gives an image; otherwise the kernel must be widened."""
    return (exact.amax((1, 2)) >= _VANISHED) & ~kernel.is_singular(grid.pixel)


def sum_to_one(image: Float[Tensor, "cluster R v"]) -> Float[Tensor, "cluster pixel"]:
    """Pixels divided by their sum; a uniform image where that is 0."""
    image = image.flatten(1)
    total = image.sum(1, keepdim=True)
    empty = total == 0
    return (image / (total + empty)).add_(empty / image.shape[1])


def _from_mean(kernel: Kernel, grid: Grid) -> tuple[Float[Tensor, "cluster R"], Float[Tensor, "cluster v"]]:
    return grid.R - kernel.mean_R, grid.v - kernel.mean_v


def _factor(
    pixels: Tensor, galaxies: Tensor, slope: Tensor, other: Tensor, constant: Tensor, dtype: torch.dtype
) -> Float[Tensor, "cluster galaxy pixel"]:
    """exp(constant - slope * other - (pixel - galaxy)^2) of each galaxy and pixel."""
    exponent = (galaxies.to(dtype)[..., None] - pixels.to(dtype)[:, None, :]).square_()
    left, right = torch.stack([other, constant], -1), torch.stack([-slope, torch.ones_like(slope)], 1)
    return exponent.baddbmm_(left.to(dtype), right.to(dtype), beta=-1).clamp_(min=_LIMITS[dtype].least).exp_()

r"""Sums of Gaussian kernels on a grid of pixels in projected phase space.

Distances are comoving [h^-1 Mpc], velocities [km/s]; all is float64. In units of the kernel's widths, with the
cluster's mean as origin, a kernel of correlation $\rho$ factorises over pixels $(X_a, Y_b)$ and galaxies $(x_i, y_i)$,
$$e^{-q/2} = e^{\kappa X_a Y_b} f_i(X_a) h_i(Y_b), \qquad \kappa = \rho / (1 - \rho^2),$$
which costs 100 exponentials a galaxy instead of 2500. The factors can be huge where their product is not: clusters for
which they could overflow, or whose pixels all lie far out in the kernels' tails, are summed directly.
"""

from math import pi
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_SAFE_EXPONENT = 600.0  # bound on the factors' exponents: float64 ends at 709 and terms down to exp(-60) must survive
_FAINT = 1e-15  # [kernel peak] a fainter image may have lost terms to underflow
_VANISHED = 1e-250  # [kernel peak] a fainter image vanishes in float64
_UNSEEN = 38.7  # [kernel widths] exp(-_UNSEEN^2 / 2) is 0 in float64
_SINGULAR = 1e-10  # 1 - rho^2 at and below which a covariance counts as singular
_POINT = 1e-6  # [pixel] kernel width at and below which a covariance counts as singular
_NEVER = -1e30  # exponent of the padding


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
        R, v = torch.where(is_galaxy, R - mean_R, 0), torch.where(is_galaxy, v - mean_v, 0)
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


def factorised(kernel: Kernel, grid: Grid) -> tuple[Float[Tensor, "cluster R v"], Bool[Tensor, " cluster"]]:
    """Sum of the kernels in units of their peak, and whether it is accurate for each cluster."""
    h_R, h_v = kernel.H_RR.sqrt(), kernel.H_vv.sqrt()
    alpha = kernel.H_vv / kernel.H_v_at_R  # 1 / (1 - rho^2)
    kappa = kernel.H_Rv / (h_R * h_v) * alpha
    x, y = kernel.R / h_R, kernel.v / h_v
    x_max, y_max = (part.abs().amax(1, keepdim=True) for part in (x, y))
    X, Y = (part / h for part, h in zip(_from_mean(kernel, grid), (h_R, h_v), strict=True))
    # pixels that no galaxy reaches are moved nearer, so that the cross term stays finite
    X, Y = X.clamp(-x_max - _UNSEEN, x_max + _UNSEEN), Y.clamp(-y_max - _UNSEEN, y_max + _UNSEEN)
    shared = 0.5 * kappa * x * y
    f = _factor(X, alpha * x - kappa * y, torch.where(kernel.is_galaxy, shared - 0.5 * alpha * x**2, _NEVER), alpha)
    h = _factor(Y, alpha * y - kappa * x, shared - 0.5 * alpha * y**2, alpha)
    cross = kappa[..., None] * X[:, :, None] * Y[:, None, :]
    bound = kappa.abs() * (X.abs().amax(1, keepdim=True) * Y.abs().amax(1, keepdim=True) + x_max * y_max)
    bound = bound + 0.5 * kappa**2 / alpha * (x_max**2 + y_max**2)
    image = torch.bmm(f.mT, h).mul_(cross.exp_())
    seen = image.amax((1, 2)) >= _FAINT
    return image, (bound[:, 0] <= _SAFE_EXPONENT) & seen & ~kernel.is_singular(grid.pixel)


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
    return torch.where(total == 0, 1 / image.shape[1], image / torch.where(total == 0, 1, total))


def _from_mean(kernel: Kernel, grid: Grid) -> tuple[Float[Tensor, "cluster R"], Float[Tensor, "cluster v"]]:
    return grid.R - kernel.mean_R, grid.v - kernel.mean_v


def _factor(pixels: Tensor, slope: Tensor, constant: Tensor, alpha: Tensor) -> Float[Tensor, "cluster galaxy pixel"]:
    """exp(slope * X + constant - alpha X^2 / 2) of each galaxy and pixel: the exponent is a product of two matrices."""
    galaxies = torch.stack([slope, constant, torch.ones_like(slope)], -1)
    return torch.bmm(galaxies, torch.stack([pixels, torch.ones_like(pixels), -0.5 * alpha * pixels**2], 1)).exp_()

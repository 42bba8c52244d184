r"""The paper's image of a cluster: a Gaussian kernel density estimate of its galaxies in projected phase space.

Distances are comoving [h^-1 Mpc], velocities [km/s]; sums run in float64. In units of the kernel's widths, with the
cluster's mean as origin, a kernel of correlation $\rho$ factorises over pixels $(X_a, Y_b)$ and galaxies $(x_i, y_i)$,
$$e^{-q/2} = e^{\kappa X_a Y_b} f_i(X_a) h_i(Y_b), \qquad \kappa = \rho / (1 - \rho^2),$$
which costs 100 exponentials a galaxy instead of 2500. The factors can be huge where their product is not: clusters for
which they could overflow, or whose pixels all lie far out in the kernels' tails, are summed directly.
"""

from collections.abc import Iterator
from math import pi, sqrt
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sbi_clustermass.embeddings.fields import check_counts, check_flags, check_positive
from sbi_clustermass.embeddings.galaxies import check_shape, log10_richness

CPU_CHUNK = 600_000  # numbers in one temporary: 5 MB; more leaves the cache, less is all overhead
GPU_CHUNK = 30_000_000  # numbers in one temporary: 240 MB
SAFE_EXPONENT = 600.0  # bound on the factors' exponents: float64 ends at 709 and terms down to exp(-60) must survive
FAINT = 1e-15  # [kernel peak] a fainter image may have lost terms to underflow
VANISHED = 1e-250  # [kernel peak] a fainter image is none in float64
UNSEEN = 38.7  # [kernel widths] exp(-UNSEEN^2 / 2) is 0 in float64
SINGULAR = 1e-10  # 1 - rho^2 at and below which a covariance counts as singular
POINT = 1e-6  # [pixel] kernel width at and below which a covariance counts as singular
NEVER = -1e30  # exponent of what is not there


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

    def rows(self, rows: Tensor) -> "Kernel":
        """The kernels of some clusters."""
        return Kernel(*(part[rows] for part in self))

    def widened(self, pixel: tuple[float, float]) -> "Kernel":
        """One pixel added in quadrature to the kernel's width along both axes, in (R, v)."""
        H_RR, H_vv = self.H_RR + pixel[0] ** 2, self.H_vv + pixel[1] ** 2
        return self._replace(H_RR=H_RR, H_vv=H_vv, H_v_at_R=H_vv - self.H_Rv**2 / H_RR)

    def peak(self) -> Float[Tensor, "cluster 1 1"]:
        """Density at the centre of a single galaxy's kernel [h Mpc^-1 (km/s)^-1]."""
        n = self.is_galaxy.sum(1, keepdim=True).double().clamp(min=1)
        return (1 / (2 * pi * n * (self.H_RR * self.H_v_at_R).sqrt()))[..., None]


@final
class KDEImage(nn.Module):
    """Gaussian kernel density estimate on a grid of pixel centres (Kodi Ramanah et al. 2020, appendix A), of sum 1.

    The kernel's covariance is factor^2 times the sample covariance of the cluster's galaxies, as in scipy's
    `gaussian_kde(..., bw_method=factor)`, with which `density` agrees to 1e-5 of the peak for any correlation.

    Where that is no image, one pixel is added in quadrature to the kernel's width along both axes. This happens if and
    only if (a) the covariance is singular: a single galaxy, a kernel narrower than 1e-6 pixel along an axis (all
    galaxies at one place, one radius or one velocity), or galaxies on a line (1 - rho^2 <= 1e-10, so any two galaxies);
    or (b) the kernels are so narrow that every pixel centre is below 1e-250 of a kernel's peak. A set without galaxies
    has density 0 and a uniform image; so does one too far outside the grid to reach it even then.

    There are no parameters to train, and no gradient with respect to the galaxies.

    Without `richness` a cluster with every galaxy repeated k times has the same image, but for the N - 1 in the sample
    covariance: 1/N of the kernel's width.

    Attributes:
        factor: Kernel covariance over sample covariance, square root [1]. The paper's h0 = 0.15 multiplies the
            covariance, hence sqrt(0.15); its first author's later code has factor = 0.15.
        aperture: Upper edge of R_proj [h^-1 Mpc]; the lower is 0.
        v_max: Upper edge of v_los [km/s]; the lower is -v_max.
        bins: Pixels along each axis.
        richness: Whether log10 N follows the pixels.
        shared_scale: Number of leading features that a flow standardises together: the pixels.
    """

    R_centres: Tensor
    v_centres: Tensor

    def __init__(
        self,
        factor: float = sqrt(0.15),
        aperture: float = 1.6,
        *,
        v_max: float = 2200.0,
        bins: int = 50,
        richness: bool = False,
    ) -> None:
        super().__init__()
        check_positive("KDEImage", factor=factor, aperture=aperture, v_max=v_max)
        check_counts("KDEImage", bins=bins)
        check_flags("KDEImage", richness=richness)
        self.factor, self.aperture, self.v_max, self.bins, self.richness = factor, aperture, v_max, bins, richness
        self.shared_scale = bins**2
        self.pixel = (aperture / bins, 2 * v_max / bins)
        half = torch.arange(bins, dtype=torch.float64) + 0.5
        self.register_buffer("R_centres", half * self.pixel[0], persistent=False)
        self.register_buffer("v_centres", half * self.pixel[1] - v_max, persistent=False)

    def config(self) -> dict[str, float | int]:
        """The fields, for a file: `KDEImage(**config)` is the same image."""
        return {name: getattr(self, name) for name in ("factor", "aperture", "v_max", "bins", "richness")}

    def forward(self, x: Float[Tensor, "batch galaxy 3"]) -> Float[Tensor, "batch pixel"]:
        """Images of sum 1, in the type of x; the pixel of (R, v) bin (a, b) is a * bins + b. Then log10 N, if asked.

        Args:
            x: R_proj [h^-1 Mpc], v_los [km/s], and 1 for a galaxy or 0 for padding.

        Raises:
            ValueError: If x has another shape.
        """
        image = x.new_empty(len(x), self.bins**2)
        for rows, density in self._densities(x):
            image[rows] = _sum_to_one(density.flatten(1)).to(x.dtype)
        return torch.cat([image, log10_richness(x)], 1) if self.richness else image

    def density(self, x: Float[Tensor, "batch galaxy 3"]) -> Float[Tensor, "batch R v"]:
        """Density at the pixel centres [h Mpc^-1 (km/s)^-1], in float64: its integral over the whole plane is 1.

        Args:
            x: As for `forward`.

        Raises:
            ValueError: If x has another shape.
        """
        image = x.new_empty(len(x), self.bins, self.bins, dtype=torch.float64)
        for rows, density in self._densities(x):
            image[rows] = density
        return image

    @torch.no_grad()
    def _densities(self, x: Tensor) -> Iterator[tuple[Tensor, Float[Tensor, "rows R v"]]]:
        check_shape("KDEImage", x)
        x = x if x.shape[1] else x.new_zeros(len(x), 1, 3)
        for rows, width in _chunks(x[..., 2] > 0, self.bins):
            yield rows, self._density(self._kernel(x[rows, :width].double()))

    def _kernel(self, x: Float[Tensor, "cluster galaxy 3"]) -> Kernel:
        is_galaxy = x[..., 2] > 0
        n = is_galaxy.sum(1, keepdim=True).double()
        R, v = (torch.where(is_galaxy, part, 0) for part in (x[..., 0], x[..., 1]))
        mean_R, mean_v = (part.sum(1, keepdim=True) / n.clamp(min=1) for part in (R, v))
        R, v = torch.where(is_galaxy, R - mean_R, 0), torch.where(is_galaxy, v - mean_v, 0)
        scale = self.factor**2 / (n - 1).clamp(min=1)
        H_RR, H_Rv, H_vv = (scale * (a * b).sum(1, keepdim=True) for a, b in ((R, R), (R, v), (v, v)))
        # from the residuals: H_vv - H_Rv^2 / H_RR would cancel
        H_v_at_R = scale * (v - H_Rv / H_RR * R).square().sum(1, keepdim=True)
        return Kernel(R, v, is_galaxy, mean_R, mean_v, H_RR, H_Rv, H_vv, H_v_at_R)

    def _density(self, kernel: Kernel) -> Float[Tensor, "cluster R v"]:
        image, exponent = self._factorised(kernel)
        accurate = (exponent[:, 0] <= SAFE_EXPONENT) & (image.amax((1, 2)) >= FAINT) & ~self._is_singular(kernel)
        density = image * kernel.peak()
        # one synchronisation; a meta tensor has no values to choose by, so that it takes both roads
        rows = torch.arange(len(image)) if image.is_meta else (~accurate).nonzero()[:, 0]
        if len(rows):
            density[rows] = self._direct_or_widened(kernel.rows(rows))
        return density

    def _is_singular(self, kernel: Kernel) -> Bool[Tensor, " cluster"]:
        point_R, point_v = (POINT * pixel for pixel in self.pixel)
        wide = torch.minimum(kernel.H_RR / point_R**2, kernel.H_vv / point_v**2) > 1
        return ~(wide & (kernel.H_v_at_R > SINGULAR * kernel.H_vv))[:, 0]

    def _pixels(self, kernel: Kernel) -> tuple[Float[Tensor, "cluster R"], Float[Tensor, "cluster v"]]:
        return self.R_centres.double() - kernel.mean_R, self.v_centres.double() - kernel.mean_v

    def _factorised(self, kernel: Kernel) -> tuple[Float[Tensor, "cluster R v"], Float[Tensor, "cluster 1"]]:
        """Sum of the kernels in units of their peak, and a bound on the exponents that were met on the way."""
        h_R, h_v = kernel.H_RR.sqrt(), kernel.H_vv.sqrt()
        alpha = kernel.H_vv / kernel.H_v_at_R  # 1 / (1 - rho^2)
        kappa = kernel.H_Rv / (h_R * h_v) * alpha
        x, y = kernel.R / h_R, kernel.v / h_v
        x_max, y_max = (part.abs().amax(1, keepdim=True) for part in (x, y))
        X, Y = (part / h for part, h in zip(self._pixels(kernel), (h_R, h_v), strict=True))
        # pixels that no galaxy reaches may as well stand nearer: the cross term stays finite
        X, Y = X.clamp(-x_max - UNSEEN, x_max + UNSEEN), Y.clamp(-y_max - UNSEEN, y_max + UNSEEN)
        shared = 0.5 * kappa * x * y
        f = _factor(X, alpha * x - kappa * y, torch.where(kernel.is_galaxy, shared - 0.5 * alpha * x**2, NEVER), alpha)
        h = _factor(Y, alpha * y - kappa * x, shared - 0.5 * alpha * y**2, alpha)
        cross = kappa[..., None] * X[:, :, None] * Y[:, None, :]
        bound = kappa.abs() * (X.abs().amax(1, keepdim=True) * Y.abs().amax(1, keepdim=True) + x_max * y_max)
        bound = bound + 0.5 * kappa**2 / alpha * (x_max**2 + y_max**2)
        return torch.bmm(f.mT, h).mul_(cross.exp_()), bound

    def _direct_or_widened(self, kernel: Kernel) -> Float[Tensor, "cluster R v"]:
        exact, wide = self._direct(kernel), kernel.widened(self.pixel)
        is_image = (exact.amax((1, 2)) >= VANISHED) & ~self._is_singular(kernel)
        return torch.where(is_image[:, None, None], exact * kernel.peak(), self._direct(wide) * wide.peak())

    def _direct(self, kernel: Kernel) -> Float[Tensor, "cluster R v"]:
        """Sum of the kernels in units of their peak, one exponential for each galaxy and pixel."""
        X, Y = self._pixels(kernel)
        slope, width = kernel.H_Rv / kernel.H_RR, kernel.H_v_at_R.sqrt()
        columns = []
        for column in X.unbind(1):
            offset = column[:, None] - kernel.R
            log_weight = torch.where(kernel.is_galaxy, -0.5 * offset**2 / kernel.H_RR, NEVER)
            exponent = (Y / width)[:, None, :] - ((kernel.v + slope * offset) / width)[..., None]
            columns.append(exponent.square_().mul_(-0.5).add_(log_weight[..., None]).exp_().sum(1))
        return torch.stack(columns, 1)


def _factor(pixels: Tensor, slope: Tensor, constant: Tensor, alpha: Tensor) -> Float[Tensor, "cluster galaxy pixel"]:
    """exp(slope * X + constant - alpha X^2 / 2) of each galaxy and pixel: the exponent is a product of two matrices."""
    galaxies = torch.stack([slope, constant, torch.ones_like(slope)], -1)
    return torch.bmm(galaxies, torch.stack([pixels, torch.ones_like(pixels), -0.5 * alpha * pixels**2], 1)).exp_()


def _chunks(is_galaxy: Bool[Tensor, "batch galaxy"], bins: int) -> Iterator[tuple[Tensor, int]]:
    """Rows of similar richness and the width that holds their galaxies, so that temporaries stay small."""
    if is_galaxy.is_meta:
        yield torch.arange(len(is_galaxy)), is_galaxy.shape[1]
        return
    position = torch.arange(1, is_galaxy.shape[1] + 1, device=is_galaxy.device)
    last, order = torch.where(is_galaxy, position, 0).amax(1).sort(descending=True)
    widths = last.tolist()  # the one synchronisation before the work
    budget = CPU_CHUNK if is_galaxy.device.type == "cpu" else GPU_CHUNK
    start = 0
    while start < len(widths):
        width = max(widths[start], 1)
        stop = start + max(1, budget // (width * bins))
        yield order[start:stop], width
        start = stop


def _sum_to_one(image: Float[Tensor, "cluster pixel"]) -> Float[Tensor, "cluster pixel"]:
    total = image.sum(1, keepdim=True)
    return torch.where(total == 0, 1 / image.shape[1], image / total)

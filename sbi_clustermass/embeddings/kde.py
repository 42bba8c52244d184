"""The paper's image of a cluster: a Gaussian kernel density estimate of its galaxies in projected phase space.

Distances are comoving [h^-1 Mpc], velocities [km/s]. How the kernels are summed: `kernel.py`.
"""

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from math import sqrt
from operator import neg
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sbi_clustermass.embeddings.checks import Choice, check_counts, check_flags, check_positive
from sbi_clustermass.embeddings.galaxies import FixedPlaces, NoWeights, by_richness, check_galaxies, log10_richness
from sbi_clustermass.embeddings.kernel import Grid, Kernel, direct, factorised, is_resolved, sum_to_one

CPU_CHUNK = 400_000  # galaxies times pixels of an axis, 3 MB of factors: more leaves the cache, less is overhead
_GPU_CHUNK = 30_000_000  # 240 MB of factors
_SLIMMEST = 0.6  # richness of a chunk's poorest cluster over that of its richest, on the CPU


@final
class KDEImage(Choice, FixedPlaces):
    """Gaussian kernel density estimate on a grid of pixel centres (Kodi Ramanah et al. 2020, appendix A), of sum 1.

    The kernel's covariance is factor^2 times the sample covariance of the cluster's galaxies, as in scipy's
    `gaussian_kde(..., bw_method=factor)`, with which image and density agree to 1e-5 of the peak for any correlation.
    Images of float32 galaxies are summed in float32 where that is accurate, to 2e-6 of the peak; all else in float64.

    Where that gives no image, one pixel is added in quadrature to the kernel's width along both axes. This happens if
    and only if (a) the covariance is singular: a single galaxy, a kernel narrower than 1e-6 pixel along an axis (all
    galaxies at one place, one radius or one velocity), or galaxies on a line (1 - rho^2 <= 1e-10, so any two galaxies);
    or (b) the kernels are so narrow that every pixel centre is below 1e-250 of a kernel's peak. A set without galaxies
    has density 0 and a uniform image; so does one too far outside the grid to reach it even then.

    There are no parameters to train, and no gradient with respect to the galaxies.

    Without `richness` a cluster with every galaxy repeated k times has the same image, up to the N - 1 in the sample
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
    pixels: Tensor

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
        self.no_weights = NoWeights()
        half = torch.arange(bins, dtype=torch.float64) + 0.5
        self.register_buffer("R_centres", half * self.pixel[0], persistent=False)
        self.register_buffer("v_centres", half * self.pixel[1] - v_max, persistent=False)
        self.register_buffer("pixels", torch.tensor(self.pixel, dtype=torch.float64)[:, None], persistent=False)

    def config(self) -> dict[str, float | int]:
        """Fields of the embedding, for a file: `KDEImage(**config)` gives the same image."""
        return {name: getattr(self, name) for name in ("factor", "aperture", "v_max", "bins", "richness")}

    def forward(self, x: Float[Tensor, "batch galaxy 3"]) -> Float[Tensor, "batch pixel"]:
        """Images of sum 1, in the type of x; the pixel of (R, v) bin (a, b) is a * bins + b. Then log10 N if asked.

        Args:
            x: R_proj [h^-1 Mpc], v_los [km/s], and 1 for a galaxy or 0 for padding.

        Raises:
            ValueError: x has another shape, or flags other than 1 and 0.
        """
        check_galaxies("KDEImage", x)
        image, rest = x.new_empty(len(x), self.bins**2), torch.arange(len(x), device=x.device)
        with without_autocast(x.device.type), torch.no_grad():
            if x.dtype != torch.float64 and not _rounds_products():
                rest = self._fill(image, x)
            for rows, density in self._densities(x[rest]):
                image.index_copy_(0, rest[rows], sum_to_one(density).to(x.dtype))
        return torch.cat([image, log10_richness(x)], 1) if self.richness else image

    def density(self, x: Float[Tensor, "batch galaxy 3"]) -> Float[Tensor, "batch R v"]:
        """Density at the pixel centres [h Mpc^-1 (km/s)^-1], in float64: its integral over the whole plane is 1.

        Args:
            x: As for `forward`.

        Raises:
            ValueError: x has another shape, or flags other than 1 and 0.
        """
        check_galaxies("KDEImage", x)
        image = x.new_empty(len(x), self.bins, self.bins, dtype=torch.float64)
        for rows, density in self._densities(x):
            image.index_copy_(0, rows, density)
        return image

    def _fill(self, image: Float[Tensor, "batch pixel"], x: Float[Tensor, "batch galaxy 3"]) -> Int[Tensor, " rest"]:
        """Fill in the images that are accurate in float32; rows of the others."""
        accurate = x.new_empty(len(x), dtype=torch.bool)
        for rows, kernel in self._kernels(x):
            sums, accurate[rows] = factorised(kernel, self.grid(), torch.float32)
            sums = sums.flatten(1)
            image.index_copy_(0, rows, sums.div_(sums.sum(1, keepdim=True)).to(image.dtype))
        return _others(accurate)

    def _densities(self, x: Float[Tensor, "batch galaxy 3"]) -> Iterator[tuple[Tensor, Tensor]]:
        for rows, kernel in self._kernels(x):
            yield rows, _density(kernel, self.grid())

    @torch.no_grad()
    def _kernels(self, x: Float[Tensor, "batch galaxy 3"]) -> Iterator[tuple[Tensor, Kernel]]:
        x = x if x.shape[1] else x.new_zeros(len(x), 1, 3)
        for rows, width in _chunks(x[..., 2] > 0, self.bins):
            yield rows, Kernel.from_galaxies(x[rows, :width], self.factor)

    def grid(self) -> Grid:
        """Centres and widths of the pixels."""
        return Grid(torch.stack([self.R_centres, self.v_centres]), self.pixels)


@final
class LearnedKDE(Choice, nn.Module):
    """A KDE image whose kernel's width is trained: one factor for R and one for v, both starting at `factor`.

    At the start this is `KDEImage`'s image, summed in float64; its docstring describes degenerate clusters.
    The kernel keeps the correlation of R and v. There is a gradient with respect to the two factors only. Images change
    with every weight update, so that none can be computed in advance.

    Attributes:
        factor: Kernel covariance over sample covariance, square root, at the start [1].
        aperture, v_max, bins, richness, shared_scale: As in `KDEImage`.
        log_growth: Natural log of the current factors over `factor`, in (R, v): the weights.
    """

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
        self.image = KDEImage(factor, aperture, v_max=v_max, bins=bins, richness=richness)
        self.shared_scale = self.image.shared_scale
        self.log_growth = nn.Parameter(torch.zeros(2))

    def config(self) -> dict[str, float | int]:
        """The fields, for a file: `LearnedKDE(**config)` starts at the same image."""
        return self.image.config()

    def factors(self) -> Float[Tensor, "2"]:
        """Present kernel width over the standard deviation of the sample, along R and v [1]."""
        return self.image.factor * self.log_growth.exp()

    def forward(self, x: Float[Tensor, "batch galaxy 3"]) -> Float[Tensor, "batch pixel"]:
        """Images of sum 1, as those of `KDEImage`.

        Args:
            x: R_proj [h^-1 Mpc], v_los [km/s], and 1 for a galaxy or 0 for padding.

        Raises:
            ValueError: x has another shape, or flags other than 1 and 0.
        """
        check_galaxies("LearnedKDE", x)
        image = by_richness(self._images, x if x.shape[1] else x.new_zeros(len(x), 1, 3))
        return torch.cat([image, log10_richness(x)], 1) if self.image.richness else image

    def _images(self, x: Float[Tensor, "batch galaxy 3"]) -> Float[Tensor, "batch pixel"]:
        kernel = Kernel.from_galaxies(x.detach(), self.image.factor)
        return sum_to_one(_grown_density(kernel, self.log_growth.double().exp(), self.image.grid())).to(x.dtype)


def without_autocast(device: str) -> AbstractContextManager[object]:
    """Switch autocast off on a kind of device; nothing is done where it is off or not to be had."""
    on = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if on else nullcontext()


def _rounds_products() -> bool:
    """Whether torch is allowed to round float32 in matrix products; it cannot tell after `fp32_precision` was set."""
    try:
        return torch.get_float32_matmul_precision() != "highest"
    except RuntimeError:
        return True


def _density(kernel: Kernel, grid: Grid) -> Float[Tensor, "cluster R v"]:
    image, accurate = factorised(kernel, grid)
    density, rows = image * kernel.peak(), _others(accurate)
    if len(rows):
        density[rows] = _direct_or_widened(kernel.rows(rows), grid)
    return density


def _others(accurate: Bool[Tensor, " cluster"]) -> Tensor:
    """Rows that are not accurate: one synchronisation; all of a meta tensor, which has no values to choose by."""
    return torch.arange(len(accurate), device="meta") if accurate.is_meta else (~accurate).nonzero()[:, 0]


def _direct_or_widened(kernel: Kernel, grid: Grid) -> Float[Tensor, "cluster R v"]:
    exact, wide = direct(kernel, grid), kernel.widened(grid)
    resolved = is_resolved(exact, kernel, grid)[:, None, None]
    return torch.where(resolved, exact * kernel.peak(), direct(wide, grid) * wide.peak())


def _grown_density(kernel: Kernel, growth: Float[Tensor, "2"], grid: Grid) -> Float[Tensor, "cluster R v"]:
    """As `_density` of the scaled kernel, but each cluster by its own method only: others have no finite gradient."""
    methods = _methods(kernel.scaled(growth.detach()), grid)
    fast, exact, wide = (kernel.rows(rows).scaled(growth) for rows in methods)
    sums = (fast, lambda *given: factorised(*given)[0]), (exact, direct), (wide.widened(grid), direct)
    densities = [image(some, grid) * some.peak() for some, image in sums if len(some.mean) or not len(kernel.mean)]
    return torch.cat(densities)[torch.cat(methods).argsort()[: len(kernel.mean)]]


@torch.no_grad()
def _methods(kernel: Kernel, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Rows to be summed by factors, directly, and directly with a wider kernel."""
    if kernel.mean.is_meta:
        every = torch.arange(len(kernel.mean), device=kernel.mean.device)
        return every, every, every
    accurate = factorised(kernel, grid)[1]
    slow = (~accurate).nonzero()[:, 0]
    rest = kernel.rows(slow)
    resolved = is_resolved(direct(rest, grid), rest, grid) if len(slow) else accurate[:0]
    return accurate.nonzero()[:, 0], slow[resolved], slow[~resolved]


def _chunks(is_galaxy: Bool[Tensor, "batch galaxy"], bins: int) -> Iterator[tuple[Tensor, int]]:
    """Rows of similar richness and the width that holds their galaxies, so that temporaries stay small."""
    if is_galaxy.is_meta:
        yield torch.arange(len(is_galaxy), device=is_galaxy.device), is_galaxy.shape[1]
        return
    position = torch.arange(1, is_galaxy.shape[1] + 1, device=is_galaxy.device, dtype=torch.int32)
    last, order = (position * is_galaxy).amax(1).clamp(min=1).sort(descending=True)
    widths = last.tolist()  # the one synchronisation before the work
    budget, slimmest = (CPU_CHUNK, _SLIMMEST) if is_galaxy.device.type == "cpu" else (_GPU_CHUNK, 0)
    start = 0
    while start < len(widths):
        width = widths[start]
        similar = bisect_right(widths, -slimmest * width, key=neg)
        stop = max(start + 1, min(start + budget // (width * bins), similar))
        yield order[start:stop], width
        start = stop

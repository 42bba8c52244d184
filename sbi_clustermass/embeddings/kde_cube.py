"""Kernel density estimate of a cluster's galaxies in three dimensions: two on the sky, and velocity.

Distances are comoving [h^-1 Mpc], velocities [km/s].
"""

from math import sqrt
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sbi_clustermass.embeddings.checks import Choice, check_counts, check_flags, check_positive
from sbi_clustermass.embeddings.galaxies import FixedPlaces, by_richness, check_galaxies, log10_richness
from sbi_clustermass.embeddings.kde import without_autocast
from sbi_clustermass.embeddings.sky import SKY, in_own_frame

_NARROWEST = 1e-3  # [voxel] a narrower kernel lies in one voxel, all but for a thousandth
_FILTERS, _LENGTH, _DENSE = (12, 8, 4), 3, (128, 64)  # of Kodi Ramanah et al. 2021


@final
class KDECube(FixedPlaces):
    """Share of a Gaussian kernel density estimate in each voxel of (x, y, v), as numbers (x y v) of one row a cluster.

    Positions are those of `in_own_frame`. The kernel has no correlations; its width along each axis is a factor times
    the root mean square of the galaxies' coordinates. The density is integrated over the voxels, not taken at their
    centres, so that it is finite however narrow the kernel. What lies outside the cube is lost: the sum is at most 1.

    Attributes:
        factor: Width of the kernel [rms of the coordinate].
        aperture: The cube ends at +-aperture in x and y [h^-1 Mpc], and at +-v_max in v [km/s].
        bins: Voxels along x and along y; twice as many along v.
        richness: Whether log10 N follows the voxels.
        sky: That observations have the columns of the sky.
    """

    sky_edges: Tensor
    v_edges: Tensor

    def __init__(self, factor: float, aperture: float, *, v_max: float, bins: int, richness: bool) -> None:
        super().__init__()
        self.factor, self.bins, self.richness, self.sky = factor, bins, richness, True
        self.narrowest = _NARROWEST * 2 * aperture / bins, _NARROWEST * v_max / bins
        self.register_buffer("sky_edges", torch.linspace(-aperture, aperture, bins + 1), persistent=False)
        self.register_buffer("v_edges", torch.linspace(-v_max, v_max, 2 * bins + 1), persistent=False)

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "batch galaxy 5"]) -> Float[Tensor, "batch voxel"]:
        """Cubes, in the type of x.

        Raises:
            ValueError: x has another shape, or flags other than 1 and 0.
        """
        check_galaxies("CubeCNN", x, 3 + SKY)
        x = x if x.shape[1] else x.new_zeros(len(x), 1, 3 + SKY)
        exact = x.to(torch.promote_types(x.dtype, torch.float32))  # half precision would move galaxies between voxels
        with without_autocast(x.device.type):
            cubes = by_richness(self._cubes, exact).to(x.dtype)
        return torch.cat([cubes, log10_richness(x)], 1) if self.richness else cubes

    def _cubes(self, x: Float[Tensor, "batch galaxy 5"]) -> Float[Tensor, "batch voxel"]:
        is_galaxy = x[..., 2] > 0
        weight = is_galaxy.to(x.dtype) / is_galaxy.sum(1, keepdim=True).clamp(min=1)
        sky = in_own_frame(x[..., 3:], is_galaxy)
        v = torch.where(is_galaxy, x[..., 1], 0)
        on_sky, along = (self.sky_edges, self.narrowest[0]), (self.v_edges, self.narrowest[1])
        in_x, in_y = (self._shares(each, weight, *on_sky) for each in sky.unbind(-1))
        in_pixels = torch.einsum("bga,bgc->bacg", in_x * weight[..., None], in_y).flatten(1, 2)
        return (in_pixels @ self._shares(v, weight, *along)).flatten(1)

    def _shares(
        self, place: Float[Tensor, "batch galaxy"], weight: Tensor, edges: Float[Tensor, " edge"], narrowest: float
    ) -> Float[Tensor, "batch galaxy pixel"]:
        """Share of each galaxy's kernel between neighbouring edges."""
        rms = (weight * place.square()).sum(1).sqrt()
        width = (self.factor * rms).clamp(min=narrowest)[:, None, None]
        return (0.5 * torch.erf((edges.to(place) - place[..., None]) / (sqrt(2) * width))).diff()


@final
class CubeCNN(Choice, nn.Module):
    """Convolutions of a kernel density estimate in (x, y, v), after Kodi Ramanah et al. 2021 (arXiv:2009.03340).

    Their numbers of filters and dense layers, on fewer voxels: the first two layers take every second one. Features do
    not change when a cluster is turned or reflected on the sky (`in_own_frame`), nor with `mirror` when its velocities
    are reversed. An observation has the two columns of `Catalogue.padded(sky=True)`.

    Attributes:
        factor, aperture, v_max, bins: Settings of the cube, as in `KDECube`.
        mirror: Whether the features are even in velocity.
        richness: Whether log10 N is an input of the dense layers.
        even: The same as `mirror`.
    """

    def __init__(
        self,
        factor: float = sqrt(0.15),
        aperture: float = 1.6,
        *,
        v_max: float = 2200.0,
        bins: int = 12,
        mirror: bool = True,
        richness: bool = False,
    ) -> None:
        super().__init__()
        check_positive("CubeCNN", factor=factor, aperture=aperture, v_max=v_max)
        check_counts("CubeCNN", bins=bins)
        check_flags("CubeCNN", mirror=mirror, richness=richness)
        self.aperture, self.v_max, self.even = aperture, v_max, mirror
        self.cube = KDECube(factor, aperture, v_max=v_max, bins=bins, richness=richness)
        self.network = CubeConvolutions(bins, mirror=mirror, richness=richness)

    def config(self) -> dict[str, float | int]:
        """Fields of the embedding, for a file: `CubeCNN(**config)` is the same network with new weights."""
        cube, own = self.cube, {"aperture": self.aperture, "v_max": self.v_max, "mirror": self.even}
        return {"factor": cube.factor, "bins": cube.bins, "richness": cube.richness, **own}

    @property
    def richness(self) -> bool:
        """Whether log10 N is an input."""
        return self.cube.richness

    def stages(self) -> tuple[KDECube, "CubeConvolutions"]:
        """The cube, which has no weights, and the network on it."""
        return self.cube, self.network

    def forward(self, x: Float[Tensor, "batch galaxy 5"]) -> Float[Tensor, "batch feature"]:
        """Features of each cluster, in no unit.

        Args:
            x: R_proj [h^-1 Mpc], v_los [km/s], 1 for a galaxy or 0 for padding, and the position on the sky.

        Raises:
            ValueError: x has another shape, or flags other than 1 and 0.
        """
        return self.network(self.cube(x))


@final
class CubeConvolutions(nn.Module):
    """The layers of `CubeCNN`, from voxels (and log10 N) to features."""

    def __init__(self, bins: int, *, mirror: bool, richness: bool) -> None:
        super().__init__()
        self.shape, self.mirror = (bins, bins, 2 * bins), mirror
        first, second, third = _FILTERS
        self.convolutions = nn.Sequential(
            nn.Conv3d(1, first, _LENGTH, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv3d(first, second, _LENGTH, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv3d(second, third, _LENGTH, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        left = -(-bins // 4)
        inputs = third * left**2 * -(-2 * bins // 4) + richness
        layers = nn.Linear(inputs, _DENSE[0]), nn.ReLU(), nn.Linear(_DENSE[0], _DENSE[1]), nn.ReLU()
        self.dense = nn.Sequential(*layers)

    def forward(self, summary: Float[Tensor, "batch voxel"]) -> Float[Tensor, "batch feature"]:
        """Features of cubes, scaled so that their mean voxel is about 1."""
        voxels, richness = summary.tensor_split([self.shape[0] * self.shape[1] * self.shape[2]], dim=1)
        cube = voxels.shape[1] * voxels.unflatten(1, (1, *self.shape))
        features = self._oriented(cube, richness)
        return 0.5 * (features + self._oriented(cube.flip(4), richness)) if self.mirror else features

    def _oriented(self, cube: Float[Tensor, "batch 1 x y v"], richness: Tensor) -> Float[Tensor, "batch feature"]:
        return self.dense(torch.cat([self.convolutions(cube), richness], 1))

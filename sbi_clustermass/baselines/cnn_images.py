"""Clusters as images for a convolutional network: Gaussian kernel density estimates, of the same shape for all.

Distances are comoving [h^-1 Mpc], velocities [km/s].
"""

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clustermocks.catalogue.catalogue import Catalogue
from sbi_clustermass.baselines.features import padded_blocks
from sbi_clustermass.embeddings.kde import KDEImage

NARROWEST = 0.25  # [pixel] smallest width of the kernel in one dimension


@final
@dataclass(frozen=True)
class ClusterImages:
    """Images of clusters with a mean pixel of 1, as in Ho et al. 2019: 48 pixels along each axis, factor 0.25.

    Attributes:
        dimensions: 1 for velocities, in one channel; 2 for velocities and distances, with a channel for each ring in R.
        aperture: Upper edge of R_proj [h^-1 Mpc].
        v_cut: Upper edge of v_los [km/s]; the lower is -v_cut.
        bins: Pixels along each axis.
        factor: Width of the kernel over the standard deviation of the cluster [1].
    """

    dimensions: Literal[1, 2]
    aperture: float
    v_cut: float
    bins: int = 48
    factor: float = 0.25

    @property
    def channels(self) -> int:
        """Rings in R, or 1."""
        return self.bins if self.dimensions == 2 else 1

    def __call__(self, clusters: Catalogue) -> Float[Tensor, "cluster channel pixel"]:
        """Images in float32; NaN for clusters of fewer than two galaxies."""
        image = torch.full((len(clusters), self.channels, self.bins), torch.nan)
        for rows, x in padded_blocks(clusters):
            image[torch.from_numpy(rows)] = self._image(torch.from_numpy(x)).to(image.dtype)
        return image

    def _image(self, x: Float[Tensor, "cluster galaxy 3"]) -> Float[Tensor, "cluster channel pixel"]:
        if self.dimensions == 1:
            return self.bins * self._velocities(x.double())[:, None]
        image = KDEImage(self.factor, self.aperture, v_max=self.v_cut, bins=self.bins)(x)
        return self.bins**2 * image.unflatten(1, (self.bins, self.bins))

    def _velocities(self, x: Float[Tensor, "cluster galaxy 3"]) -> Float[Tensor, "cluster pixel"]:
        """Density of velocities at the pixel centres, of sum 1."""
        v, real, n = x[..., 1], x[..., 2], x[..., 2].sum(1, keepdim=True)
        offset = real * (v - (real * v).sum(1, keepdim=True) / n)
        pixel = 2 * self.v_cut / self.bins
        width = (self.factor * (offset.square().sum(1, keepdim=True) / (n - 1)).sqrt()).clamp(min=NARROWEST * pixel)
        centres = pixel * (torch.arange(self.bins, dtype=x.dtype) + 0.5) - self.v_cut
        # one pixel at a time: all at once would take 48 times the memory of the galaxies
        columns = [(real * (-0.5 * ((c - v) / width).square()).exp()).sum(1) for c in centres]
        density = torch.stack(columns, 1)
        return density / density.sum(1, keepdim=True)


def has_image(image: Float[Tensor, "cluster channel pixel"]) -> np.ndarray:
    """Whether each cluster has an image, (cluster,)."""
    return torch.isfinite(image[:, 0, 0]).numpy()

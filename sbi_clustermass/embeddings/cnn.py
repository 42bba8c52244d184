"""A convolutional network on the image of a cluster, after Ho et al. 2019 (ApJ 887, 25)."""

from math import sqrt
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sbi_clustermass.embeddings.checks import Choice, check_flags
from sbi_clustermass.embeddings.kde import KDEImage

_FILTERS = (24, 10)
_LENGTHS = (5, 3)  # of the filters [pixel]
_POOL = 4  # [pixel]
_DENSE = (128, 64)


@final
class ImageCNN(Choice, nn.Module):
    """Convolutions of a KDE image along velocity, with its rings in R as channels.

    The layers are those of the "2-D" network of Ho et al. 2019, as in their public code (McWilliamsCenter/halo_cnn): 24
    filters of 5 velocity pixels, 10 of 3, the largest of every 4, dense layers of 128 and 64, all ReLU. It has
    neither their dropout nor their bound on the weights (training stops early instead), nor their image of 48 pixels
    and factor 0.25.

    With `mirror` the image and its reflection in velocity go through the same network, and the mean is taken: the
    features are even in velocity by construction, where Ho et al. add reflected copies to the training set.

    Attributes:
        factor, aperture, v_max, bins: Settings of the image, as in `KDEImage`.
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
        bins: int = 50,
        mirror: bool = True,
        richness: bool = False,
    ) -> None:
        super().__init__()
        check_flags("ImageCNN", mirror=mirror)
        self.image = KDEImage(factor, aperture, v_max=v_max, bins=bins, richness=richness)
        self.network = Convolutions(bins, mirror=mirror, richness=richness)
        self.even = mirror

    def config(self) -> dict[str, float | int]:
        """Fields of the embedding, for a file: `ImageCNN(**config)` is the same network with new weights."""
        return {**self.image.config(), "mirror": self.network.mirror}

    def stages(self) -> tuple[KDEImage, "Convolutions"]:
        """The image, which has no weights, and the network on it."""
        return self.image, self.network

    def forward(self, x: Float[Tensor, "batch galaxy 3"]) -> Float[Tensor, "batch feature"]:
        """Features of each cluster, in no unit.

        Args:
            x: R_proj [h^-1 Mpc], v_los [km/s], and 1 for a galaxy or 0 for padding.

        Raises:
            ValueError: x has another shape.
        """
        return self.network(self.image(x))


@final
class Convolutions(nn.Module):
    """The layers of `ImageCNN`, from pixels (and log10 N) to features."""

    def __init__(self, bins: int, *, mirror: bool, richness: bool) -> None:
        super().__init__()
        self.bins, self.mirror = bins, mirror
        self.convolutions = nn.Sequential(
            nn.Conv1d(bins, _FILTERS[0], _LENGTHS[0], padding="same"),
            nn.ReLU(),
            nn.Conv1d(_FILTERS[0], _FILTERS[1], _LENGTHS[1], padding="same"),
            nn.ReLU(),
            nn.MaxPool1d(_POOL, ceil_mode=True),
            nn.Flatten(),
        )
        inputs = _FILTERS[1] * -(-bins // _POOL) + richness
        layers = nn.Linear(inputs, _DENSE[0]), nn.ReLU(), nn.Linear(_DENSE[0], _DENSE[1]), nn.ReLU()
        self.dense = nn.Sequential(*layers)

    def forward(self, summary: Float[Tensor, "batch pixel"]) -> Float[Tensor, "batch feature"]:
        """Features of images of sum 1, scaled to a mean pixel of 1."""
        pixels, richness = summary.tensor_split([self.bins**2], dim=1)
        image = self.bins**2 * pixels.unflatten(1, (self.bins, self.bins))
        features = self._oriented(image, richness)
        return 0.5 * (features + self._oriented(image.flip(2), richness)) if self.mirror else features

    def _oriented(self, image: Float[Tensor, "batch R v"], richness: Tensor) -> Float[Tensor, "batch feature"]:
        return self.dense(torch.cat([self.convolutions(image), richness], 1))

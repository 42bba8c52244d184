"""Convolutional networks on images of clusters: Ho et al. 2019 (ApJ 887, 25), and with dropout Ho et al. 2021.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Float
from sklearn.model_selection import GroupShuffleSplit
from torch import Tensor, nn

from clustermocks.catalogue.catalogue import Catalogue
from sbi_clustermass.baselines.baseline import Prediction
from sbi_clustermass.baselines.cnn_images import ClusterImages, has_image
from sbi_clustermass.baselines.cnn_network import (
    Architecture,
    CNNTraining,
    Pairs,
    enable_dropout,
    gaussian_nll,
    squared_error,
    train,
)
from sbi_clustermass.baselines.features import of_known_mass
from sbi_clustermass.flows.device import resolve_device

LEAST = 20  # clusters to train on
BLOCK = 1000  # images per forward pass
POINTS = {1: Architecture((10, 5), pool=2, dropout=0.25), 2: Architecture((24, 10), pool=4, dropout=0.25)}
L2 = 1e-4  # penalty of the dropout networks in their public code; its gradient has a factor of 2


@final
@dataclass(frozen=True)
class CNN:
    """The networks of Ho et al. 2019, ApJ 887, 25, as in their public code when it was submitted.

    Commit 3779dba of McWilliamsCenter/halo_cnn: in two dimensions 24 filters of 5 velocity pixels and 10 of 3, the
    largest of every 4, a quarter dropped, dense layers of 128 and 64; in one dimension 10 and 5 filters, and the
    largest of every 2. The loss is the mean squared error. Their bound on the weights is omitted; `CNNTraining` lists
    how the training differs. The error, the same for all clusters, is the rms residual of the held-out clusters.

    Attributes:
        dimensions: 1 for velocities; 2 for velocities and distances.
        training: Settings of the training.
        device: "auto", "cpu" or "cuda".
    """

    dimensions: Literal[1, 2] = 2
    training: CNNTraining = field(default_factory=CNNTraining)
    device: str = "auto"

    def __post_init__(self) -> None:
        _check_dimensions(self)

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> "FittedCNN":
        """Train; the seed sets the weights, the batches and the held-out clusters.

        Raises:
            ValueError: Too few clusters of known mass, or an unknown device.
        """
        return _fit(self, mocks, POINTS[self.dimensions], seed)


@final
@dataclass(frozen=True)
class DropoutCNN:
    """Networks with an uncertainty: Ho et al. 2021, ApJ 908, 204 (arXiv:2006.13231), Gaussian with dropout.

    As `GaussDropoutRegressor` of McWilliamsCenter/halo_cnn: 24 filters of 5 and 10 of 3, dense layers of 128 and 64, a
    mean and a variance, dropout before every layer in training and in prediction, a penalty on squared weights (here on
    biases too). The prediction is the mixture over many dropout masks. Its variance is the mean of the variances
    (noise) plus the variance of the means (what the training set does not determine).

    Attributes:
        dimensions: 1 for velocities; 2 for velocities and distances.
        dropout: Dropout rate before each layer; the value of their later notebooks.
        passes: Number of dropout masks for a prediction.
        training: Settings of the training.
        device: "auto", "cpu" or "cuda".
    """

    dimensions: Literal[1, 2] = 2
    dropout: float = 0.1
    passes: int = 30
    training: CNNTraining = field(default_factory=lambda: CNNTraining(weight_decay=2 * L2))
    device: str = "auto"

    def __post_init__(self) -> None:
        _check_dimensions(self)
        if not 0 < self.dropout < 1 or self.passes < 1:
            found = f"dropout={self.dropout!r}, passes={self.passes!r}"
            raise ValueError(f"DropoutCNN: found {found}. It needs 0 < dropout < 1, and 1 pass or more.")

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> "FittedCNN":
        """Train; the seed sets the weights, the batches, the dropout and the held-out clusters.

        Raises:
            ValueError: Too few clusters of known mass, or an unknown device.
        """
        return _fit(self, mocks, Architecture(outputs=2, before_layers=self.dropout), seed)


@final
@dataclass(frozen=True)
class FittedCNN:
    """A trained network.

    Attributes:
        images: Turns clusters into images.
        network: Maps images to standardised masses.
        centre: Mean of the training masses [dex].
        scale: Standard deviation of the training masses [dex].
        passes: Number of dropout masks for a prediction; 0 for a point with a constant error.
        history: Loss of the held-out clusters after each epoch, in standardised masses; the best epoch is used.
        seed: Seed of the dropout.
    """

    images: ClusterImages
    network: nn.Sequential
    centre: float
    scale: float
    passes: int
    history: tuple[float, ...]
    seed: int

    def predict(self, clusters: Catalogue) -> Prediction:
        """Predict masses, averaged over both signs of the velocity; NaN for clusters of fewer than two galaxies.

        Each pass uses one dropout mask for all clusters, so that a prediction does not depend on the other clusters.
        """
        image = self.images(clusters)
        known = has_image(image)
        mass, std = np.full((2, len(clusters)), np.nan)
        moments = self._point if self.passes == 0 else self._mixture
        mass[known], std[known] = self._in_blocks(moments, image[torch.from_numpy(known)])
        return Prediction(self.centre + self.scale * mass, self.scale * std)

    @torch.no_grad()
    def _in_blocks(
        self, moments: Callable[[Tensor], Float[Tensor, "block 2"]], image: Float[Tensor, "cluster channel pixel"]
    ) -> Float[np.ndarray, "2 cluster"]:
        device = next(self.network.parameters()).device
        enable_dropout(self.network, shared=True)
        with torch.random.fork_rng():
            parts = [moments(block.to(device)).cpu() for block in image.split(BLOCK)]
        return torch.cat([torch.zeros(0, 2), *parts]).T.double().numpy()

    def _point(self, image: Float[Tensor, "block channel pixel"]) -> Float[Tensor, "block 2"]:
        point = self._both_signs(image, number=0)[..., 0].mean(0)
        return torch.stack([point, torch.full_like(point, min(self.history) ** 0.5)], 1)

    def _mixture(self, image: Float[Tensor, "block channel pixel"]) -> Float[Tensor, "block 2"]:
        draws = torch.cat([self._both_signs(image, number=number) for number in range(self.passes)])
        mean, log_variance = draws.unbind(2)
        variance = log_variance.exp().mean(0) + mean.var(0, correction=0)
        return torch.stack([mean.mean(0), variance.sqrt()], 1)

    def _both_signs(
        self, image: Float[Tensor, "block channel pixel"], *, number: int
    ) -> Float[Tensor, "2 block output"]:
        """Outputs for both signs of the velocity, in the pass whose number sets the dropout mask."""
        outputs = []
        for seen in (image, image.flip(2)):
            torch.manual_seed(int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0]))
            outputs.append(self.network(seen))
        return torch.stack(outputs)


def split_by_host(clusters: Catalogue, share: float, seed: int) -> tuple[Catalogue, Catalogue]:
    """Divide clusters by host: those that are fitted, and a held-out share, at least one, that chooses the epoch."""
    split = GroupShuffleSplit(1, test_size=share, random_state=seed)
    fitted, held_out = next(split.split(clusters.host_id, groups=clusters.host_id))
    return clusters.select(fitted), clusters.select(held_out)


def _fit(choice: CNN | DropoutCNN, mocks: Catalogue, design: Architecture, seed: int) -> FittedCNN:
    known, device = of_known_mass(type(choice).__name__, mocks, LEAST), resolve_device(choice.device)
    observation, mass = known.observation, known.log10_mass
    images = ClusterImages(choice.dimensions, observation.aperture, observation.v_cut)
    centre, scale = float(np.mean(mass)), float(np.std(mass))
    fitting, validating = (
        Pairs(images(part).to(device), torch.tensor((part.log10_mass - centre) / scale, dtype=torch.float32).to(device))
        for part in split_by_host(known, choice.training.held_out, seed)
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = design.build(images.channels, images.bins).to(device)
        loss = gaussian_nll if design.outputs == 2 else squared_error
        history = train(network, fitting, validating, choice.training, loss)
    passes = choice.passes if isinstance(choice, DropoutCNN) else 0
    return FittedCNN(images, network, centre, scale, passes, tuple(history), seed)


def _check_dimensions(choice: CNN | DropoutCNN) -> None:
    if choice.dimensions not in POINTS:
        raise ValueError(f"{type(choice).__name__}: found dimensions={choice.dimensions!r}. Choose 1 or 2.")

r"""A learned summary of galaxies: Deep Sets.

$\rho(\mathrm{pool}_i\,\phi(R_i, v_i))$: Zaheer et al. 2017, "Deep Sets" (arXiv:1703.06114), theorem 2. For galaxies
that are independent given the mass the log-likelihood is itself a sum over galaxies, so that nothing need be lost.
"""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sbi_clustermass.embeddings.checks import Choice, check_counts, check_flags
from sbi_clustermass.embeddings.galaxies import (
    by_richness,
    check_galaxies,
    even_part,
    galaxy_inputs,
    log10_richness,
    perceptron,
    read_galaxies,
)
from sbi_clustermass.embeddings.sky import SKY


@final
class DeepSets(Choice, nn.Module):
    r"""A network on each galaxy, the mean and maximum of its features over the cluster, and a second network on these.

    With `mirror` the features are even in velocity by construction, and only that is lost: a galaxy's features
    are $e(R, |v|)$ and $v\,o(R, |v|)$, into which any smooth function of R and v splits; their means E and O go through
    $[\rho(E, O) + \rho(E, -O)] / 2$. Velocities reversed for the whole cluster change nothing, bit for bit; velocities
    relative to each other still count.

    Without `richness` the features are a function of the distribution of the galaxies: every galaxy repeated k times
    changes nothing. The noise of a small sample still reveals its size: `clustermocks.without_richness` makes a
    training set in which even that carries no information on the mass.

    Attributes:
        width: Number of neurons of each hidden layer, and of features of a galaxy.
        depth: Number of hidden layers of each of the two networks.
        features: Length of the output.
        mirror: Whether the features are even in velocity.
        richness: Whether log10 N is an input of the second network.
        sky: Whether positions on the sky are inputs of each galaxy, in the cluster's own frame (`in_own_frame`): an
            observation then has the two columns of `Catalogue.padded(sky=True)`.
    """

    def __init__(
        self,
        width: int = 64,
        depth: int = 2,
        *,
        features: int = 32,
        mirror: bool = True,
        richness: bool = True,
        sky: bool = False,
    ) -> None:
        super().__init__()
        check_counts("DeepSets", width=width, depth=depth, features=features)
        check_flags("DeepSets", mirror=mirror, richness=richness, sky=sky)
        self.width, self.depth, self.features = width, depth, features
        self.mirror, self.even, self.richness, self.sky = mirror, mirror, richness, sky
        odd = width if mirror else 0
        self.galaxy = perceptron((4 if mirror else 5) + SKY * sky, *[width] * depth, width + odd)
        self.cluster = perceptron(2 * width + odd + richness, *[2 * width] * depth, features)

    def config(self) -> dict[str, int]:
        """Fields of the embedding, for a file: `DeepSets(**config)` is the same network with new weights."""
        names = ("width", "depth", "features", "mirror", "richness", "sky")
        return {name: getattr(self, name) for name in names}

    def forward(self, x: Float[Tensor, "batch galaxy column"]) -> Float[Tensor, "batch feature"]:
        """Features of each cluster, in no unit.

        Args:
            x: R_proj [h^-1 Mpc], v_los [km/s], and 1 for a galaxy or 0 for padding; with `sky`, positions.

        Raises:
            ValueError: x has another shape, or flags other than 1 and 0.
        """
        check_galaxies("DeepSets", x, 3 + SKY * self.sky)
        even, odd = by_richness(self._pooled, x).split([2 * self.width, self.width * self.mirror], dim=1)
        if self.richness:
            even = torch.cat([even, log10_richness(x)], 1)
        return even_part(self.cluster, even, odd) if self.mirror else self.cluster(even)

    def _pooled(self, x: Float[Tensor, "batch galaxy column"]) -> Float[Tensor, "batch pooled"]:
        """Mean and maximum of the even features and mean of the odd ones over each cluster's galaxies."""
        galaxies = read_galaxies("DeepSets", x, sky=self.sky)
        # the padding holds a galaxy again, which a maximum does not see
        found = self.galaxy(galaxy_inputs(galaxies.refilled(), signed=not self.mirror))
        weight = galaxies.is_galaxy.to(x.dtype) / galaxies.is_galaxy.sum(1, keepdim=True).clamp(min=1)
        even, odd = torch.bmm(torch.stack([weight, weight * galaxies.unit_v()], 1), found).unbind(1)
        return torch.cat([even[:, : self.width], found[..., : self.width].amax(1), odd[:, self.width :]], 1)

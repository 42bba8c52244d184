"""A learned summary of galaxies that attend to each other: the Set Transformer.

Lee et al. 2019, "Set Transformer" (arXiv:1810.00825): attention through a few inducing points (ISAB), so that the cost
is linear in the number of galaxies, and pooling by attention (PMA).
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

_HEADS = 4
_SEEDS = 4  # queries by which a cluster's galaxies are pooled
_NEVER = -1e30  # attention to the padding, before the softmax


@final
class SetTransformer(Choice, nn.Module):
    """Galaxies that attend to each other through inducing points, pooled by attention, and a network on the result.

    With `mirror` the features are even in velocity, and without `richness` they are a function of the distribution of
    the galaxies, as those of `DeepSets`: galaxies attend by distance and speed, the pooled vectors are the attention's
    means of even features and of velocity times even features, and a softmax does not see repeated galaxies.

    Attributes:
        width: Number of features of a galaxy, a multiple of 4, the number of heads.
        blocks: Number of attention blocks.
        inducing: Number of inducing points of each block.
        features: Length of the output.
        mirror: Whether the features are even in velocity.
        richness: Whether log10 N is an input of the last network.
        sky: Whether positions on the sky are inputs of each galaxy, as in `DeepSets`.
    """

    def __init__(
        self,
        width: int = 32,
        blocks: int = 1,
        *,
        inducing: int = 8,
        features: int = 32,
        mirror: bool = True,
        richness: bool = True,
        sky: bool = False,
    ) -> None:
        super().__init__()
        check_counts("SetTransformer", width=width, blocks=blocks, inducing=inducing, features=features)
        check_flags("SetTransformer", mirror=mirror, richness=richness, sky=sky)
        if width % _HEADS:
            raise ValueError(
                f"SetTransformer: width is {width!r}. It needs a multiple of {_HEADS}, the number of heads."
            )
        self.width, self.inducing, self.features = width, inducing, features
        self.mirror, self.even, self.richness, self.sky = mirror, mirror, richness, sky
        self.galaxy = perceptron((4 if mirror else 5) + SKY * sky, width, width)
        self.blocks = nn.ModuleList(InducedAttention(width, inducing) for _ in range(blocks))
        self.pool = LearnedQueries(width, _SEEDS, values=width * (1 + mirror))
        self.cluster = perceptron(_SEEDS * width * (1 + mirror) + richness, 2 * width, 2 * width, features)

    def config(self) -> dict[str, int]:
        """Fields of the embedding, for a file: `SetTransformer(**config)` is the same network with new weights."""
        fields = {name: getattr(self, name) for name in ("width", "inducing", "features", "mirror", "richness", "sky")}
        return {**fields, "blocks": len(self.blocks)}

    def forward(self, x: Float[Tensor, "batch galaxy column"]) -> Float[Tensor, "batch feature"]:
        """Features of each cluster, in no unit.

        Args:
            x: R_proj [h^-1 Mpc], v_los [km/s], and 1 for a galaxy or 0 for padding; with `sky`, positions.

        Raises:
            ValueError: x has another shape, or flags other than 1 and 0.
        """
        check_galaxies("SetTransformer", x, 3 + SKY * self.sky)
        pooled = by_richness(self._pooled, x).unflatten(1, (_SEEDS, -1))
        even, odd = (part.flatten(1) for part in pooled.tensor_split([self.width], dim=2))
        if self.richness:
            even = torch.cat([even, log10_richness(x)], 1)
        return even_part(self.cluster, even, odd) if self.mirror else self.cluster(even)

    def _pooled(self, x: Float[Tensor, "batch galaxy column"]) -> Float[Tensor, "batch pooled"]:
        galaxies = read_galaxies("SetTransformer", x, sky=self.sky)
        mask = torch.where(galaxies.is_galaxy, 0.0, _NEVER).to(x.dtype)[..., None]
        tokens = self.galaxy(galaxy_inputs(galaxies, signed=not self.mirror))
        for block in self.blocks:
            tokens = block(tokens, mask)
        if not self.mirror:
            return self.pool(tokens, mask).flatten(1)
        v = galaxies.unit_v()[..., None].expand_as(tokens)
        return self.pool(tokens, mask, sign=torch.cat([torch.ones_like(v), v], -1)).flatten(1)


@final
class LearnedQueries(nn.Module):
    """Multi-head attention of learned queries to tokens; a query and the keys' weights are one linear map."""

    def __init__(self, width: int, queries: int, values: int) -> None:
        super().__init__()
        self.logits = nn.Linear(width, _HEADS * queries, bias=False)
        self.value = nn.Linear(width, values)

    def forward(
        self,
        tokens: Float[Tensor, "batch token width"],
        mask: Float[Tensor, "batch token 1"],
        *,
        sign: Tensor | int = 1,
    ) -> Float[Tensor, "batch query value"]:
        """Average the tokens' values, times `sign`, for each query; the mask is added to the log of the attention."""
        weights = (self.logits(tokens) + mask).softmax(1).unflatten(2, (_HEADS, -1)).permute(0, 2, 3, 1)
        return (weights @ _heads(self.value(tokens) * sign)).transpose(1, 2).flatten(2)


@final
class InducedAttention(nn.Module):
    """Attention of tokens to points that average over all of them (Lee et al. 2019, eq. 9), pre-normalised."""

    def __init__(self, width: int, inducing: int) -> None:
        super().__init__()
        self.before_attention, self.before_step = nn.LayerNorm(width), nn.LayerNorm(width)
        self.gather = LearnedQueries(width, inducing, width)
        self.query, self.key = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.value, self.mix = nn.Linear(width, width), nn.Linear(width, width)
        self.step = perceptron(width, 2 * width, width)

    def forward(
        self, tokens: Float[Tensor, "batch token width"], mask: Float[Tensor, "batch token 1"]
    ) -> Float[Tensor, "batch token width"]:
        """Update the tokens; masked ones do not influence the others."""
        normal = self.before_attention(tokens)
        points = self.gather(normal, mask)
        queries, keys, values = (_heads(part) for part in (self.query(normal), self.key(points), self.value(points)))
        weights = (queries @ keys.mT / keys.shape[-1] ** 0.5).softmax(-1)  # the fused one is slow on few keys
        tokens = tokens + self.mix((weights @ values).transpose(1, 2).flatten(2))
        return tokens + self.step(self.before_step(tokens))


def _heads(values: Float[Tensor, "batch token value"]) -> Float[Tensor, "batch head token part"]:
    return values.unflatten(-1, (_HEADS, -1)).transpose(1, 2)

"""A learned summary of the galaxies themselves in which they see each other: the Set Transformer.

Lee et al. 2019, "Set Transformer" (arXiv:1810.00825): attention through a few inducing points (ISAB), so that the cost
is linear in the number of galaxies, and pooling by attention (PMA).
"""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sbi_clustermass.embeddings.fields import check_counts, check_flags
from sbi_clustermass.embeddings.galaxies import (
    by_richness,
    even_in,
    galaxy_inputs,
    log10_richness,
    perceptron,
    read_galaxies,
)

HEADS = 4
SEEDS = 4  # queries by which a cluster's galaxies are pooled
NEVER = -1e30  # attention to the padding, before the softmax


@final
class SetTransformer(nn.Module):
    """Galaxies that attend to each other through inducing points, pooled by attention, and a network on the result.

    With `mirror` the features are even in velocity by construction, as those of `DeepSets`: galaxies attend by distance
    and speed, and the pooled vectors are the attention's means of even features and of velocity times even features.

    Without `richness` the features are a function of the distribution of the galaxies: every galaxy repeated k times
    changes nothing, because a softmax does not see it.

    Attributes:
        width: Features of a galaxy, a multiple of 4: the number of heads.
        blocks: Number of attention blocks.
        inducing: Inducing points of each block.
        features: Length of the output.
        mirror: Whether the features are even in velocity.
        richness: Whether log10 N is an input of the last network.
    """

    def __init__(
        self,
        width: int = 32,
        blocks: int = 2,
        *,
        inducing: int = 8,
        features: int = 32,
        mirror: bool = True,
        richness: bool = True,
    ) -> None:
        super().__init__()
        check_counts("SetTransformer", width=width, blocks=blocks, inducing=inducing, features=features)
        check_flags("SetTransformer", mirror=mirror, richness=richness)
        if width % HEADS:
            raise ValueError(
                f"SetTransformer: width is {width!r}. It needs a multiple of {HEADS}, the number of heads."
            )
        self.width, self.inducing, self.features = width, inducing, features
        self.mirror, self.richness = mirror, richness
        self.galaxy = perceptron(4 if mirror else 5, width, width)
        self.blocks = nn.ModuleList(InducedAttention(width, inducing) for _ in range(blocks))
        self.seeds = nn.Parameter(torch.randn(SEEDS, width))
        self.pool = Attention(width, values=width * (1 + mirror))
        self.cluster = perceptron(SEEDS * width * (1 + mirror) + richness, 2 * width, 2 * width, features)

    def config(self) -> dict[str, int]:
        """The fields, for a file: `SetTransformer(**config)` is the same network with new weights."""
        fields = {name: getattr(self, name) for name in ("width", "inducing", "features", "mirror", "richness")}
        return {**fields, "blocks": len(self.blocks)}

    def forward(self, x: Float[Tensor, "batch galaxy 3"]) -> Float[Tensor, "batch feature"]:
        """Features of each cluster, in no unit.

        Args:
            x: R_proj [h^-1 Mpc], v_los [km/s], and 1 for a galaxy or 0 for padding.

        Raises:
            ValueError: If x has another shape.
        """
        pooled = by_richness(self._pooled, x).unflatten(1, (SEEDS, -1))
        even, odd = (part.flatten(1) for part in pooled.tensor_split([self.width], dim=2))
        if self.richness:
            even = torch.cat([even, log10_richness(x)], 1)
        return even_in(self.cluster, even, odd) if self.mirror else self.cluster(even)

    def _pooled(self, x: Float[Tensor, "batch galaxy 3"]) -> Float[Tensor, "batch pooled"]:
        galaxies = read_galaxies("SetTransformer", x)
        mask = torch.where(galaxies.is_galaxy, 0.0, NEVER).to(x.dtype)[:, None, None]
        tokens = self.galaxy(galaxy_inputs(galaxies, signed=not self.mirror))
        for block in self.blocks:
            tokens = block(tokens, mask)
        sign = torch.cat([torch.ones_like(tokens), galaxies.unit_v().expand_as(tokens)], -1) if self.mirror else 1
        return self.pool(self.seeds.expand(len(x), -1, -1), tokens, mask, sign=sign).flatten(1)


@final
class Attention(nn.Module):
    """Multi-head attention: the values of tokens, averaged for each query."""

    def __init__(self, width: int, values: int) -> None:
        super().__init__()
        self.query, self.key = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.value = nn.Linear(width, values)

    def forward(
        self,
        queries: Float[Tensor, "batch query width"],
        tokens: Float[Tensor, "batch token width"],
        mask: Tensor | None = None,
        *,
        sign: Tensor | int = 1,
    ) -> Float[Tensor, "batch query value"]:
        """Averages, (batch, query, value).

        Args:
            queries: What asks.
            tokens: What answers.
            mask: Added to the attention's logarithm, (batch, 1, 1, token).
            sign: By what the tokens' values are multiplied, (batch, token, value).
        """
        parts = self.query(queries), self.key(tokens), self.value(tokens) * sign
        heads = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in parts)
        return nn.functional.scaled_dot_product_attention(*heads, attn_mask=mask).transpose(1, 2).flatten(2)


@final
class InducedAttention(nn.Module):
    """Tokens see each other through a few learned points, normalised before each step (Lee et al. 2019, eq. 9)."""

    def __init__(self, width: int, inducing: int) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.randn(inducing, width))
        self.before_attention, self.before_step = nn.LayerNorm(width), nn.LayerNorm(width)
        self.gather, self.spread = Attention(width, width), Attention(width, width)
        self.mix, self.step = nn.Linear(width, width), perceptron(width, 2 * width, width)

    def forward(self, tokens: Float[Tensor, "batch token width"], mask: Tensor) -> Float[Tensor, "batch token width"]:
        """New tokens; masked ones are not seen by the others."""
        normal = self.before_attention(tokens)
        seen = self.gather(self.points.expand(len(tokens), -1, -1), normal, mask)
        tokens = tokens + self.mix(self.spread(normal, seen))
        return tokens + self.step(self.before_step(tokens))

"""The builder of the paper's flow (Kodi Ramanah et al. 2020, arXiv:2003.05951), whose parts are in `affine_flow`.

They need sbi, which takes seconds to import: only a build imports them.
"""

from dataclasses import dataclass, field
from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor, nn

from sbi_clustermass.embeddings.kde import KDEImage
from sbi_clustermass.flows.base import BaseFlow, assemble
from sbi_clustermass.flows.embed_once import EmbedOnce
from sbi_clustermass.flows.mlp import StandardiseFeatures, mean_and_std


@final
@dataclass(frozen=True)
class StackedAffine(BaseFlow):
    """Stack of conditional affine blocks (Kodi Ramanah et al. 2020, arXiv:2003.05951): in one dimension, a Gaussian.

    Block k maps u to (u - mu_k(x)) / sigma_k(x). Affine maps compose to an affine map, so the density of one parameter
    is N(mu_1 + s_1 mu_2 + s_1 s_2 mu_3, (s_1 s_2 s_3)^2) for three blocks, whatever their number: more blocks only
    parametrise the same mean and width differently.

    For several parameters it is a masked autoregressive flow of unmasked blocks (the paper's footnote 4): mu_ki and
    sigma_ki are a network of its own for each parameter i, of the observation and of u_<i. Each parameter is a Gaussian
    given those before it, whose mean and width may depend on these in any way; the first is a Gaussian.

    With several components the base is a mixture of Gaussians (the paper's footnote 3) whose weights, means and widths
    depend on the observation, and so is the density of one parameter. A base that is the same for all clusters would
    give all posteriors one shape.

    The object is a builder for sbi: `NPE(prior, density_estimator=StackedAffine())`.

    Attributes:
        blocks: Number of affine blocks [1].
        hidden: Widths of each network of a block.
        embedding: Maps an observation to the networks' input; deep-copied when built, two flows share no weights.
        components: Number of Gaussians in the base [1]: 1 for the paper's N(0, 1).
        activation: Activation between the networks' layers: tanh, as published, elu, gelu, relu or silu.
    """

    name: ClassVar[str] = "stacked_affine"

    blocks: int = 3
    hidden: tuple[int, ...] = (512, 64, 512)
    embedding: nn.Module = field(default_factory=KDEImage)
    components: int = 1
    activation: str = "tanh"

    def _build(self, theta: Float[Tensor, "batch theta"], x: Float[Tensor, "batch *event"]) -> EmbedOnce:
        """Build from a batch that has been checked."""
        from sbi_clustermass.flows.affine_flow import AffineFlow, Conditioner, Layout

        layout = Layout(theta.shape[1], self.blocks, self.hidden, self.components, self.activation)

        def head(features: Tensor, shared: int) -> nn.Module:
            return Conditioner(StandardiseFeatures(features, shared=shared), layout)

        def inner(theta: Tensor, features: Tensor) -> AffineFlow:
            return AffineFlow(*mean_and_std(theta), layout)

        return assemble(self.embedding, theta, x, head=head, inner=inner)

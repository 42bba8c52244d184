"""Builders of sbi's mixtures of Gaussians: the mixture density network and the autoregressive mixture.

Their estimators, in `mixture_flows`, need sbi, which takes seconds to import: only a build imports them.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from sbi_clustermass.flows.base import SbiFlow
from sbi_clustermass.flows.density_estimator import DensityEstimator


@final
@dataclass(frozen=True, kw_only=True)
class MDN(SbiFlow):
    """Mixture density network (Bishop 1994, NCRG/94/004): a mixture of Gaussians, in one dimension and in several.

    Attributes:
        hidden_features: Width of the network's two hidden layers.
        num_components: Number of Gaussians.
    """

    name: ClassVar[str] = "mdn"

    hidden_features: int = 50
    num_components: int = 10

    def inner(self, theta: Tensor, features: Tensor) -> DensityEstimator:
        """Build sbi's estimator, mended."""
        from sbi_clustermass.flows.mixture_flows import MDNFlow

        return MDNFlow.from_stock(self.stock(theta, features))


@final
@dataclass(frozen=True, kw_only=True)
class MADE(SbiFlow):
    """Masked autoencoder with mixtures of Gaussians (Germain et al. 2015, arXiv:1502.03509).

    In one dimension a mixture of Gaussians; for several parameters, each is one given those before it. sbi's
    `num_blocks` is not an option of its builder: the network has five residual blocks.

    Attributes:
        hidden_features: Width of the network.
        num_mixture_components: Number of Gaussians.
    """

    name: ClassVar[str] = "made"

    hidden_features: int = 50
    num_mixture_components: int = 10

    def inner(self, theta: Tensor, features: Tensor) -> DensityEstimator:
        """Build sbi's estimator, mended."""
        from sbi_clustermass.flows.mixture_flows import MADEFlow

        stock = self.stock(theta, features)
        return MADEFlow(stock.net, stock.input_shape, stock.condition_shape)

"""sbi's mixtures of Gaussians: the mixture density network and the autoregressive mixture."""

from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from sbi.neural_nets.estimators.mixture_density_estimator import MixtureDensityEstimator
from sbi.neural_nets.estimators.mog import MoG
from sbi.neural_nets.net_builders import build_mdn
from torch import Tensor

from sbi_clustermass.flows.builder import SbiFlow
from sbi_clustermass.flows.within import Mixture


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

    def inner(self, theta: Tensor, features: Tensor) -> "MDNFlow":
        """sbi's `build_mdn`, mended."""
        return MDNFlow.of(build_mdn(theta, features, z_score_x="independent", z_score_y="none", **self.options()))


@final
class MDNFlow(MixtureDensityEstimator):
    """sbi's mixture density estimator with a density that integrates to one and belongs to its samples.

    sbi 0.27 adds 1e-4 to the precision with which it weighs distances, but not to the one that it normalises and
    samples with.
    """

    @classmethod
    def of(cls, stock: MixtureDensityEstimator) -> "MDNFlow":
        """The same network and standardisation."""
        z_score = torch.stack([stock.get_buffer("_transform_shift"), stock.get_buffer("_transform_scale")])
        return cls(stock.net, stock.input_shape, stock.condition_shape, transform_input=z_score)

    def get_uncorrected_mog(self, condition: Tensor) -> MoG:
        """The mixture at each condition, in standardised parameters."""
        mog = super().get_uncorrected_mog(condition)
        factors = mog.precision_factors
        return mog if factors is None else replace(mog, precisions=factors.mT @ factors)

    def mixture(self, condition: Tensor) -> Mixture:
        """Weights, means and widths of one parameter, in its units."""
        if self.input_shape != (1,):
            raise ValueError(f"a mixture of one parameter was asked for; this estimator has {tuple(self.input_shape)}.")
        mog = super().get_uncorrected_mog(condition)
        shift, scale = self.get_buffer("_transform_shift"), self.get_buffer("_transform_scale")
        std = scale / mog.precision_factors[..., 0, 0]
        return Mixture(mog.log_weights, mog.means[..., 0] * scale + shift, std)

"""sbi's nflows flows: masked autoregressive flows and neural splines.

For one parameter there is nothing to be autoregressive about: the flow is a monotone map to Gaussian noise whose
coefficients are networks of the observation.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor, nn

from sbi_clustermass.flows.base import SbiFlow
from sbi_clustermass.flows.density_estimator import DensityEstimator


@final
@dataclass(frozen=True, kw_only=True)
class MAF(SbiFlow):
    """Masked autoregressive flow (Papamakarios et al. 2017, arXiv:1705.07057): in one dimension, a Gaussian.

    Affine maps compose to an affine map, as in `StackedAffine`: the flow is more than that only for several parameters.

    Attributes:
        hidden_features: Width of each transform's network.
        num_transforms: Number of affine transforms.
        num_blocks: Hidden layers of each transform's network.
    """

    name: ClassVar[str] = "maf"

    hidden_features: int = 50
    num_transforms: int = 5
    num_blocks: int = 2


@final
@dataclass(frozen=True, kw_only=True)
class MAFRQS(SbiFlow):
    """Masked autoregressive flow of rational-quadratic splines (Durkan et al. 2019, arXiv:1906.04032).

    In one dimension any density with Gaussian tails beyond `tail_bound` standard deviations of the training masses from
    their mean, where the splines end; several modes included. sbi's warning that it is limited to Gaussians is false.

    Attributes:
        hidden_features: Width of each transform's network.
        num_transforms: Number of splines.
        num_blocks: Hidden layers of each transform's network.
        num_bins: Pieces of each spline.
        tail_bound: Where the splines end [standard deviations of the parameter].
        min_bin_width: Least width of a piece, relative to the spline's range.
        min_bin_height: Least height of a piece, relative to the spline's range.
        min_derivative: Smallest slope of a spline.
    """

    name: ClassVar[str] = "maf_rqs"

    hidden_features: int = 50
    num_transforms: int = 5
    num_blocks: int = 2
    num_bins: int = 10
    tail_bound: float = 3.0
    min_bin_width: float = 1e-3
    min_bin_height: float = 1e-3
    min_derivative: float = 1e-3


@final
@dataclass(frozen=True, kw_only=True)
class NSF(SbiFlow):
    """Neural spline flow (Durkan et al. 2019, arXiv:1906.04032).

    In one dimension any density with Gaussian tails beyond `tail_bound` standard deviations of the training masses from
    their mean, where the splines end; several modes included.

    Attributes:
        hidden_features: Width of each spline's network.
        num_transforms: Number of splines.
        num_bins: Pieces of each spline.
        tail_bound: Where the splines end [standard deviations of the parameter].
        hidden_layers_spline_context: Further hidden layers of each spline's network, for one parameter. In sbi they
            are one and the same layer; here each has its own weights.
        num_blocks: Residual blocks of each spline's network, for several parameters.
    """

    name: ClassVar[str] = "nsf"

    hidden_features: int = 50
    num_transforms: int = 5
    num_bins: int = 10
    tail_bound: float = 3.0
    hidden_layers_spline_context: int = 1
    num_blocks: int = 2

    def inner(self, theta: Tensor, features: Tensor) -> DensityEstimator:
        """Build sbi's flow, with the layers untied."""
        from sbi.neural_nets.net_builders.flow import ContextSplineMap  # takes seconds: only a build waits

        flow = self.stock(theta, features)
        for module in flow.modules():
            if isinstance(module, ContextSplineMap):
                module.spline_predictor = nn.Sequential(*map(deepcopy, module.spline_predictor))
        return flow

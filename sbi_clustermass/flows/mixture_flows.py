"""sbi's estimators that are mixtures of Gaussians, mended: the mixture density network and the autoregressive one."""

from dataclasses import replace
from typing import cast, final

import torch
from nflows.nn.nde.made import MixtureOfGaussiansMADE
from nflows.transforms.standard import PointwiseAffineTransform
from sbi.neural_nets.estimators.mixture_density_estimator import MixtureDensityEstimator, MultivariateGaussianMDN
from sbi.neural_nets.estimators.mog import MoG
from sbi.neural_nets.estimators.nflows_flow import NFlowsFlow
from torch import Tensor, nn

from sbi_clustermass.flows.univariate import GaussianMixture, check_one_parameter


@final
class MDNFlow(MixtureDensityEstimator):
    """sbi's mixture density estimator with a density that integrates to one and belongs to its samples.

    sbi 0.27 adds 1e-4 to the precision with which it weighs distances, but not to the one that it normalises and
    samples with. Here it is in both: no component becomes wider than 100 standard deviations of the parameters, where
    the truncated loss is flat and widths would grow without end.
    """

    @classmethod
    def from_stock(cls, stock: MixtureDensityEstimator) -> "MDNFlow":
        """Take over the network and standardisation of sbi's estimator."""
        names = ("_transform_shift", "_transform_scale")
        z_score = torch.stack([stock.get_buffer(name) for name in names])
        network = cast(MultivariateGaussianMDN, stock.net)
        flow = cls(network, stock.input_shape, stock.condition_shape, transform_input=z_score)
        for name in names:  # sbi's are views of one tensor, which safetensors refuses
            flow.register_buffer(name, flow.get_buffer(name).clone())
        return flow

    def get_uncorrected_mog(self, condition: Tensor) -> MoG:
        """The mixture at each condition, in standardised parameters."""
        mog = super().get_uncorrected_mog(condition)
        return replace(mog, precision_factors=torch.linalg.cholesky(mog.precisions).mT)

    def mixture(self, condition: Tensor) -> GaussianMixture:
        """Weights, means and widths of one parameter, in its units."""
        check_one_parameter(self)
        logits, mean, diagonal = self._numbers(condition)
        shift, scale = self.get_buffer("_transform_shift"), self.get_buffer("_transform_scale")
        log_weight = logits - logits.logsumexp(-1, keepdim=True)
        least = cast(MultivariateGaussianMDN, self.net)._epsilon  # as in the precisions of get_uncorrected_mog
        precision = nn.functional.softplus(diagonal).square() + least
        return GaussianMixture(log_weight, mean * scale + shift, scale / precision.sqrt())

    def _numbers(self, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, means and unconstrained widths of one parameter, without sbi's `MoG` around them: that checks four
        times whether all is finite, and each time the host waits for the device."""
        hidden = self.net.get_submodule("_hidden_net")(self.embedding_net(condition))
        names = ("_logits_layer", "_means_layer", "_unconstrained_diagonal_layer")
        logits, mean, diagonal = (self.net.get_submodule(name)(hidden) for name in names)
        return logits, mean, diagonal


@final
class MADEFlow(NFlowsFlow):
    """sbi's MADE whose samples follow its density, on any device.

    sbi 0.27 evaluates the density at a dummy first parameter of 0, but draws that parameter when it samples, and makes
    tensors on the CPU.
    """

    def log_prob(self, input: Tensor, condition: Tensor) -> Tensor:
        """Natural log density of the parameters, (sample, batch)."""
        with condition.device:
            return super().log_prob(input, condition)

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | tuple[int, ...], condition: Tensor) -> Tensor:
        """Draw parameters, (*sample_shape, batch, theta), one after the other."""
        context = condition.repeat(torch.Size(sample_shape).numel(), 1)
        standard = context.new_zeros(len(context), *self.input_shape)
        for column in range(standard.shape[1]):
            log_weight, mean, std = (part[:, column] for part in self._mixtures(standard, context))
            pick = log_weight.exp().multinomial(1)
            standard[:, column] = (mean + std * torch.randn_like(mean)).gather(1, pick)[:, 0]
        shift, scale = self._z_score()
        return ((standard - shift) / scale).reshape(*sample_shape, len(condition), *self.input_shape)

    def mixture(self, condition: Tensor) -> GaussianMixture:
        """Weights, means and widths of one parameter, in its units."""
        check_one_parameter(self)
        parts = self._mixtures(condition.new_zeros(len(condition), 1), condition)
        log_weight, mean, std = (part[:, 0] for part in parts)
        shift, scale = self._z_score()
        return GaussianMixture(log_weight, (mean - shift) / scale, std / scale)

    def _mixtures(self, standard: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, means and widths of each standardised parameter given those before, (row, theta, component)."""
        made = next(module for module in self.net.modules() if isinstance(module, MixtureOfGaussiansMADE))
        outputs = made(torch.cat([standard.new_zeros(len(standard), 1), standard], -1), context)
        logits, mean, raw = outputs.unflatten(1, (-1, made.num_mixture_components, 3))[:, 1:].unbind(-1)
        return logits.log_softmax(-1), mean, nn.functional.softplus(raw) + made.epsilon

    def _z_score(self) -> tuple[Tensor, Tensor]:
        """Shift and scale from a parameter to its standardised value."""
        affine = next(module for module in self.net.modules() if isinstance(module, PointwiseAffineTransform))
        return affine.get_buffer("_shift"), affine.get_buffer("_scale")

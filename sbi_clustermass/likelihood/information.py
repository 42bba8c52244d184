r"""Fisher information of summaries about one parameter, estimated from simulations spread over that parameter.

Charnock, Lavaux & Wandelt 2018 (arXiv:1802.03537) maximise $\ln\det F$ with
$F = \mu_{,\theta}^T C^{-1} \mu_{,\theta}$ at one fiducial parameter: the covariance C of the summaries from simulations
at it, the slope of their mean $\mu$ from pairs of simulations above and below it that share their seeds. Mocks of
clusters are drawn from a prior on the mass, and each mass only once. Here C and the slope are those of a linear
regression of the summaries on the parameter inside soft windows around several fiducial parameters, and the mean of
ln F over the windows is maximised.

F does not depend on the sign of the slope: summaries of the largest F in every window may rise in one and fall in the
next, and then two distant parameters have the same summary. Here a slope of the wrong sign counts against the network.
"""

from math import e, log, pi
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

_RIDGE = 1e-6  # of the variance of the summaries: summaries that are the same for all have no information


@final
class WindowFits(NamedTuple):
    """Linear regression of summaries on one parameter in soft windows.

    Attributes:
        slope: Derivative of the mean summaries.
        covariance: Covariance of the summaries around that mean.
        share: Share of the simulations in each window; they sum to 1.
    """

    slope: Float[Tensor, "window summary"]
    covariance: Float[Tensor, "window summary summary"]
    share: Float[Tensor, " window"]

    @classmethod
    def of(
        cls,
        summaries: Float[Tensor, "batch summary"],
        theta: Float[Tensor, " batch"],
        fiducials: Float[Tensor, " window"],
        widths: Float[Tensor, " window"],
    ) -> "WindowFits":
        """Fit in Gaussian windows.

        They should be narrow enough for the mean of the summaries to be a line inside, and hold many more simulations
        than there are summaries: with few, the information is too large.

        Args:
            summaries: Summaries of simulations.
            theta: Their parameters.
            fiducials: Centres of the windows.
            widths: Standard deviations of the windows, in the unit of theta.
        """
        # clamped: exp of less than -87 is slow in float32
        weight = torch.exp(-0.5 * ((theta - fiducials[:, None]) / widths[:, None]).square().clamp(max=80.0))
        total = weight.sum(1)
        pairs = torch.cat([theta[:, None], summaries], 1)
        pairs = pairs - pairs.mean(0)
        products = (pairs[:, :, None] * pairs[:, None]).flatten(1)
        moments = weight / total[:, None] @ torch.cat([pairs, products], 1)
        mean, second = moments.split([pairs.shape[1], products.shape[1]], 1)
        joint = second.unflatten(1, (pairs.shape[1], -1)) - mean[:, :, None] * mean[:, None]
        slope = joint[:, 1:, 0] / joint[:, :1, 0]
        ridge = (_RIDGE * summaries.var(0) + torch.finfo(summaries.dtype).tiny).diag()
        covariance = joint[:, 1:, 1:] - slope[:, :, None] * joint[:, :1, 1:] + ridge
        return cls(slope, covariance, total / total.sum())

    def information(self) -> Float[Tensor, " window"]:
        """Fisher information F about the parameter in each window [1/theta^2]."""
        return (self.slope * torch.linalg.solve(self.covariance, self.slope)).sum(1)


@final
class Information(nn.Module):
    r"""What an information maximising network is trained by, in the place of a density estimator on its one summary.

    `log_prob` is the mean over the windows of $\mathrm{asinh}(\sqrt{F}/2) - \frac{1}{2}\ln 2\pi e$, where the root has
    the sign of the slope over that of the slope in the window of all simulations, and the parameter has its range for a
    unit. It is $\frac{1}{2}\ln F$ for large F of the right sign, so that it is the mean log density of the truth under
    Gaussian posteriors of the variance 1/F, and can be compared with that of a flow [nats]. A penalty draws the
    variance of the summary to 1, as in Charnock et al. 2018: F does not depend on it.

    Attributes:
        input_shape: Shape of the parameters: there is one.
        fiducials: Parameters around which the information is measured; the last is the window of all simulations.
        widths: Standard deviations of the windows around them.
    """

    fiducials: Tensor
    widths: Tensor

    def __init__(self, theta: Float[Tensor, "batch 1"], fiducials: int) -> None:
        super().__init__()
        if theta.shape[1] != 1:
            raise ValueError(f"the information is about one parameter; theta has {theta.shape[1]}.")
        low, high = theta.quantile(0.01), theta.quantile(0.99)
        step = (high - low) / fiducials
        local = low + step * (torch.arange(fiducials) + 0.5)
        self.input_shape = theta.shape[1:]
        self.register_buffer("fiducials", torch.cat([local, 0.5 * (low + high)[None]]))
        self.register_buffer("widths", torch.cat([step.expand(fiducials), (high - low)[None]]))

    def log_prob(
        self, input: Float[Tensor, "sample batch 1"], condition: Float[Tensor, "batch 1"]
    ) -> Float[Tensor, "sample batch"]:
        """Mean log density of the truth that the information allows, less the penalty; the same for all of a batch."""
        fits = WindowFits.of(condition, input[0, :, 0], self.fiducials, self.widths)
        variance, unit = fits.covariance[:, 0, 0], self.widths[-1]
        root = unit * fits.slope[:, 0] / variance.sqrt()
        allowed = (fits.share * torch.asinh(0.5 * root * root[-1].detach().sign())).sum()
        penalty = 0.5 * ((variance.mean() - 1).square() + (1 / variance.mean() - 1).square())
        return (allowed - unit.log() - 0.5 * log(2 * pi * e) - penalty).expand(input.shape[:2])

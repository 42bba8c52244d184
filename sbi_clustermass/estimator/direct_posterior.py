"""A trained network as sbi's `DirectPosterior`, for sbi's diagnostics and plots.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; `log_` is natural.
"""

from typing import cast

import torch
from jaxtyping import Float
from sbi.inference.posteriors import DirectPosterior
from sbi.neural_nets.estimators.shape_handling import reshape_to_batch_event
from sbi.utils import BoxUniform
from torch import Tensor

from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.flows.ensemble import Ensemble
from sbi_clustermass.posterior.prior import mass_prior


class ExactLeakage(DirectPosterior):
    """sbi's `DirectPosterior` of one mass, with the leakage correction computed exactly instead of sampled.

    sbi 0.27 estimates the network's probability inside the prior from 10 000 samples. That has an error of .01 nats or
    more, never ends if hardly any sample falls inside, and after `set_default_x` keeps the value of the first
    observation. Nothing else is changed.
    """

    @torch.no_grad()
    def leakage_correction(
        self,
        x: Float[Tensor, "batch galaxy 3"],
        num_rejection_samples: int = 10_000,
        force_update: bool = False,
        show_progress_bars: bool = False,
        rejection_sampling_batch_size: int = 10_000,
    ) -> Float[Tensor, " batch"]:
        """Probability of the network's density inside the prior, (batch,); sbi's sampling options have no effect."""
        network, prior = cast(EmbedOnce, self.posterior_estimator), cast(BoxUniform, self.prior)
        batch = reshape_to_batch_event(x, event_shape=network.condition_shape)
        return network.log_mass_within(batch, float(prior.low), float(prior.high)).exp()


def direct_posterior(network: EmbedOnce | Ensemble, support: tuple[float, float], *, width: int) -> ExactLeakage:
    """Wrap a network as a posterior under a box prior over the support [dex]; the two share their weights.

    Every observation is padded to `width` galaxies, (batch, width, 3), float32, with further columns for conditions.
    """
    if width < 1:
        raise ValueError(f"an observation is padded to at least one galaxy; found width={width!r}.")
    members = network.members if isinstance(network, Ensemble) else [network]
    padded = [EmbedOnce(each.summary, each.embedding, each.net, (width, each.condition_shape[1])) for each in members]
    whole = Ensemble(padded, network.support) if isinstance(network, Ensemble) else padded[0]
    device = str(next(network.parameters()).device)
    return ExactLeakage(whole.eval(), mass_prior(*support, device=device), device=device)

"""A trained network as sbi's `DirectPosterior`, for sbi's diagnostics and plots.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; `log_` is natural.
"""

from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.flows.ensemble import Ensemble
from sbi_clustermass.flows.exact_leakage import ExactLeakage
from sbi_clustermass.posterior.prior import mass_prior


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

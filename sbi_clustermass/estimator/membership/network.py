"""Network of the probability that a galaxy belongs to a cluster of a given mass, by three definitions."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sbi_clustermass.embeddings.galaxies import perceptron
from sbi_clustermass.estimator.membership.features import GALAXY_INPUTS, Features, MembershipFeatures

DEFINITIONS = ("within_r200c", "is_member", "is_bound")  # columns of mocks; inside r200c, inside R_vir, bound
_CLUSTER, _HIDDEN = 32, 96  # features of a cluster, and neurons
_LEAST = 1e-6  # probability


@final
class MembershipNetwork(nn.Module):
    """Natural logs of the three probabilities and of one minus them, from the features of galaxies at one mass.

    Inside r200c is a part of inside R_vir: its probability is that of the latter times a share.
    """

    def __init__(self, *, richness: bool, conditions: bool) -> None:
        super().__init__()
        self.features = MembershipFeatures(richness=richness, conditions=conditions)
        self.clusters = perceptron(self.features.width, _HIDDEN, _CLUSTER)
        self.galaxies = perceptron(GALAXY_INPUTS + _CLUSTER, _HIDDEN, _HIDDEN, len(DEFINITIONS))

    def forward(self, features: Features) -> Float[Tensor, "galaxy 3"]:
        """Probabilities of `DEFINITIONS`."""
        about = self.clusters(features.clusters)[features.cluster]
        share, inside, bound = self.galaxies(torch.cat([features.galaxies, about], -1)).sigmoid().unbind(-1)
        return torch.stack([share * inside, inside, bound], -1)


def cross_entropy(
    probability: Float[Tensor, "galaxy 3"], truth: Float[Tensor, "galaxy 3"]
) -> Float[Tensor, "galaxy 3"]:
    """Binary cross-entropy [nats], a proper score: least on average where the probability is the true one."""
    p = probability.clamp(_LEAST, 1 - _LEAST)
    return -(truth * p.log() + (1 - truth) * (1 - p).log())

"""The training rule that suits an embedding."""

from torch import nn

from sbi_clustermass.embeddings import EMBEDDINGS
from sbi_clustermass.training import Training

_PAPER = Training()
_NETWORK = Training(learning_rate=1e-3, patience=1000, max_updates=6000)  # slow to start, with long plateaus
_STEADY = Training(learning_rate=5e-4, patience=1500, max_updates=6000)  # attention
_IMAGE = Training(learning_rate=3e-4, patience=1000, max_updates=6000)  # convolutions
_TABLE = Training(learning_rate=5e-3, batch_size=200, patience=1000, max_updates=5000)  # few weights on many counts

RULES = {
    "kde": _PAPER,
    "learned_kde": _PAPER,
    "cnn": _IMAGE,
    "deep_sets": _NETWORK,
    "attention": _STEADY,
    "summary": _NETWORK,
    "trial_masses": _TABLE,
}


def rule_for(embedding: nn.Module) -> Training:
    """The rule under which an embedding is trained if nothing else is said; the paper's for one that is not ours."""
    names = [name for name, kind in EMBEDDINGS.items() if type(embedding) is kind]
    return RULES[names[0]] if names else _PAPER

"""Default settings of the training, for each embedding."""

from dataclasses import replace

from torch import nn

from sbi_clustermass.embeddings import EMBEDDINGS
from sbi_clustermass.training import Training

_PAPER = Training()
_NETWORK = Training(learning_rate=1e-3, patience=1000, max_updates=6000)  # slow to start, with long plateaus
_STEADY = Training(learning_rate=5e-4, patience=1500, max_updates=6000)  # attention
_IMAGE = Training(learning_rate=3e-4, patience=1000, max_updates=6000)  # convolutions
_COUNTS = Training(learning_rate=5e-3, batch_size=200, patience=1000, max_updates=5000)  # few weights, many counts

_GIVEN_MASS = Training(learning_rate=1e-3, batch_size=500, patience=1500, max_updates=8000, truncated=False)

DEFAULT_TRAINING = {
    "kde": _PAPER,
    "learned_kde": _PAPER,
    "cnn": _IMAGE,
    "cnn_3d": _IMAGE,
    "deep_sets": _NETWORK,
    "attention": _STEADY,
    "summary": _NETWORK,
    "trial_masses": _COUNTS,
}


def default_training(embedding: nn.Module) -> Training:
    """Default settings for an embedding; the paper's for an embedding that is not in `EMBEDDINGS`."""
    names = [name for name, kind in EMBEDDINGS.items() if type(embedding) is kind]
    return DEFAULT_TRAINING[names[0]] if names else _PAPER


def default_training_given_mass(training: Training) -> Training:
    """Default settings for parameters given the mass, from the settings for the mass.

    Seed and augmentation are the same, and there are no more updates. The loss is the plain one: nothing leaks out of
    the box of these parameters.
    """
    longest = min(_GIVEN_MASS.max_updates, training.max_updates)
    return replace(_GIVEN_MASS, max_updates=longest, seed=training.seed, augmentation=training.augmentation)

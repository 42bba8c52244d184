"""Settings of a training, and the split into fitting and validation sets."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import NamedTuple, final

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sbi_clustermass.training.augmentation import Augmentation


@final
@dataclass(frozen=True)
class Training:
    """Settings of a training.

    The defaults follow Kodi Ramanah et al. 2020, section 4.2, with two additions that can be switched off: truncation
    of the loss, and a cool-down of the learning rate. At a constant learning rate the weights never converge: the best
    of many noisy validations still has a mean residual of a tenth of a sigma, which biases a population fit.

    Attributes:
        learning_rate: Learning rate of Adam.
        batch_size: Clusters per weight update.
        validation_fraction: Share of the hosts held out for validation.
        patience: Weight updates without a better validation loss after which the best weights are restored.
        cooldown: Length of the cool-down from these weights, in which the learning rate falls linearly to zero, as a
            share of the updates so far; 0 for none, as in the paper.
        validate_every: Weight updates between two validations on the whole validation set.
        max_updates: Largest number of weight updates, the cool-down included.
        clip_norm: Largest norm of the gradient.
        truncated: Whether to minimise −log q + log ∫ q over the prior's support, so that the density is trained as it
            is used; False for the paper's plain −log q.
        seed: Seed of the weights, the split, the order of the batches and the augmentation.
        augmentation: Random changes to the clusters, drawn anew at every update; None for no changes.
        compiled: Whether `torch.compile` compiles the loss, on CUDA into graphs that launch as a whole. It takes a
            minute, and pays where thousands of small updates of one shape follow. On other devices nothing is faster.
    """

    learning_rate: float = 1e-4
    batch_size: int = 100
    validation_fraction: float = 0.1
    patience: int = 200
    cooldown: float = 0.5
    validate_every: int = 100
    max_updates: int = 20_000
    clip_norm: float = 5.0
    truncated: bool = True
    seed: int = 0
    augmentation: Augmentation | None = None
    compiled: bool = False

    def __post_init__(self) -> None:
        for name in ("batch_size", "patience", "validate_every", "max_updates"):
            check_whole(name, getattr(self, name), least=1)
        check_whole("seed", self.seed, least=0)
        for name in ("learning_rate", "clip_norm", "cooldown", "validation_fraction"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real):
                raise ValueError(f"{name} must be a number, got {value!r}.")
        if not 0 < self.learning_rate < np.inf or not self.clip_norm > 0:
            raise ValueError(
                f"learning_rate and clip_norm must be positive, got {self.learning_rate} and {self.clip_norm}."
            )
        if not 0 <= self.cooldown < np.inf:
            raise ValueError(f"cooldown must be 0 or more, got {self.cooldown}.")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must lie between 0 and 1, got {self.validation_fraction}.")


def check_whole(name: str, value: object, *, least: int) -> None:
    """Refuse a value that is not a whole number of at least `least`: a loop that counts to 2.5 never ends."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}.")


class Split(NamedTuple):
    """Row numbers for fitting and for validation, on the CPU."""

    fitting: Int[Tensor, "fitting"]
    validating: Int[Tensor, "validating"]


def split_by_group(groups: Int[np.ndarray, "row"], training: Training) -> Split:
    """Split the rows into fitting and validation sets, without a group in both.

    Raises:
        ValueError: There are too few groups for two sets.
    """
    unique = np.unique(groups)
    n_validation = max(1, round(training.validation_fraction * len(unique)))
    if n_validation >= len(unique):
        raise ValueError(f"{len(unique)} clusters are too few to train on.")
    held_out = np.random.default_rng(training.seed).permutation(unique)[:n_validation]
    validating = np.isin(groups, held_out)
    return Split(torch.from_numpy(np.flatnonzero(~validating)), torch.from_numpy(np.flatnonzero(validating)))

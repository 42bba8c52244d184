"""The training rule, and which clusters it keeps for validation."""

from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sbi_clustermass.training.augmentation import Augmentation


@final
@dataclass(frozen=True)
class Training:
    """How a network is trained.

    As in Kodi Ramanah et al. 2020, section 4.2, with two additions that can be switched off: the truncated loss, and a
    cool-down. At a constant learning rate the weights never come to rest: the best of many noisy looks still has a mean
    residual of a tenth of a sigma, which a population fit sees. The cool-down is the learning-rate schedule.

    Attributes:
        learning_rate: Of Adam.
        batch_size: Clusters a weight update.
        validation_fraction: Share of the hosts kept for validation.
        patience: Stop after so many weight updates without a better validation loss; the best weights are restored.
        cooldown: Then go on from these weights with a learning rate that falls linearly to zero, for this share of the
            updates so far; 0 for the paper's rule.
        validate_every: Weight updates between two looks at the whole validation set.
        max_updates: Stop here in any case; the cool-down counts.
        clip_norm: Largest norm of the gradient.
        truncated: Minimise −log q + log ∫ q over the prior's support, the density that is used afterwards; False for
            the paper's plain −log q.
        seed: Of the weights, the split, the order of the batches and the augmentation.
        augmentation: Random changes to the clusters, new at every update; None shows them as they are.
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

    def __post_init__(self) -> None:
        for name in ("batch_size", "patience", "validate_every", "max_updates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if not 0 <= self.cooldown < np.inf:
            raise ValueError(f"cooldown must be 0 or more, got {self.cooldown}.")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must lie between 0 and 1, got {self.validation_fraction}.")


class Split(NamedTuple):
    """Row numbers, on the CPU."""

    fitting: Int[Tensor, "fitting"]
    validating: Int[Tensor, "validating"]


def split_by_group(groups: Int[np.ndarray, "row"], training: Training) -> Split:
    """Rows for fitting and for validation, no group on both sides.

    Raises:
        ValueError: Too few groups for one on either side.
    """
    unique = np.unique(groups)
    n_validation = max(1, round(training.validation_fraction * len(unique)))
    if n_validation >= len(unique):
        raise ValueError(f"{len(unique)} clusters are too few to train on.")
    held_out = np.random.default_rng(training.seed).permutation(unique)[:n_validation]
    validating = np.isin(groups, held_out)
    return Split(torch.from_numpy(np.flatnonzero(~validating)), torch.from_numpy(np.flatnonzero(validating)))

"""The training loop: one function, early stopping counted in weight updates on the whole validation set.

Losses are in nats. Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from sbi.neural_nets.estimators.base import ConditionalDensityEstimator
from torch import Tensor, nn

from sbi_clustermass.flows import EmbedOnce

_CHUNK = 2000

Progress = Callable[[int, float, float], None]


@final
@dataclass(frozen=True)
class Training:
    """How a network is trained.

    As in Kodi Ramanah et al. 2020, section 4.2, with two additions that can be switched off: the truncated loss, and a
    cool-down. At a constant learning rate the weights never come to rest: the best of many noisy looks still has a mean
    residual of a tenth of a sigma, which a population fit sees.

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
        seed: Of the weights, the split and the order of the batches.
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


@final
@dataclass
class History:
    """What happened during training.

    Attributes:
        updates: Weight updates at each validation.
        training_loss: Mean loss of the batches since the last validation [nats].
        validation_loss: Loss of the whole validation set [nats].
    """

    updates: list[int] = field(default_factory=list)
    training_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)

    @property
    def best_update(self) -> int:
        """Weight updates after which the restored weights were taken."""
        return self.updates[int(np.argmin(self.validation_loss))]


def split_by_group(groups: np.ndarray, training: Training) -> tuple[Int[Tensor, "fitting"], Int[Tensor, "validating"]]:
    """Indices for fitting and for validation, no group on both sides.

    Raises:
        ValueError: Too few groups for one on either side.
    """
    unique = np.unique(groups)
    n_validation = max(1, round(training.validation_fraction * len(unique)))
    if n_validation >= len(unique):
        raise ValueError(f"{len(unique)} clusters are too few to train on.")
    held_out = np.random.default_rng(training.seed).permutation(unique)[:n_validation]
    validating = np.isin(groups, held_out)
    return torch.from_numpy(np.flatnonzero(~validating)), torch.from_numpy(np.flatnonzero(validating))


def fit(
    network: ConditionalDensityEstimator,
    fitting: tuple[Tensor, Tensor],
    validating: tuple[Tensor, Tensor],
    *,
    support: tuple[float, float] | None,
    training: Training,
    progress: Progress | None = None,
) -> History:
    """Train a network in place and leave the best weights in it.

    A fixed summary (the KDE image) is computed once for the whole set. Between validations nothing waits for the
    device.

    Args:
        network: Density estimator of theta given x.
        fitting: theta (cluster, 1) and x of the clusters to fit.
        validating: The same for the clusters to validate on.
        support: Box over which the loss is truncated, or None for the plain loss.
        training: The rule.
        progress: Called at every validation.
    """
    live, fitting, validating = _cached(network, fitting, validating)
    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate, fused=True)
    batches = _Batches(len(fitting[0]), training, fitting[0].device)
    history, best, total, pace = (
        History(),
        _snapshot(network),
        torch.zeros((), device=fitting[0].device),
        _Pace(training),
    )
    network.train()
    for update in range(1, training.max_updates + 1):
        rows = batches.next()
        loss = clusters_loss(live, fitting[0][rows], fitting[1][rows], support=support).mean()
        _descend(network, optimizer, loss, learning_rate=pace.learning_rate(update), clip_norm=training.clip_norm)
        total += loss.detach()
        if update % training.validate_every and not pace.ends_at(update):
            continue
        _record(history, update, total, _validation_loss(live, validating, support=support))
        total.zero_()
        if history.best_update == update:
            best = _snapshot(network)
        if progress is not None:
            progress(update, history.training_loss[-1], history.validation_loss[-1])
        if pace.cools_from(update, history.best_update):
            network.load_state_dict(best)
        if pace.ends_at(update):
            break
    network.load_state_dict(best)
    network.eval()
    return history


class _Pace:
    """When the learning rate starts to fall, and when training ends."""

    def __init__(self, training: Training) -> None:
        self.training, self.end = training, training.max_updates
        self.latest = round(training.max_updates / (1 + training.cooldown))  # start of the cool-down
        self.start: int | None = None

    def learning_rate(self, update: int) -> float:
        if self.start is None:
            return self.training.learning_rate
        return self.training.learning_rate * (self.end - update + 1) / (self.end - self.start)

    def ends_at(self, update: int) -> bool:
        return update == self.end

    def cools_from(self, update: int, best_update: int) -> bool:
        """Whether the cool-down starts after this update; it is told of every look at the validation set."""
        waited = update - best_update >= self.training.patience or update >= self.latest
        if self.start is not None or not waited:
            return False
        self.start = update
        self.end = min(self.end, update + round(self.training.cooldown * update))
        return True


def clusters_loss(
    network: ConditionalDensityEstimator, theta: Tensor, x: Tensor, *, support: tuple[float, float] | None
) -> Float[Tensor, "cluster"]:
    """−log q(theta | x), plus log ∫ q over the support when there is one [nats]."""
    if support is None:
        return network.loss(theta, condition=x)
    if not isinstance(network, EmbedOnce):
        raise TypeError(
            f"the truncated loss needs an EmbedOnce network, got {type(network).__name__}; use truncated=False."
        )
    return network.truncated_loss(theta, x, low=support[0], high=support[1])


def _descend(
    network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, *, learning_rate: float, clip_norm: float
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
    optimizer.step()


def _cached(network, fitting, validating):
    """The network on precomputed summaries, and the summaries, all on the network's device."""
    device = next(network.parameters()).device
    fixed = isinstance(network, EmbedOnce) and network.summary_is_fixed

    def prepare(pairs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        theta, x = pairs[0].to(device), pairs[1]
        if not fixed:
            return theta, x.to(device)
        with torch.no_grad():
            return theta, torch.cat([network.summary(part.to(device)) for part in x.split(_CHUNK)])

    return (network.on_summaries() if fixed else network), prepare(fitting), prepare(validating)


@torch.no_grad()
def _validation_loss(network, pairs: tuple[Tensor, Tensor], *, support: tuple[float, float] | None) -> Tensor:
    network.eval()
    parts = zip(pairs[0].split(_CHUNK), pairs[1].split(_CHUNK), strict=True)
    loss = torch.cat([clusters_loss(network, theta, x, support=support) for theta, x in parts]).mean()
    network.train()
    return loss


def _record(history: History, update: int, total: Tensor, validation_loss: Tensor) -> None:
    since = update - (history.updates[-1] if history.updates else 0)
    history.updates.append(update)
    history.training_loss.append(float(total) / since)
    history.validation_loss.append(float(validation_loss))
    if not np.isfinite(history.validation_loss[-1]):
        raise FloatingPointError(
            f"the validation loss is {history.validation_loss[-1]} after {update} updates; try a lower learning rate."
        )


def _snapshot(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


class _Batches:
    """Shuffled batches of row numbers, one epoch after another, the short rest of an epoch left out.

    Drawn on the CPU, so that a seed means the same on every device, and sent over once an epoch.
    """

    def __init__(self, n: int, training: Training, device: torch.device) -> None:
        self.n, self.size, self.device = n, min(training.batch_size, n), device
        self.generator = torch.Generator().manual_seed(training.seed)
        self.order = torch.empty(0, dtype=torch.long, device=device)

    def next(self) -> Int[Tensor, "batch"]:
        if len(self.order) < self.size:
            self.order = torch.randperm(self.n, generator=self.generator).to(self.device)
        rows, self.order = self.order[: self.size], self.order[self.size :]
        return rows

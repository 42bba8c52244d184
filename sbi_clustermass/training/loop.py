"""The loop: weight updates, looks at the validation set, the best weights."""

from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from sbi.neural_nets.estimators.base import ConditionalDensityEstimator
from torch import Tensor, nn

from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.training.batches import Batches
from sbi_clustermass.training.checkpoint import Checkpoint
from sbi_clustermass.training.dataset import Place, Rows, parts
from sbi_clustermass.training.history import History, Look, Progress
from sbi_clustermass.training.precompute import augmented, on_rows, with_summaries
from sbi_clustermass.training.schedule import Pace
from sbi_clustermass.training.settings import Split, Training

Support = tuple[float, float]


@final
@dataclass(frozen=True)
class Data:
    """What a network is trained on.

    Attributes:
        rows: Parameters and observations, or summaries of these.
        split: Numbers of the rows to fit and to validate on.
        place: Where what is computed from them goes; by default the memory of the rows' device.
    """

    rows: Rows
    split: Split
    place: Place | None = None

    @property
    def room(self) -> Place:
        """Where what is computed goes."""
        return self.place or Place(self.rows.theta.device)


def fit(
    network: ConditionalDensityEstimator,
    data: Data,
    *,
    support: Support | None,
    training: Training,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Train a network in place and leave the best weights in it.

    A fixed summary (the KDE image) is computed once for the whole set, unless clusters are augmented. Between
    validations nothing waits for the device.

    Args:
        network: Density estimator of theta given x, on the device of the data.
        data: Rows, and which of them to fit and to validate on.
        support: Box over which the loss is truncated, or None for the plain loss.
        training: The rule.
        progress: Called at every validation.
        checkpoint: Where to go on from, and to leave the state for a training that is interrupted.

    Raises:
        FloatingPointError: The validation loss is not finite.
        ValueError: The checkpoint is of another training, or damaged.
    """
    run = _Fitting(network, data, support, training)
    if checkpoint is not None and (state := checkpoint.read()) is not None:
        run.restore(*state)
    try:
        run.to_the_end(progress, checkpoint)
    except FloatingPointError:
        if checkpoint is not None:  # going on would fail again
            checkpoint.remove()
        raise
    return run.history


class _Fitting:
    """A training that can be left at any look at the validation set and taken up again."""

    def __init__(
        self, network: ConditionalDensityEstimator, data: Data, support: Support | None, training: Training
    ) -> None:
        self.network, self.support, self.training = network, support, training
        self.rows, self.validating, self.generator = _prepared(network, data, training)
        device = self.rows.theta.device
        self.live, self.live_validating = on_rows(network, self.rows), on_rows(network, self.validating)
        self.optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate, fused=True)
        self.batches, self.pace = Batches(data.split.fitting, training, device), Pace(training)
        self.history, self.best = History(), _snapshot(network)
        self.update, self.total = 0, torch.zeros((), device=device)

    def to_the_end(self, progress: Progress | None, checkpoint: Checkpoint | None) -> None:
        """Update until the pace ends, then restore the best weights."""
        self.network.train()
        start, first = monotonic(), self.update
        while not self.pace.ends_at(self.update):
            self._step()
            if self.update % self.training.validate_every and not self.pace.ends_at(self.update):
                continue
            self._look()
            if checkpoint is not None:
                checkpoint.write(self.state, last=self.pace.ends_at(self.update))
            if progress is not None:
                progress(self._told((self.update - first) / max(monotonic() - start, 1e-9)))
        self.network.load_state_dict(self.best)
        self.network.eval()

    def _step(self) -> None:
        self.update += 1
        picked = self.batches.next()
        theta, x, passed = self.rows.theta[picked.there], self.rows.take(picked), None
        if self.training.augmentation is not None:
            x, passed = self.training.augmentation(x, self.generator)
        loss = _mean(clusters_loss(self.live, theta, x, support=self.support), passed)
        _descend(self.network, self.optimizer, loss, self.pace.learning_rate(self.update), self.training.clip_norm)
        self.total += loss.detach()

    def _look(self) -> None:
        self.history.record(self.update, float(self.total), float(self._validation_loss()))
        self.total.zero_()
        if self.history.best_update == self.update:
            self.best = _snapshot(self.network)
        if self.pace.cools_from(self.update, self.history.best_update):
            self.network.load_state_dict(self.best)

    @torch.no_grad()
    def _validation_loss(self) -> Tensor:
        self.network.eval()
        rows = self.validating
        losses = [
            clusters_loss(self.live_validating, rows.theta[part.there], rows.take(part), support=self.support)
            for part in parts(rows)
        ]
        self.network.train()
        return torch.cat(losses).mean()

    def _told(self, rate: float) -> Look:
        losses = self.history.training_loss[-1], self.history.validation_loss[-1]
        return Look(self.update, *losses, rate, None if self.pace.start is None else self.pace.end)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that the rest of the training depends on: tensors, and facts in JSON's types."""
        tensors = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        tensors |= {f"batches/{name}": value for name, value in self.batches.state().items()}
        tensors["augmentation"] = self.generator.get_state()
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam/{number}/{name}": value for name, value in state.items()}
        pace = {"start": self.pace.start, "end": self.pace.end}
        return tensors, {"update": self.update, "pace": pace, "history": asdict(self.history)}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from a `state()`."""
        self.network.load_state_dict(_under("network/", tensors))
        self.best = {name: value.to(self.total.device) for name, value in _under("best/", tensors).items()}
        self.batches.restore(_under("batches/", tensors))
        self.generator.set_state(tensors["augmentation"])
        adam: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("adam/", tensors).items():
            number, key = name.split("/")
            adam.setdefault(int(number), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": adam, "param_groups": groups})
        self.update, self.history = facts["update"], History(**facts["history"])
        self.pace.start, self.pace.end = facts["pace"]["start"], facts["pace"]["end"]


def _prepared(network: nn.Module, data: Data, training: Training) -> tuple[Rows, Rows, torch.Generator]:
    """Rows to fit on, rows to validate on, and the generator of the augmentation."""
    device, room = data.rows.theta.device, data.room
    generator = _generator(training.seed, 0, device)
    if training.augmentation is None:
        rows = with_summaries(network, data.rows, room)
        return rows, rows.among(data.split.validating, room), generator
    fixed = _generator(training.seed, 1, device)
    validating = augmented(data.rows, data.split.validating, training.augmentation, generator=fixed, place=room)
    return data.rows, with_summaries(network, validating, room), generator


def clusters_loss(
    network: ConditionalDensityEstimator, theta: Tensor, x: Tensor, *, support: Support | None
) -> Float[Tensor, "cluster"]:
    """−log q(theta | x), plus log ∫ q over the support when there is one [nats].

    Raises:
        TypeError: There is a support, and the network is no `EmbedOnce`.
    """
    if support is None:
        return network.loss(theta, condition=x)
    if not isinstance(network, EmbedOnce):
        raise TypeError(
            f"the truncated loss needs an EmbedOnce network, got {type(network).__name__}; use truncated=False."
        )
    return network.truncated_loss(theta, x, low=support[0], high=support[1])


def _mean(losses: Float[Tensor, " cluster"], passed: Tensor | None) -> Tensor:
    """Mean loss of the clusters that passed the richness cut; 0 where none did."""
    if passed is None:
        return losses.mean()
    return torch.where(passed, losses, 0).sum() / passed.sum().clamp(min=1)


def _descend(
    network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, learning_rate: float, clip_norm: float
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
    optimizer.step()


def _snapshot(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _generator(seed: int, stream: int, device: torch.device) -> torch.Generator:
    drawn = np.random.SeedSequence((seed, stream)).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(drawn >> np.uint64(1)))

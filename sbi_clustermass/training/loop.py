"""Training loop: weight updates, validations, and the best weights."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.flows.density_estimator import DensityEstimator
from sbi_clustermass.training.batches import Batches
from sbi_clustermass.training.checkpoint import Checkpoint
from sbi_clustermass.training.dataset import Dataset, Storage, chunks
from sbi_clustermass.training.history import History, Progress, ValidationStep
from sbi_clustermass.training.precompute import augment_once, network_on, precompute_summaries
from sbi_clustermass.training.schedule import Schedule
from sbi_clustermass.training.settings import Split, Training

Support = tuple[float, float]
_METHODS = "loss", "log_prob", "sample"


@final
@dataclass(frozen=True)
class TrainingData:
    """Dataset with its split into fitting and validation sets.

    Attributes:
        dataset: Parameters and observations, or summaries of these.
        split: Numbers of the rows for fitting and for validation.
        storage: Storage of arrays that are computed from them; None for the memory of the dataset's device.
    """

    dataset: Dataset
    split: Split
    storage: Storage | None = None


def build_network(builder: Callable, theta: Tensor, x: Tensor, *, seed: int) -> DensityEstimator:
    """Build an untrained network on the CPU, with the weights of this seed; torch's global generator is unchanged.

    Raises:
        TypeError: The builder returns no density estimator.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = builder(theta.cpu(), x.cpu())
    if not all(hasattr(network, name) for name in (*_METHODS, "state_dict")):
        raise TypeError(
            f"the builder {_label(builder)} returned a {type(network).__name__}. It needs to return a density "
            f"estimator, a module with {', '.join(_METHODS)}, as StackedAffine()(theta, x) does."
        )
    return network


def _label(builder: Callable) -> str:
    return getattr(builder, "__name__", type(builder).__name__)


def fit(
    network: DensityEstimator,
    data: TrainingData,
    *,
    support: Support | None,
    training: Training,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Train a network in place and leave the best weights in it.

    A fixed summary (the KDE image) is computed once for the whole set, unless clusters are augmented. Between
    validations, the host never waits for the device.

    Args:
        network: Density estimator of theta given x, on the device of the data.
        data: Dataset and its split.
        support: Box over which the loss is truncated, or None for the plain loss.
        training: Settings of the training.
        progress: Callback, called at every validation.
        checkpoint: State to continue from, and to be written for a training that is interrupted.

    Raises:
        FloatingPointError: The validation loss is not finite.
        ValueError: The checkpoint is damaged or belongs to another training.
    """
    run = _Fitting(network, data, support, training)
    if checkpoint is not None and (state := checkpoint.read()) is not None:
        run.restore(*state)
    try:
        run.run(progress, checkpoint)
    except FloatingPointError:
        if checkpoint is not None:  # to continue would fail again
            checkpoint.remove()
        raise
    return run.history


class _Fitting:
    """Training that can be interrupted at any validation and continued."""

    def __init__(
        self, network: DensityEstimator, data: TrainingData, support: Support | None, training: Training
    ) -> None:
        self.network, self.support, self.training = network, support, training
        self.fitting, self.validating, self.generator = _prepare(network, data, training)
        device = self.fitting.theta.device
        self.fitting_network = network_on(self.fitting, network)
        self.validating_network = network_on(self.validating, network)
        fused = all(weight.is_floating_point() for weight in network.parameters())  # not of complex numbers
        self.optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate, fused=fused)
        self.batches, self.schedule = Batches(data.split.fitting, training, device), Schedule(training)
        self.history, self.best = History(), _snapshot(network)
        self.update, self.total = 0, torch.zeros((), device=device)
        self.loss = _compiled(device) if training.compiled else clusters_loss

    def run(self, progress: Progress | None, checkpoint: Checkpoint | None) -> None:
        """Update until the schedule ends, then restore the best weights."""
        self.network.train()
        start, first = monotonic(), self.update
        while self.update != self.schedule.end:
            self._step()
            if self.update % self.training.validate_every and self.update != self.schedule.end:
                continue
            self._validate()
            if checkpoint is not None:
                checkpoint.write(self.state, last=self.update == self.schedule.end)
            if progress is not None:
                progress(self._report((self.update - first) / max(monotonic() - start, 1e-9)))
        self.network.load_state_dict(self.best)
        self.network.eval()

    def _step(self) -> None:
        self.update += 1
        rows = self.batches.next()
        theta, x, passed = self.fitting.theta[rows.device], self.fitting.take(rows), None
        if self.training.augmentation is not None:
            x, passed = self.training.augmentation(x, self.generator)
        loss = _mean(self.loss(self.fitting_network, theta, x, support=self.support), passed)
        _descend(self.network, self.optimizer, loss, self.schedule.learning_rate(self.update), self.training.clip_norm)
        self.total += loss.detach()

    def _validate(self) -> None:
        self.history.record(self.update, float(self.total), float(self._validation_loss()))
        self.total.zero_()
        if self.history.best_update == self.update:
            self.best = _snapshot(self.network)
        if self.schedule.starts_cooldown(self.update, self.history.best_update):
            self.network.load_state_dict(self.best)

    @torch.no_grad()
    def _validation_loss(self) -> Tensor:
        self.network.eval()
        network, dataset = self.validating_network, self.validating
        losses = [
            clusters_loss(network, dataset.theta[rows.device], dataset.take(rows), support=self.support)
            for rows in chunks(dataset)
        ]
        self.network.train()
        return torch.cat(losses).mean()

    def _report(self, rate: float) -> ValidationStep:
        losses = self.history.training_loss[-1], self.history.validation_loss[-1]
        return ValidationStep(self.update, *losses, rate, None if self.schedule.start is None else self.schedule.end)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything that the rest of the training depends on: tensors, and values of JSON's types."""
        tensors = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        tensors |= {f"batches/{name}": value for name, value in self.batches.state().items()}
        tensors["augmentation"] = self.generator.get_state()
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam/{number}/{name}": value for name, value in state.items()}
        schedule = {"start": self.schedule.start, "end": self.schedule.end}
        return tensors, {"update": self.update, "pace": schedule, "history": asdict(self.history)}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Continue from a `state()`."""
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
        self.schedule.start, self.schedule.end = facts["pace"]["start"], facts["pace"]["end"]


def _prepare(network: nn.Module, data: TrainingData, training: Training) -> tuple[Dataset, Dataset, torch.Generator]:
    """Dataset for fitting, dataset for validation, and the generator of the augmentation."""
    device = data.dataset.theta.device
    storage = data.storage or Storage(device)
    generator = _generator(training.seed, 0, device)
    if training.augmentation is None:
        dataset = precompute_summaries(network, data.dataset, storage)
        return dataset, dataset.subset(data.split.validating, storage), generator
    fixed = _generator(training.seed, 1, device)
    validating = augment_once(
        data.dataset, data.split.validating, training.augmentation, generator=fixed, storage=storage
    )
    return data.dataset, precompute_summaries(network, validating, storage), generator


def clusters_loss(
    network: DensityEstimator, theta: Tensor, x: Tensor, *, support: Support | None
) -> Float[Tensor, "cluster"]:
    """Loss −log q(theta | x), plus log ∫ q over the support if there is one [nats].

    Raises:
        TypeError: There is a support, but the network is not an `EmbedOnce`.
    """
    if support is None:
        return network.loss(theta, condition=x)
    if not isinstance(network, EmbedOnce):
        raise TypeError(
            f"the truncated loss needs an EmbedOnce network, got {type(network).__name__}; use truncated=False."
        )
    return network.truncated_loss(theta, x, low=support[0], high=support[1])


def _compiled(device: torch.device) -> Callable[..., Float[Tensor, "cluster"]]:
    """`clusters_loss` compiled: CUDA graphs, and elsewhere the traced operations themselves."""
    if device.type == "cuda":
        return torch.compile(clusters_loss, mode="reduce-overhead")
    return torch.compile(clusters_loss, backend="aot_eager")


def _mean(losses: Float[Tensor, " cluster"], passed: Tensor | None) -> Tensor:
    """Mean loss of the clusters that passed the richness cut; 0 if none did."""
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

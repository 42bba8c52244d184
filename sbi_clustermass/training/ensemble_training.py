"""Training of an ensemble on one training set."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from clustermocks.io.lock import claimed
from clustermocks.io.paths import as_path
from clustermocks.io.registry import lookup
from sbi_clustermass.flows import EmbedOnce, Flow
from sbi_clustermass.flows.box import OnBox
from sbi_clustermass.training import (
    Checkpoint,
    Dataset,
    History,
    Progress,
    Training,
    TrainingData,
    build_network,
    fit,
    precompute_summaries,
)
from sbi_clustermass.training.identity import identity
from sbi_clustermass.training.trained import Trained
from sbi_clustermass.training.training_set import TrainingSet
from sbi_clustermass.training.weights import INDEPENDENT, WEIGHTS, DrawnWeights


def train_members(
    clusters: TrainingSet,
    flow: Flow | OnBox,
    training: Training,
    *,
    members: int,
    weights: str = INDEPENDENT,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[list[EmbedOnce], tuple[History, ...]]:
    """Train networks that differ in everything that depends on the seed: weights, split and order of the batches.

    Each member holds out other hosts for validation, so that most members learn from every cluster, and their
    disagreement includes the choice of clusters as well as that of weights. The first member is the network that a
    training with one member gives. Fixed summaries are computed once for all members.

    With weights other than "independent", one network is trained, and the members are draws of its weights.

    Raises:
        TypeError: The flow does not build an `EmbedOnce`.
        ValueError: The weights are unknown, or cannot be drawn of this network.
        BlockingIOError: Another process trains with this folder of states.
    """
    drawn = lookup("weights", weights, WEIGHTS)
    run = _Members(clusters, flow, training, drawn, checkpoint, progress)
    with nullcontext() if checkpoint is None else claimed(checkpoint):
        trained = [run.train(number) for number in range(members if drawn is None else 1)]
    histories = tuple(history for _, history in trained)
    if drawn is None:
        return [each.network for each, _ in trained], histories
    return drawn.draw(trained[0][0], members), histories * members


class _Members:
    """Training of one member after another on the same clusters."""

    def __init__(
        self,
        clusters: TrainingSet,
        flow: Flow | OnBox,
        training: Training,
        drawn: DrawnWeights | None,
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> None:
        self.clusters, self.flow, self.training, self.drawn = clusters, flow, training, drawn
        self.checkpoint, self.progress = checkpoint, progress
        self.dataset: Dataset = clusters.dataset
        self.known = None if checkpoint is None else clusters.dataset.digest()

    def train(self, number: int) -> tuple[Trained, History]:
        """Train a member."""
        clusters, own = self.clusters, replace(self.training, seed=member_seed(self.training.seed, number))
        data = clusters.data(own)
        network = _build(self.flow, clusters, data.split.fitting, own.seed)
        if self.drawn is not None:
            self.drawn.prepare(network, own)
        state = self._state(number, network, data, own)
        if own.augmentation is None:
            self.dataset = precompute_summaries(network, self.dataset, clusters.storage)
        data = replace(data, dataset=self.dataset)
        low, high = (float(np.float32(bound)) for bound in clusters.support)  # as in sbi's box prior
        support = (low, high) if own.truncated else None
        progress = _of_member(self.progress, number)
        history = fit(network, data, support=support, training=own, progress=progress, checkpoint=state)
        independent = len(clusters.clusters) / len(clusters.dataset.theta)
        return Trained(network, data, support, own, independent), history

    def _state(self, number: int, network: EmbedOnce, data: TrainingData, own: Training) -> Checkpoint | None:
        """State of the training on disk."""
        if self.checkpoint is None:
            return None
        who = identity(self.flow, network, data, own, support=self.clusters.support, data_checksum=self.known)
        return Checkpoint(self.checkpoint / f"member-{number}.safetensors", *who)


def member_seed(seed: int, number: int) -> int:
    """Seed of a member of an ensemble; that of the first member is the seed of the training."""
    return seed if number == 0 else int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def remove_checkpoints(folder: Path) -> None:
    """Delete the states that `train_members` wrote, and the folder if it is empty then."""
    folder = as_path(folder)
    for path in folder.rglob("member-*.safetensors"):
        path.unlink()
    for inner in filter(Path.is_dir, folder.glob("*")):
        remove_checkpoints(inner)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _build(flow: Flow | OnBox, clusters: TrainingSet, fitting: Tensor, seed: int) -> EmbedOnce:
    network = build_network(flow, *clusters.example_pairs(fitting), seed=seed)
    if not isinstance(network, EmbedOnce):
        raise TypeError(f"{type(flow).__name__} built a {type(network).__name__}; an estimator needs an EmbedOnce.")
    return network.to(clusters.dataset.theta.device)


def _of_member(progress: Progress | None, number: int) -> Progress | None:
    return None if progress is None else lambda step: progress(replace(step, member=number))

"""Training of an ensemble on one training set."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from clustermocks.io.lock import claimed
from clustermocks.io.paths import as_path
from sbi_clustermass.flows import EmbedOnce, Flow
from sbi_clustermass.flows.box import OnBox
from sbi_clustermass.training import Checkpoint, History, Progress, Training, build_network, fit, precompute_summaries
from sbi_clustermass.training.identity import identity
from sbi_clustermass.training.training_set import TrainingSet


def train_members(
    clusters: TrainingSet,
    flow: Flow | OnBox,
    training: Training,
    *,
    members: int,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[list[EmbedOnce], tuple[History, ...]]:
    """Train networks that differ in everything that depends on the seed: weights, split and order of the batches.

    Each member holds out other hosts for validation, so that most members learn from every cluster, and their
    disagreement includes the choice of clusters as well as that of weights. The first member is the network that a
    training with one member gives. Fixed summaries are computed once for all members.

    Raises:
        TypeError: The flow does not build an `EmbedOnce`.
        BlockingIOError: Another process trains with this folder of states.
    """
    low, high = (float(np.float32(bound)) for bound in clusters.support)  # as in sbi's box prior
    dataset, networks, histories = clusters.dataset, [], []
    with nullcontext() if checkpoint is None else claimed(checkpoint):
        known = None if checkpoint is None else dataset.digest()
        for number in range(members):
            own = replace(training, seed=member_seed(training.seed, number))
            data = clusters.data(own)
            network = _build(flow, clusters, data.split.fitting, own.seed)
            state = None
            if checkpoint is not None:
                who = identity(flow, network, data, own, support=clusters.support, data_checksum=known)
                state = Checkpoint(checkpoint / f"member-{number}.safetensors", *who)
            if own.augmentation is None:
                dataset = precompute_summaries(network, dataset, clusters.storage)
            history = fit(
                network,
                replace(data, dataset=dataset),
                support=(low, high) if own.truncated else None,
                training=own,
                progress=_of_member(progress, number),
                checkpoint=state,
            )
            networks.append(network)
            histories.append(history)
    return networks, tuple(histories)


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

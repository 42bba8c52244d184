"""Training the members of an estimator on one training set."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from clustermocks.io.lock import claimed
from sbi_clustermass.flows import EmbedOnce, Flow
from sbi_clustermass.training import Checkpoint, History, Progress, Training, fit, with_summaries
from sbi_clustermass.training.npe import build
from sbi_clustermass.training.training_set import TrainingSet


def train_members(
    clusters: TrainingSet,
    flow: Flow,
    training: Training,
    *,
    members: int,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[list[EmbedOnce], tuple[History, ...]]:
    """Train some networks that differ in all that the seed decides: weights, split and order of the batches.

    Each member holds other hosts back for validation, so that every cluster is learnt from by most of them, and what
    the members disagree on contains the choice of clusters as well as that of weights. The first is the network that
    training with one member gives. Fixed summaries are computed once for all.

    Args:
        clusters: What they are trained on.
        flow: The architecture.
        training: The rule; its seed is that of the first member.
        members: How many.
        checkpoint: Folder for their states, a file a member.
        progress: Called at every validation.

    Raises:
        TypeError: The flow builds something other than `EmbedOnce`.
        BlockingIOError: Another process trains with this folder of states.
    """
    with nullcontext() if checkpoint is None else claimed(checkpoint):
        return _trained(clusters, flow, training, members, checkpoint, progress)


def _trained(
    clusters: TrainingSet,
    flow: Flow,
    training: Training,
    members: int,
    checkpoint: Path | None,
    progress: Progress | None,
) -> tuple[list[EmbedOnce], tuple[History, ...]]:
    settings = _settings(clusters, flow) if checkpoint is not None else {}
    low, high = (float(np.float32(bound)) for bound in clusters.support)  # as sbi's box prior has them
    rows, networks, histories = clusters.rows, [], []
    for number in range(members):
        rule = replace(training, seed=member_seed(training.seed, number))
        data = clusters.data(rule)
        network = _built(flow, clusters, data.split.fitting, rule)
        if rule.augmentation is None:
            rows = with_summaries(network, rows, clusters.place)
        history = fit(
            network,
            replace(data, rows=rows),
            support=(low, high) if rule.truncated else None,
            training=rule,
            progress=_of_member(progress, number),
            checkpoint=_file(checkpoint, number, {**settings, "training": repr(rule)}),
        )
        networks.append(network)
        histories.append(history)
    return networks, tuple(histories)


def member_seed(seed: int, number: int) -> int:
    """Seed of a member: the first one's is that of the whole."""
    return seed if number == 0 else int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def remove_checkpoints(folder: Path) -> None:
    """Delete the states that `train_members` left, and the folder if nothing else is in it."""
    for path in folder.glob("member-*.safetensors"):
        path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _built(flow: Flow, clusters: TrainingSet, fitting: Tensor, rule: Training) -> EmbedOnce:
    network = build(flow, *clusters.pairs(fitting), rule.seed)
    if not isinstance(network, EmbedOnce):
        raise TypeError(f"{type(flow).__name__} built a {type(network).__name__}; an estimator needs an EmbedOnce.")
    return network.to(clusters.rows.theta.device)


def _of_member(progress: Progress | None, number: int) -> Progress | None:
    return None if progress is None else lambda look: progress(replace(look, member=number))


def _settings(clusters: TrainingSet, flow: Flow) -> dict[str, str]:
    device = clusters.rows.theta.device.type
    settings = {"flow": json.dumps(flow.config()), "support": str(clusters.support), "device": device}
    return {**settings, "clusters": str(len(clusters.rows.theta)), "data": clusters.rows.digest()}


def _file(folder: Path | None, number: int, settings: Mapping[str, str]) -> Checkpoint | None:
    return None if folder is None else Checkpoint(folder / f"member-{number}.safetensors", settings)

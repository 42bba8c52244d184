"""A whole training: from a file of mocks to a folder with the estimator and its history."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol
from warnings import warn

import numpy as np

from clustermocks import Catalogue
from clustermocks.catalogue.folder import StoredCatalogue
from clustermocks.incompleteness import as_observed
from clustermocks.io.lock import claimed
from clustermocks.io.paths import as_path
from clustermocks.io.progress import Stage, silent
from clustermocks.perturbations import cleaned
from sbi_clustermass.estimator.finished import record_training, training_identity
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.misspecification.feature_distance import MIN_MOCKS
from sbi_clustermass.estimator.train import train
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.flows import Flow, flow_from_config
from sbi_clustermass.report.style import save
from sbi_clustermass.training import Augmentation, Training, write_histories
from sbi_clustermass.training.defaults import default_training
from sbi_clustermass.training.ensemble_training import remove_checkpoints
from sbi_clustermass.training.plots import history

HISTORY, PICTURE, CHECKPOINT = "history.csv", "history.png", "checkpoint"
_LARGEST_SHARE = 0.1  # of the mocks, held out


class Parts(Protocol):
    """Mocks in parts that are read one at a time, such as a `StoredCatalogue`."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Catalogue]: ...


def flow_for(options: TrainingOptions) -> Flow:
    """Flow with its embedding."""
    embedding = {"name": options.embedding or "kde", "richness": options.richness}
    if options.sky and options.embedding != "cnn_3d":  # which always takes it
        embedding["sky"] = True
    if options.embedding == "trial_masses":
        # only true members have an edge; with interlopers no posterior is so narrow that it needs more trials
        embedding |= {"edge": options.pure, "saturating": options.richness, "trials": 105 if options.pure else 53}
    return flow_from_config({"name": options.flow or "stacked_affine", "embedding": embedding})


def training_for(options: TrainingOptions) -> Training:
    """Settings of the training loop."""
    given = {name: getattr(options, name) for name in ("learning_rate", "patience", "max_updates")}
    return replace(
        default_training(flow_for(options).embedding),
        **{name: value for name, value in given.items() if value is not None},
        truncated=not options.plain_loss,
        seed=options.seed,
        augmentation=augmentation_for(options),
    )


def augmentation_for(options: TrainingOptions) -> Augmentation | None:
    """Random changes to the clusters during the training; None for none."""
    completeness = 1.0 if options.completeness is None else options.completeness
    if completeness == 1 and not options.velocity_error:
        return None
    return Augmentation(completeness=(completeness, 1.0), velocity_error=(0.0, options.velocity_error or 0.0))


def run_training(
    options: TrainingOptions,
    mocks: Path | Parts,
    out: Path,
    stage: Stage = silent,
    *,
    checkpoint: Path | None = None,
    identity: Mapping[str, str] | None = None,
) -> MassEstimator:
    """Train, resuming an interrupted training, and write the estimator and its history.

    You are warned if too few mocks are held out for the alarm or the recalibration.

    Args:
        options: Settings of the training.
        mocks: A catalogue file; a folder of any size that `simulate_to` wrote, which is read part by part; or the
            parts themselves.
        out: Folder for the estimator.
        stage: Shows the progress.
        checkpoint: Folder for the state of the training, in `out` by default; emptied at the end.
        identity: All that decides the training, for `finished_training`; by default `training_identity`.

    Raises:
        ValueError: A name is unknown, the catalogue cannot be read or not be trained on, the checkpoint is of
            another training, or its folder is `out` itself.
        BlockingIOError: Another process writes into `out`, or into the checkpoint.
    """
    mocks, out = as_path(mocks) if isinstance(mocks, Path) else mocks, as_path(out)
    builder, training, folder = flow_for(options), training_for(options), state_folder(out, checkpoint)
    clusters, held_out = _clusters(options, mocks)
    if identity is None and isinstance(mocks, Path):
        identity = training_identity(options, mocks)
    with claimed(out):
        with stage("training", None) as advance:
            estimator = train(
                clusters,
                flow=builder,
                parameters=options.parameters,
                training=training,
                members=options.members or 1,
                conditions=options.conditions,
                checkpoint=folder,
                device=options.device,
                progress=lambda look: advance(look.update, str(look)),
            )
        estimator = _with_alarm(options, estimator, held_out, stage)
        if options.membership:
            with stage("learning who is a member", None):
                estimator = estimator.with_membership(_first(options, mocks), seed=options.seed)
        provenance = replace(estimator.provenance, notes=options.notes)
        estimator = replace(estimator, provenance=provenance)
        estimator.save(out)
        write_histories(estimator.histories, out / HISTORY)
        save(history(*estimator.histories), out / PICTURE)
        if identity is not None:
            record_training(out, identity)
        remove_checkpoints(folder)
        return estimator


def _with_alarm(
    options: TrainingOptions, estimator: MassEstimator, held_out: Sequence[Catalogue], stage: Stage
) -> MassEstimator:
    if not held_out:
        return estimator
    mocks = Catalogue.concatenate([*map(partial(_shown, options), held_out, range(len(held_out)))])
    estimator = _recalibrated(options, estimator, mocks)
    if len(mocks) < MIN_MOCKS:  # parts are counted before a richness cut; the training is kept all the same
        warn(
            f"{len(mocks)} mocks kept aside are too few to learn what mocks look like; it takes {MIN_MOCKS}: the "
            "estimator warns of no clusters that look like none of its mocks.",
            UserWarning,
            stacklevel=3,
        )
    else:
        with stage("learning what mocks look like", None):
            estimator = estimator.with_alarm(mocks, seed=options.seed)
    # `training_command` needs the number whether there is an alarm or not
    return replace(estimator, provenance=replace(estimator.provenance, held_out=options.alarm))


def _first(options: TrainingOptions, mocks: Path | Parts) -> Catalogue:
    """The first mocks of a set, as the network sees them in training."""
    found, missing = [], options.membership
    for number, part in enumerate(_parts(mocks)):
        shown = _shown(options, _chosen(options, part), number)
        found.append(shown.select(np.arange(min(missing, len(shown)))))
        missing -= len(found[-1])
        if not missing:
            break
    return Catalogue.concatenate(found)


def _parts(mocks: Path | Parts) -> Iterable[Catalogue]:
    if not isinstance(mocks, Path):
        return mocks
    return StoredCatalogue.open(mocks).whole() if mocks.is_dir() else [Catalogue.from_parquet(mocks)]


def _recalibrated(options: TrainingOptions, estimator: MassEstimator, mocks: Catalogue) -> MassEstimator:
    if not options.recalibrate:
        return estimator
    try:
        return estimator.recalibrated(mocks)
    except ValueError as error:  # too few mocks: a finished training is kept all the same
        warn(f"Not recalibrated: {error}", UserWarning, stacklevel=4)
        return estimator


def _shown(options: TrainingOptions, mocks: Catalogue, part: int) -> Catalogue:
    """Observe mocks as the network sees them in training: else a thinned cluster would look unlike them."""
    changed = augmentation_for(options)
    if changed is None:
        return mocks
    return as_observed(mocks, changed.completeness, changed.velocity_error, seed=options.seed + part)


def _clusters(options: TrainingOptions, mocks: Path | Parts) -> tuple[Catalogue | Iterable[Catalogue], list[Catalogue]]:
    """Clusters to train on, and those held out; of parts, the latter list fills while the former are read."""
    if isinstance(mocks, Path) and not mocks.is_dir():
        clusters = _chosen(options, Catalogue.from_parquet(mocks))
        rest, held_out = split_held_out(clusters, options.alarm, seed=options.seed)
        _check_held_out(options, len(rest), 0 if held_out is None else len(held_out))
        return rest, [] if held_out is None else [held_out]
    stored, collected = StoredCatalogue.open(mocks).whole() if isinstance(mocks, Path) else mocks, []
    share = _share(options.alarm, len(stored))
    _check_held_out(options, len(stored), share * len(stored))

    def split(part: Catalogue) -> Catalogue:
        rest, held_out = part.split(1 - share, seed=options.seed)
        collected.append(held_out)
        return rest

    parts = map(partial(_chosen, options), stored)
    return (map(split, parts) if share else parts), collected


def _check_held_out(options: TrainingOptions, n: int, held_out: float) -> None:
    """Refuse a recalibration for which no mocks can be held out, and warn where there are none for an alarm."""
    if options.recalibrate and not held_out:
        raise ValueError(
            f"recalibrate: takes {MIN_MOCKS} mocks kept from the training, a tenth of them at most; there are {n}, "
            f"of which {options.alarm} should be kept.\n  try:    more mocks, or MassEstimator.recalibrated"
        )
    if options.alarm and not held_out:
        warn(
            f"No alarm: it takes {MIN_MOCKS} mocks kept from the training, a tenth of them at most; there are {n}, of "
            f"which {options.alarm} should be kept. The estimator will not warn of clusters that look like none of its "
            f"mocks.\n  try:    {10 * MIN_MOCKS} mocks or more, or --alarm 0 for none",
            UserWarning,
            stacklevel=4,
        )


def _chosen(options: TrainingOptions, catalogue: Catalogue) -> Catalogue:
    catalogue = catalogue.pure() if options.pure else catalogue
    catalogue = catalogue if options.cleaning is None else cleaned(catalogue, options.cleaning)
    return catalogue if options.min_galaxies is None else catalogue.with_min_galaxies(options.min_galaxies)


def state_folder(out: Path, checkpoint: Path | None) -> Path:
    """Return the folder for the state of a training: the one asked for, or one inside the estimator's folder.

    Raises:
        ValueError: The two are the same folder, which can have one writer at a time.
    """
    out, checkpoint = as_path(out), checkpoint and as_path(checkpoint)
    if checkpoint is not None and checkpoint.resolve() == out.resolve():
        raise ValueError(
            f"{out}: the estimator's folder cannot be that of the training's state as well.\n  try:    leave "
            f"--checkpoint out, which takes {out / CHECKPOINT}; or another folder"
        )
    return checkpoint or out / CHECKPOINT


def split_held_out(clusters: Catalogue, n: int, *, seed: int) -> tuple[Catalogue, Catalogue | None]:
    """Hold about n clusters out of the training, by host, and at most a tenth of them.

    Args:
        clusters: All mocks.
        n: Number of clusters to hold out.
        seed: Seed of the choice.

    Returns:
        Clusters to train on, and those held out: None where these are too few for an alarm.
    """
    share = _share(n, len(clusters))
    if not share:
        return clusters, None
    rest, held_out = clusters.split(1 - share, seed=seed)
    return (rest, held_out) if len(held_out) >= MIN_MOCKS else (clusters, None)


def _share(n: int, total: int) -> float:
    share = min(n / max(total, 1), _LARGEST_SHARE)
    return share if share * total >= MIN_MOCKS else 0.0

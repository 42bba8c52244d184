"""A whole training: from a file of mocks to a folder with the estimator and its history."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, final
from warnings import warn

from clustermocks import Catalogue
from clustermocks.catalogue.folder import StoredCatalogue
from clustermocks.incompleteness import as_observed
from clustermocks.io.lock import claimed
from clustermocks.io.progress import Stage, silent
from clustermocks.perturbations import Cleaning, cleaned
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.misspecification.feature_distance import MIN_MOCKS
from sbi_clustermass.estimator.train import train
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


@final
@dataclass(frozen=True)
class TrainingRun:
    """Settings of a whole training, by names and numbers: the options of `clustermass train`.

    Attributes:
        flow: Name in `FLOWS`.
        embedding: Name in `EMBEDDINGS`.
        richness: Whether the network sees the number of galaxies.
        members: Number of networks to train.
        completeness: Lowest share of its galaxies to which a cluster is thinned at random; 1 for no thinning.
        velocity_error: Largest standard deviation of the velocity errors that are added [km/s].
        learning_rate: Learning rate of Adam; by default, as the next two, the one that suits the embedding.
        patience: Number of updates without a better validation loss after which training stops.
        max_updates: Largest number of weight updates.
        min_galaxies: Fewest galaxies of a training cluster; that of the mocks by default.
        pure: Whether to train on true members only.
        cleaning: How interlopers are removed from the mocks, as they were from the data; None to keep them.
        truncated: Whether the loss is that of the density truncated to the prior's range.
        alarm: Number of mocks held out of the training, to fit the alarm to (`split_held_out`).
        recalibrate: Whether posteriors are recalibrated by these mocks (`MassEstimator.recalibrated`).
        seed: Seed of everything.
        device: "auto", "cpu" or "cuda".
        notes: Further facts for the estimator's provenance, as text by name.
    """

    flow: str = "stacked_affine"
    embedding: str = "kde"
    richness: bool = False
    members: int = 1
    completeness: float = 1.0
    velocity_error: float = 0.0
    learning_rate: float | None = None
    patience: int | None = None
    max_updates: int | None = None
    min_galaxies: int | None = None
    pure: bool = False
    cleaning: Cleaning | None = None
    truncated: bool = True
    alarm: int = 3000
    recalibrate: bool = False
    seed: int = 1
    device: str = "auto"
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def builder(self) -> Flow:
        """Flow with its embedding."""
        embedding = {"name": self.embedding, "richness": self.richness}
        if self.embedding == "trial_masses":
            embedding["edge"] = self.pure  # only true members have an edge
        return flow_from_config({"name": self.flow, "embedding": embedding})

    @property
    def training(self) -> Training:
        """Settings of the training loop."""
        given = {name: getattr(self, name) for name in ("learning_rate", "patience", "max_updates")}
        return replace(
            default_training(self.builder.embedding),
            **{name: value for name, value in given.items() if value is not None},
            truncated=self.truncated,
            seed=self.seed,
            augmentation=self.augmentation,
        )

    @property
    def augmentation(self) -> Augmentation | None:
        """Random changes to the clusters during the training; None for none."""
        if self.completeness >= 1 and self.velocity_error <= 0:
            return None
        return Augmentation(completeness=(self.completeness, 1.0), velocity_error=(0.0, self.velocity_error))

    def run(
        self, mocks: Path | Parts, out: Path, stage: Stage = silent, *, checkpoint: Path | None = None
    ) -> MassEstimator:
        """Train, resuming an interrupted training, and write the estimator and its history.

        You are warned if too few mocks are held out for the alarm or the recalibration.

        Args:
            mocks: A catalogue file; a folder of any size that `simulate_to` wrote, which is read part by part; or the
                parts themselves.
            out: Folder for the estimator.
            stage: Shows the progress.
            checkpoint: Folder for the state of the training, in `out` by default; emptied at the end.

        Raises:
            ValueError: A name is unknown, the catalogue cannot be read or not be trained on, the checkpoint is of
                another training, or its folder is `out` itself.
            BlockingIOError: Another process writes into `out`, or into the checkpoint.
        """
        builder, training, folder = self.builder, self.training, state_folder(out, checkpoint)
        clusters, held_out = self._clusters(mocks)
        with claimed(out):
            with stage("training", None) as advance:
                estimator = train(
                    clusters,
                    flow=builder,
                    training=training,
                    members=self.members,
                    checkpoint=folder,
                    device=self.device,
                    progress=lambda look: advance(look.update, str(look)),
                )
            estimator = self._with_alarm(estimator, held_out, stage)
            provenance = replace(estimator.provenance, notes=self.notes)
            estimator = replace(estimator, provenance=provenance)
            estimator.save(out)
            write_histories(estimator.histories, out / HISTORY)
            save(history(*estimator.histories), out / PICTURE)
            remove_checkpoints(folder)
            return estimator

    def _with_alarm(self, estimator: MassEstimator, held_out: Sequence[Catalogue], stage: Stage) -> MassEstimator:
        if not held_out:
            return estimator
        mocks = Catalogue.concatenate([*map(self._shown, held_out, range(len(held_out)))])
        estimator = self._recalibrated(estimator, mocks)
        if len(mocks) < MIN_MOCKS:  # parts are counted before a richness cut; the training is kept all the same
            warn(
                f"{len(mocks)} mocks kept aside are too few to learn what mocks look like; it takes {MIN_MOCKS}: the "
                "estimator warns of no clusters that look like none of its mocks.",
                UserWarning,
                stacklevel=3,
            )
        else:
            with stage("learning what mocks look like", None):
                estimator = estimator.with_alarm(mocks, seed=self.seed)
        # `training_command` needs the number whether there is an alarm or not
        return replace(estimator, provenance=replace(estimator.provenance, held_out=self.alarm))

    def _recalibrated(self, estimator: MassEstimator, mocks: Catalogue) -> MassEstimator:
        if not self.recalibrate:
            return estimator
        try:
            return estimator.recalibrated(mocks)
        except ValueError as error:  # too few mocks: a finished training is kept all the same
            warn(f"Not recalibrated: {error}", UserWarning, stacklevel=4)
            return estimator

    def _shown(self, mocks: Catalogue, part: int) -> Catalogue:
        """Observe mocks as the network sees them in training: else a thinned cluster would look unlike them."""
        changed = self.augmentation
        if changed is None:
            return mocks
        return as_observed(mocks, changed.completeness, changed.velocity_error, seed=self.seed + part)

    def _clusters(self, mocks: Path | Parts) -> tuple[Catalogue | Iterable[Catalogue], list[Catalogue]]:
        """Clusters to train on, and those held out; of parts, the latter list fills while the former are read."""
        if isinstance(mocks, Path) and not mocks.is_dir():
            rest, held_out = split_held_out(self._chosen(Catalogue.from_parquet(mocks)), self.alarm, seed=self.seed)
            self._check_held_out(len(rest), 0 if held_out is None else len(held_out))
            return rest, [] if held_out is None else [held_out]
        stored, collected = StoredCatalogue.open(mocks).whole() if isinstance(mocks, Path) else mocks, []
        share = _share(self.alarm, len(stored))
        self._check_held_out(len(stored), share * len(stored))

        def split(part: Catalogue) -> Catalogue:
            rest, held_out = part.split(1 - share, seed=self.seed)
            collected.append(held_out)
            return rest

        parts = map(self._chosen, stored)
        return (map(split, parts) if share else parts), collected

    def _check_held_out(self, n: int, held_out: float) -> None:
        """Refuse a recalibration for which no mocks can be held out."""
        if self.recalibrate and not held_out:
            raise ValueError(
                f"recalibrate: takes {MIN_MOCKS} mocks kept from the training, a tenth of them at most; there are {n}, "
                f"of which {self.alarm} should be kept.\n  try:    more mocks, or MassEstimator.recalibrated"
            )

    def _chosen(self, catalogue: Catalogue) -> Catalogue:
        catalogue = catalogue.pure() if self.pure else catalogue
        catalogue = catalogue if self.cleaning is None else cleaned(catalogue, self.cleaning)
        return catalogue if self.min_galaxies is None else catalogue.with_min_galaxies(self.min_galaxies)


def state_folder(out: Path, checkpoint: Path | None) -> Path:
    """Return the folder for the state of a training: the one asked for, or one inside the estimator's folder.

    Raises:
        ValueError: The two are the same folder, which can have one writer at a time.
    """
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

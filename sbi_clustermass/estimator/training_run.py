"""A training from the command line: names in, a folder with the estimator and its history out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, final

from rich.console import Console

from clustermocks import Catalogue
from clustermocks.catalogue.folder import StoredCatalogue
from clustermocks.incompleteness import as_observed
from clustermocks.io.lock import claimed
from clustermocks.perturbations import Cleaning, cleaned
from sbi_clustermass.cli.progress import stage
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
_MOST_ASIDE = 0.1


class Parts(Protocol):
    """Mocks of any number, read part by part: `StoredCatalogue`, or another that can be read again."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Catalogue]: ...


@final
@dataclass(frozen=True)
class TrainingRun:
    """The choices of `clustermass train`.

    Attributes:
        flow: Name in `FLOWS`.
        embedding: Name in `EMBEDDINGS`.
        richness: Whether the number of galaxies may count.
        members: Networks to train.
        completeness: Thin clusters at random down to this share of their galaxies; 1 for none.
        velocity_error: Add velocity errors of up to this standard deviation [km/s].
        learning_rate: Of Adam; by default, as the next two, the one that suits the embedding.
        patience: Updates without a better validation loss.
        max_updates: Weight updates at most.
        min_galaxies: Train on clusters of so many galaxies or more.
        pure: Train on true members only.
        cleaning: How interlopers are removed from the mocks, as they were from the data; None for not at all.
        alarm: Clusters kept from the training, to teach the estimator which clusters look like no mock (`held_back`).
        recalibrate: Whether these clusters also mend the posteriors (`MassEstimator.recalibrated`).
        truncated: Whether the loss knows the prior's ends.
        seed: Of everything.
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
        """The architecture."""
        embedding = {"name": self.embedding, "richness": self.richness}
        if self.embedding == "trial_masses":
            embedding["edge"] = self.pure  # only true members end somewhere
        return flow_from_config({"name": self.flow, "embedding": embedding})

    @property
    def training(self) -> Training:
        """The training rule."""
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
        """What is done to clusters while they are shown."""
        if self.completeness >= 1 and self.velocity_error <= 0:
            return None
        return Augmentation(completeness=(self.completeness, 1.0), velocity_error=(0.0, self.velocity_error))

    def run(self, mocks: Path | Parts, out: Path, console: Console, *, checkpoint: Path | None = None) -> MassEstimator:
        """Train, going on where an interrupted training broke off, and write the estimator and its history.

        Args:
            mocks: A catalogue file, or a folder of any size that `simulate_to` wrote, which is read part by part; or
                what gives such parts.
            out: Folder for the estimator.
            console: For progress.
            checkpoint: Folder for the state of the training, in `out` by default; emptied when all is written.

        Raises:
            ValueError: A name is unknown, the catalogue cannot be read or not be trained on, the checkpoint is of
                another training, or its folder is `out` itself.
            BlockingIOError: Another process writes into `out`, or into the checkpoint.
        """
        builder, training, folder = self.builder, self.training, state_folder(out, checkpoint)
        clusters, aside = self._clusters(mocks)
        with claimed(out):
            with stage("training", None, console) as advance:
                estimator = train(
                    clusters,
                    flow=builder,
                    training=training,
                    members=self.members,
                    checkpoint=folder,
                    device=self.device,
                    progress=lambda look: advance(look.update, str(look)),
                )
            estimator = self._with_alarm(estimator, aside, console)
            provenance = replace(estimator.provenance, notes=self.notes)
            estimator = replace(estimator, provenance=provenance)
            estimator.save(out)
            write_histories(estimator.histories, out / HISTORY)
            save(history(*estimator.histories), out / PICTURE)
            remove_checkpoints(folder)
            return estimator

    def _with_alarm(self, estimator: MassEstimator, aside: Sequence[Catalogue], console: Console) -> MassEstimator:
        if not aside:
            return estimator
        kept = Catalogue.concatenate([*map(self._shown, aside, range(len(aside)))])
        estimator = self._recalibrated(estimator, kept, console)
        if len(kept) < MIN_MOCKS:  # parts are counted before a richness cut; a finished training is not lost for that
            console.print(
                f"{len(kept)} mocks kept aside are too few to learn what mocks look like; it takes {MIN_MOCKS}: the "
                "estimator warns of no clusters that look like none of its mocks.",
                soft_wrap=True,
            )
        else:
            with stage("learning what mocks look like", None, console):
                estimator = estimator.with_alarm(kept, seed=self.seed)
        # `training_command` needs the number whether there is an alarm or not
        return replace(estimator, provenance=replace(estimator.provenance, held_out=self.alarm))

    def _recalibrated(self, estimator: MassEstimator, kept: Catalogue, console: Console) -> MassEstimator:
        if not self.recalibrate:
            return estimator
        try:
            return estimator.recalibrated(kept)
        except ValueError as error:  # too few: a finished training is not lost for that
            console.print(f"Not recalibrated: {error}", markup=False, soft_wrap=True)
            return estimator

    def _shown(self, mocks: Catalogue, part: int) -> Catalogue:
        """Mocks as the network was shown them: thinned as the clusters to come are, which then do not look poor."""
        changed = self.augmentation
        if changed is None:
            return mocks
        return as_observed(mocks, changed.completeness, changed.velocity_error, seed=self.seed + part)

    def _clusters(self, mocks: Path | Parts) -> tuple[Catalogue | Iterable[Catalogue], list[Catalogue]]:
        """Clusters to train on, and those kept aside; of many parts, put there while the others are read."""
        if isinstance(mocks, Path) and not mocks.is_dir():
            rest, kept = held_back(self._chosen(Catalogue.from_parquet(mocks)), self.alarm, seed=self.seed)
            self._check_aside(len(rest), 0 if kept is None else len(kept))
            return rest, [] if kept is None else [kept]
        stored, aside = StoredCatalogue.open(mocks).whole() if isinstance(mocks, Path) else mocks, []
        share = _share(self.alarm, len(stored))
        self._check_aside(len(stored), share * len(stored))

        def passed(part: Catalogue) -> Catalogue:
            rest, kept = part.split(1 - share, seed=self.seed)
            aside.append(kept)
            return rest

        parts = map(self._chosen, stored)
        return (map(passed, parts) if share else parts), aside

    def _check_aside(self, n: int, aside: float) -> None:
        """A recalibration that was asked for is not left out in silence."""
        if self.recalibrate and not aside:
            raise ValueError(
                f"recalibrate: takes {MIN_MOCKS} mocks kept from the training, a tenth of them at most; there are {n}, "
                f"of which {self.alarm} should be kept.\n  try:    more mocks, or MassEstimator.recalibrated"
            )

    def _chosen(self, catalogue: Catalogue) -> Catalogue:
        catalogue = catalogue.pure() if self.pure else catalogue
        catalogue = catalogue if self.cleaning is None else cleaned(catalogue, self.cleaning)
        return catalogue if self.min_galaxies is None else catalogue.with_min_galaxies(self.min_galaxies)


def state_folder(out: Path, checkpoint: Path | None) -> Path:
    """Folder for the state of a training: that asked for, or one in the estimator's.

    Raises:
        ValueError: They are one folder, which has one writer at a time.
    """
    if checkpoint is not None and checkpoint.resolve() == out.resolve():
        raise ValueError(
            f"{out}: the estimator's folder cannot be that of the training's state as well.\n  try:    leave "
            f"--checkpoint out, which takes {out / CHECKPOINT}; or another folder"
        )
    return checkpoint or out / CHECKPOINT


def held_back(clusters: Catalogue, n: int, *, seed: int) -> tuple[Catalogue, Catalogue | None]:
    """About n clusters kept from the training, by host, but at most a tenth; none where too few are left for an alarm.

    Args:
        clusters: All mocks.
        n: How many.
        seed: Of the choice.

    Returns:
        Clusters to train on, and those kept aside.
    """
    share = _share(n, len(clusters))
    if not share:
        return clusters, None
    rest, aside = clusters.split(1 - share, seed=seed)
    return (rest, aside) if len(aside) >= MIN_MOCKS else (clusters, None)


def _share(n: int, total: int) -> float:
    share = min(n / max(total, 1), _MOST_ASIDE)
    return share if share * total >= MIN_MOCKS else 0.0

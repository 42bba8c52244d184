"""A training from the command line: names in, a folder with the estimator and its history out."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from rich.console import Console

from clustermocks import Catalogue
from clustermocks.stored import StoredCatalogue
from sbi_clustermass import plots
from sbi_clustermass.estimator import MassEstimator, train
from sbi_clustermass.flows import Flow, flow_from_config
from sbi_clustermass.loop import Augmentation, Training, write_histories
from sbi_clustermass.members import remove_checkpoints
from sbi_clustermass.progress import stage
from sbi_clustermass.rules import rule_for

HISTORY, PICTURE, CHECKPOINT = "history.csv", "history.png", "checkpoint"


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
        truncated: Whether the loss knows the prior's ends.
        seed: Of everything.
        device: "auto", "cpu" or "cuda".
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
    truncated: bool = True
    seed: int = 1
    device: str = "auto"

    @property
    def builder(self) -> Flow:
        """The architecture."""
        return flow_from_config({"name": self.flow, "embedding": {"name": self.embedding, "richness": self.richness}})

    @property
    def training(self) -> Training:
        """The training rule."""
        changed = self.completeness < 1 or self.velocity_error > 0
        augmentation = Augmentation(completeness=(self.completeness, 1.0), velocity_error=(0.0, self.velocity_error))
        given = {name: getattr(self, name) for name in ("learning_rate", "patience", "max_updates")}
        return replace(
            rule_for(self.builder.embedding),
            **{name: value for name, value in given.items() if value is not None},
            truncated=self.truncated,
            seed=self.seed,
            augmentation=augmentation if changed else None,
        )

    def run(self, mocks: Path, out: Path, console: Console, *, checkpoint: Path | None = None) -> MassEstimator:
        """Train, going on where an interrupted training broke off, and write the estimator and its history.

        Args:
            mocks: A catalogue file, or a folder of any size that `simulate_to` wrote, which is read part by part.
            out: Folder for the estimator.
            console: For progress.
            checkpoint: Folder for the state of the training, in `out` by default; emptied when all is written.

        Raises:
            ValueError: A name is unknown, the catalogue cannot be read or not be trained on, or the checkpoint is of
                another training.
        """
        builder, training, folder = self.builder, self.training, checkpoint or out / CHECKPOINT
        with stage("training", None, console) as advance:
            estimator = train(
                self._clusters(mocks),
                flow=builder,
                training=training,
                members=self.members,
                checkpoint=folder,
                device=self.device,
                progress=lambda look: advance(look.update, str(look)),
            )
        estimator.save(out)
        write_histories(estimator.histories, out / HISTORY)
        plots.save(plots.history(*estimator.histories), out / PICTURE)
        remove_checkpoints(folder)
        return estimator

    def _clusters(self, mocks: Path) -> Catalogue | Iterable[Catalogue]:
        if not mocks.is_dir():
            return self._chosen(Catalogue.from_parquet(mocks))
        return map(self._chosen, StoredCatalogue.open(mocks).whole())

    def _chosen(self, catalogue: Catalogue) -> Catalogue:
        catalogue = catalogue.pure() if self.pure else catalogue
        return catalogue if self.min_galaxies is None else catalogue.with_min_galaxies(self.min_galaxies)

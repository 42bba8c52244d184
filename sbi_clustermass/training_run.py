"""A training from the command line: names in, a folder with the estimator and its history out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast, final

from rich.console import Console

from clustermocks import Catalogue
from clustermocks.stored import StoredCatalogue
from sbi_clustermass import plots
from sbi_clustermass.diagnostics.likeness import FEWEST
from sbi_clustermass.estimator import MassEstimator, train
from sbi_clustermass.flows import Flow, flow_from_config
from sbi_clustermass.loop import Augmentation, Training, write_histories
from sbi_clustermass.members import remove_checkpoints
from sbi_clustermass.progress import stage
from sbi_clustermass.rules import rule_for

HISTORY, PICTURE, CHECKPOINT = "history.csv", "history.png", "checkpoint"
_MOST_ASIDE = 0.1


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
        alarm: Clusters kept from the training, to teach the estimator which clusters look like no mock (`held_back`).
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
    alarm: int = 3000
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
        clusters = self._clusters(mocks)
        with stage("training", None, console) as advance:
            estimator = train(
                clusters.to_train_on(),
                flow=builder,
                training=training,
                members=self.members,
                checkpoint=folder,
                device=self.device,
                progress=lambda look: advance(look.update, str(look)),
            )
        estimator = self._with_alarm(estimator, clusters.aside, console)
        estimator.save(out)
        write_histories(estimator.histories, out / HISTORY)
        plots.save(plots.history(*estimator.histories), out / PICTURE)
        remove_checkpoints(folder)
        return estimator

    def _with_alarm(self, estimator: MassEstimator, aside: Sequence[Catalogue], console: Console) -> MassEstimator:
        if not aside:
            return estimator
        with stage("learning what mocks look like", None, console):
            made = estimator.with_alarm(Catalogue.concatenate(aside), seed=self.seed)
        return replace(made, provenance={**made.provenance, "alarm": str(self.alarm)})

    def _clusters(self, mocks: Path) -> "_Clusters":
        if not mocks.is_dir():
            whole = self._chosen(Catalogue.from_parquet(mocks))
            return _Clusters([whole], _share(self.alarm, len(whole)), self.seed, in_memory=True)
        stored = StoredCatalogue.open(mocks).whole()
        return _Clusters(map(self._chosen, stored), _share(self.alarm, len(stored)), self.seed, in_memory=False)

    def _chosen(self, catalogue: Catalogue) -> Catalogue:
        catalogue = catalogue.pure() if self.pure else catalogue
        return catalogue if self.min_galaxies is None else catalogue.with_min_galaxies(self.min_galaxies)


def held_back(clusters: Catalogue, n: int, *, seed: int) -> tuple[Catalogue, Catalogue | None]:
    """About n clusters kept from the training, by host, but at most a tenth; none where too few are left for an alarm.

    Args:
        clusters: All mocks.
        n: How many.
        seed: Of the choice.

    Returns:
        Clusters to train on, and those kept aside.
    """
    parts = _Clusters([clusters], _share(n, len(clusters)), seed, in_memory=True)
    return cast(Catalogue, parts.to_train_on()), parts.aside[0] if parts.aside else None


def _share(n: int, total: int) -> float:
    share = min(n / max(total, 1), _MOST_ASIDE)
    return share if share * total >= FEWEST else 0.0


@final
@dataclass
class _Clusters:
    """Mocks on their way to a training, of which a share is put aside as they pass."""

    parts: Iterable[Catalogue]
    share: float
    seed: int
    in_memory: bool
    aside: list[Catalogue] = field(default_factory=list)

    def to_train_on(self) -> Catalogue | Iterable[Catalogue]:
        """The rest, at once or part by part."""
        rest = map(self._passed, self.parts)
        return next(rest) if self.in_memory else rest

    def _passed(self, part: Catalogue) -> Catalogue:
        if not self.share or len(part) < 2:
            return part
        rest, aside = part.split(1 - self.share, seed=self.seed)
        self.aside.append(aside)
        return rest

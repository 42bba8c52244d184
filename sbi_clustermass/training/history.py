"""What happened during training: as numbers, as a table, and while it goes on."""

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np

from clustermocks.io.atomic import replacing


@final
@dataclass
class History:
    """What happened during training.

    Attributes:
        updates: Weight updates at each validation.
        training_loss: Mean loss of the batches since the last validation [nats].
        validation_loss: Loss of the whole validation set [nats].
    """

    updates: list[int] = field(default_factory=list)
    training_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)

    @property
    def best_update(self) -> int:
        """Weight updates after which the restored weights were taken."""
        return self.updates[int(np.argmin(self.validation_loss))]

    def record(self, update: int, total: float, validation_loss: float) -> None:
        """Add a look at the validation set.

        Args:
            update: Weight updates so far.
            total: Sum of the batches' losses since the last look [nats].
            validation_loss: Of the whole validation set [nats].

        Raises:
            FloatingPointError: The validation loss is not finite.
        """
        since = update - (self.updates[-1] if self.updates else 0)
        self.updates.append(update)
        self.training_loss.append(total / since)
        self.validation_loss.append(validation_loss)
        if not np.isfinite(validation_loss):
            raise FloatingPointError(
                f"the validation loss is {validation_loss} after {update} updates; try a lower learning rate."
            )


def write_histories(histories: Iterable[History], path: Path) -> None:
    """Write a CSV table, a row for each look at the validation set of each member; losses in nats."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["member", "updates", "training_loss", "validation_loss", "weights_kept"])
        for member, record in enumerate(histories):
            for look in zip(record.updates, record.training_loss, record.validation_loss, strict=True):
                rows.writerow([member, *look, int(look[0] == record.best_update)])


@final
@dataclass(frozen=True)
class Look:
    """A look at the validation set, told to whoever follows a training.

    Attributes:
        update: Weight updates so far.
        training_loss: Mean loss of the batches since the last look [nats].
        validation_loss: Loss of the whole validation set [nats].
        updates_per_second: Since training began, or was resumed; validation included.
        end: Weight updates after which training ends, once that is known: when the learning rate falls.
        member: Which member of an ensemble, from 0.
    """

    update: int
    training_loss: float
    validation_loss: float
    updates_per_second: float
    end: int | None = None
    member: int = 0

    @property
    def seconds_left(self) -> float | None:
        """Until the training of this member ends [s]; None while nobody knows."""
        return None if self.end is None else (self.end - self.update) / self.updates_per_second

    def __str__(self) -> str:
        left, who = self.seconds_left, f"member {self.member + 1}, " if self.member else ""
        return (
            f"{who}loss {self.training_loss:.3f}, validation loss {self.validation_loss:.3f}, "
            f"{self.updates_per_second:.1f} updates/s{'' if left is None else f', {left:.0f} s left'}"
        )


Progress = Callable[[Look], None]

"""History of a training: losses at each validation, their table, and reports while it runs."""

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
    """Losses during training.

    Attributes:
        updates: Number of weight updates at each validation.
        training_loss: Mean loss of the batches since the last validation [nats].
        validation_loss: Loss of the whole validation set [nats].
    """

    updates: list[int] = field(default_factory=list)
    training_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)

    @property
    def best_update(self) -> int:
        """Number of weight updates of the weights that were kept."""
        return self.updates[int(np.argmin(self.validation_loss))]

    def record(self, update: int, total: float, validation_loss: float) -> None:
        """Append a validation.

        Args:
            update: Number of weight updates so far.
            total: Sum of the batches' losses since the last validation [nats].
            validation_loss: Loss of the whole validation set [nats].

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
    """Write a CSV table with one row for each validation of each member; losses in nats."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["member", "updates", "training_loss", "validation_loss", "weights_kept"])
        for member, record in enumerate(histories):
            for step in zip(record.updates, record.training_loss, record.validation_loss, strict=True):
                rows.writerow([member, *step, int(step[0] == record.best_update)])


@final
@dataclass(frozen=True)
class ValidationStep:
    """Report of one validation, passed to the progress callback of a training.

    Attributes:
        update: Number of weight updates so far.
        training_loss: Mean loss of the batches since the last validation [nats].
        validation_loss: Loss of the whole validation set [nats].
        updates_per_second: Rate since training began or was resumed, validation included.
        end: Number of weight updates after which training ends; None until the cool-down has started.
        member: Index of the member of an ensemble, from 0.
    """

    update: int
    training_loss: float
    validation_loss: float
    updates_per_second: float
    end: int | None = None
    member: int = 0

    @property
    def seconds_left(self) -> float | None:
        """Time until the training of this member ends [s]; None while `end` is unknown."""
        return None if self.end is None else (self.end - self.update) / self.updates_per_second

    def __str__(self) -> str:
        left, who = self.seconds_left, f"member {self.member + 1}, " if self.member else ""
        return (
            f"{who}loss {self.training_loss:.3f}, validation loss {self.validation_loss:.3f}, "
            f"{self.updates_per_second:.1f} updates/s{'' if left is None else f', {left:.0f} s left'}"
        )


Progress = Callable[[ValidationStep], None]

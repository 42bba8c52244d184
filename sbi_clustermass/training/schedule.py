"""Schedule of the learning rate, with early stopping and a cool-down."""

from typing import final

from sbi_clustermass.training.settings import Training


@final
class Schedule:
    """Learning rate of every weight update, and the number of updates.

    Attributes:
        end: Number of weight updates after which training ends.
        start: Number of weight updates after which the cool-down started; None before that.
    """

    def __init__(self, training: Training) -> None:
        self.training, self.end = training, training.max_updates
        self._latest_start = round(training.max_updates / (1 + training.cooldown))
        self.start: int | None = None

    def learning_rate(self, update: int) -> float:
        """Learning rate of a weight update, counted from 1."""
        if self.start is None:
            return self.training.learning_rate
        return self.training.learning_rate * (self.end - update + 1) / (self.end - self.start)

    def starts_cooldown(self, update: int, best_update: int) -> bool:
        """Return whether the cool-down starts after this update, and remember it; called at every validation."""
        waited = update - best_update >= self.training.patience or update >= self._latest_start
        if self.start is not None or not waited:
            return False
        self.start = update
        self.end = min(self.end, update + round(self.training.cooldown * update))
        return True

"""When the learning rate starts to fall, and when training ends."""

from typing import final

from sbi_clustermass.training.settings import Training


@final
class Pace:
    """The learning rate at every weight update, and the last one.

    Attributes:
        end: Weight updates after which training ends.
        start: Weight updates after which the cool-down started; None before it has.
    """

    def __init__(self, training: Training) -> None:
        self.training, self.end = training, training.max_updates
        self.latest = round(training.max_updates / (1 + training.cooldown))
        self.start: int | None = None

    def learning_rate(self, update: int) -> float:
        """For this weight update, counted from 1."""
        if self.start is None:
            return self.training.learning_rate
        return self.training.learning_rate * (self.end - update + 1) / (self.end - self.start)

    def ends_at(self, update: int) -> bool:
        """Whether this weight update is the last."""
        return update == self.end

    def cools_from(self, update: int, best_update: int) -> bool:
        """Whether the cool-down starts after this update; it is told of every look at the validation set."""
        waited = update - best_update >= self.training.patience or update >= self.latest
        if self.start is not None or not waited:
            return False
        self.start = update
        self.end = min(self.end, update + round(self.training.cooldown * update))
        return True

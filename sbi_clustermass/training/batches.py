"""Batches of row numbers."""

from typing import final

import torch
from jaxtyping import Int
from torch import Tensor

from sbi_clustermass.training.dataset import Picked
from sbi_clustermass.training.settings import Training


@final
class Batches:
    """Shuffled batches of row numbers, one epoch after another, the short rest of an epoch left out.

    Drawn on the CPU, so that a seed means the same on every device, and sent over once an epoch.
    """

    def __init__(self, rows: Int[Tensor, " row"], training: Training, device: torch.device) -> None:
        self.rows, self.size, self.device = rows, min(training.batch_size, len(rows)), device
        self.generator = torch.Generator().manual_seed(training.seed)
        self._begin(rows[:0])

    def next(self) -> Picked:
        """The next batch."""
        if len(self.order.here) < self.size:
            self._begin(self.rows[torch.randperm(len(self.rows), generator=self.generator)])
        here, there = (order.split([self.size, len(order) - self.size]) for order in self.order)
        self.order = Picked(here[1], there[1])
        return Picked(here[0], there[0])

    def state(self) -> dict[str, Tensor]:
        """What is left of the epoch, and the generator's state."""
        return {"order": self.order.here.clone(), "generator": self.generator.get_state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state()`."""
        self._begin(state["order"])
        self.generator.set_state(state["generator"])

    def _begin(self, order: Tensor) -> None:
        self.order = Picked(order, order.to(self.device))

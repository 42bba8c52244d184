"""Batches of row numbers."""

from typing import final

import torch
from jaxtyping import Int
from torch import Tensor

from sbi_clustermass.training.dataset import RowIndices
from sbi_clustermass.training.settings import Training


@final
class Batches:
    """Shuffled batches of row numbers, one epoch after another; the incomplete last batch of an epoch is dropped.

    They are drawn on the CPU, so that a seed gives the same batches on every device, and copied once per epoch.
    """

    def __init__(self, rows: Int[Tensor, " row"], training: Training, device: torch.device) -> None:
        self.rows, self.size, self.device = rows, min(training.batch_size, len(rows)), device
        self.generator = torch.Generator().manual_seed(training.seed)
        self._begin(rows[:0])

    def next(self) -> RowIndices:
        """Return the next batch."""
        if len(self.order.cpu) < self.size:
            self._begin(self.rows[torch.randperm(len(self.rows), generator=self.generator)])
        cpu, device = (order.split([self.size, len(order) - self.size]) for order in self.order)
        self.order = RowIndices(cpu[1], device[1])
        return RowIndices(cpu[0], device[0])

    def state(self) -> dict[str, Tensor]:
        """Remaining rows of the epoch, and the state of the generator."""
        return {"order": self.order.cpu.clone(), "generator": self.generator.get_state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from a `state()`."""
        self._begin(state["order"])
        self.generator.set_state(state["generator"])

    def _begin(self, order: Tensor) -> None:
        self.order = RowIndices(order, order.to(self.device))

"""What is done to the clusters once, before training: summaries that have no weights, and augmented validation sets."""

import torch
from jaxtyping import Int
from sbi.neural_nets.estimators.base import ConditionalDensityEstimator
from torch import Tensor, nn

from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.training.augmentation import Augmentation
from sbi_clustermass.training.dataset import Galaxies, GalaxyWriter, Place, Rows, Table, parts


def with_summaries(network: nn.Module, rows: Rows, place: Place) -> Rows:
    """The rows with the fixed stage of the network's embedding computed, or as they are where that is no gain.

    A stage that works galaxy by galaxy gives no table: sets of any size go in, and sets of any size come out.
    """
    if not isinstance(network, EmbedOnce) or not _reduces(network, rows):
        return rows
    table: Tensor | None = None
    for picked in parts(rows):
        with torch.no_grad():
            summary = network.summary(rows.take(picked))
        table = place.empty(len(rows.theta), *summary.shape[1:]) if table is None else table
        table[int(picked.here[0]) : int(picked.here[-1]) + 1] = summary
    return rows if table is None else Table(rows.theta, table, is_summary=True)


def on_rows(network: ConditionalDensityEstimator, rows: Rows) -> ConditionalDensityEstimator:
    """The network, or where the rows are summaries already, what of it follows after them; weights are shared."""
    done = isinstance(rows, Table) and rows.is_summary
    return network.on_summaries() if done and isinstance(network, EmbedOnce) else network


def augmented(
    rows: Rows, among: Int[Tensor, " some"], augmentation: Augmentation, *, generator: torch.Generator, place: Place
) -> Rows:
    """Some rows, each augmented once; those under the richness cut are left out.

    Raises:
        ValueError: None is left.
    """
    into = _GalaxyRows(place) if isinstance(rows, Galaxies) else _DenseRows()
    theta = [rows.theta[:0]]
    for picked in parts(rows, among):
        x, passed = augmentation(rows.take(picked), generator)
        theta.append(rows.theta[picked.there][passed])
        into.append(x[passed])
    if not sum(map(len, theta)):
        raise ValueError(
            f"no cluster of the validation set is left with {augmentation.min_galaxies} galaxies after thinning.\n"
            "  try:    a higher completeness, or richer clusters"
        )
    return into.finish(torch.cat(theta))


class _DenseRows:
    """Collects observations of one shape."""

    def __init__(self) -> None:
        self.x: list[Tensor] = []

    def append(self, x: Tensor) -> None:
        self.x.append(x)

    def finish(self, theta: Tensor) -> Rows:
        return Table(theta, torch.cat(self.x))


class _GalaxyRows:
    """Collects the galaxies of padded observations."""

    def __init__(self, place: Place) -> None:
        self.writer = GalaxyWriter(place)

    def append(self, x: Tensor) -> None:
        real = x[..., 2] > 0
        self.writer.append(x[real][:, :2].cpu().numpy(), real.sum(1).cpu().numpy())

    def finish(self, theta: Tensor) -> Rows:
        return self.writer.finish(theta)


def _reduces(network: EmbedOnce, rows: Rows) -> bool:
    """Whether a table of summaries can stand for the rows."""
    if isinstance(network.summary, nn.Identity) or not network.summary_is_fixed:
        return False
    if isinstance(rows, Table):
        return not rows.is_summary
    with torch.no_grad():
        one, two = (network.summary(torch.zeros(1, n, 3, device=rows.theta.device)) for n in (1, 2))
    return one.shape == two.shape

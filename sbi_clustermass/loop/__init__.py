"""The training loop: early stopping counted in weight updates on the whole validation set.

Losses are in nats. Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from sbi_clustermass.loop.augmentation import Augmentation
from sbi_clustermass.loop.checkpoint import Checkpoint
from sbi_clustermass.loop.fitting import Data, clusters_loss, fit
from sbi_clustermass.loop.history import History, Look, Progress, write_histories
from sbi_clustermass.loop.rows import Galaxies, GalaxyWriter, Place, Rows, Table
from sbi_clustermass.loop.rule import Split, Training, split_by_group
from sbi_clustermass.loop.summaries import with_summaries

__all__ = [
    "Augmentation",
    "Checkpoint",
    "Data",
    "Galaxies",
    "GalaxyWriter",
    "History",
    "Look",
    "Place",
    "Progress",
    "Rows",
    "Split",
    "Table",
    "Training",
    "clusters_loss",
    "fit",
    "split_by_group",
    "with_summaries",
    "write_histories",
]

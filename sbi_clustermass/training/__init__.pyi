from .augmentation import Augmentation as Augmentation
from .checkpoint import Checkpoint as Checkpoint
from .dataset import (
    Galaxies as Galaxies,
    GalaxyWriter as GalaxyWriter,
    Place as Place,
    Rows as Rows,
    Table as Table,
)
from .history import (
    History as History,
    Look as Look,
    Progress as Progress,
    write_histories as write_histories,
)
from .loop import (
    Data as Data,
    clusters_loss as clusters_loss,
    fit as fit,
)
from .precompute import with_summaries as with_summaries
from .settings import (
    Split as Split,
    Training as Training,
    split_by_group as split_by_group,
)

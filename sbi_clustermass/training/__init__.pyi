from .augmentation import Augmentation as Augmentation
from .checkpoint import Checkpoint as Checkpoint
from .dataset import (
    Dataset as Dataset,
    DenseDataset as DenseDataset,
    GalaxyWriter as GalaxyWriter,
    RaggedDataset as RaggedDataset,
    Storage as Storage,
)
from .history import (
    History as History,
    Progress as Progress,
    ValidationStep as ValidationStep,
    write_histories as write_histories,
)
from .loop import (
    TrainingData as TrainingData,
    build_network as build_network,
    clusters_loss as clusters_loss,
    fit as fit,
)
from .precompute import precompute_summaries as precompute_summaries
from .settings import Split as Split, Training as Training, split_by_group as split_by_group

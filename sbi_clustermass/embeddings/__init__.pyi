from .attention import SetTransformer as SetTransformer
from .cnn import ImageCNN as ImageCNN
from .deep_sets import DeepSets as DeepSets
from .galaxies import stages as stages
from .kde import KDEImage as KDEImage, LearnedKDE as LearnedKDE
from .kde_cube import CubeCNN as CubeCNN
from .registry import (
    EMBEDDINGS as EMBEDDINGS,
    embedding_config as embedding_config,
    embedding_from_config as embedding_from_config,
)
from .summary import SummaryStatistics as SummaryStatistics
from .trial_masses import TrialMasses as TrialMasses

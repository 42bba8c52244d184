from .baselines import MSigma as MSigma
from .diagnostics.jeans_task import JeansTask as JeansTask
from .embeddings import (
    EMBEDDINGS as EMBEDDINGS,
    CubeCNN as CubeCNN,
    DeepSets as DeepSets,
    ImageCNN as ImageCNN,
    KDEImage as KDEImage,
    LearnedKDE as LearnedKDE,
    SetTransformer as SetTransformer,
    SummaryStatistics as SummaryStatistics,
    TrialMasses as TrialMasses,
)
from .estimator.mass_estimator import MassEstimator as MassEstimator
from .estimator.train import train as train
from .flows import (
    FLOWS as FLOWS,
    MADE as MADE,
    MAF as MAF,
    MAFRQS as MAFRQS,
    MDN as MDN,
    NSF as NSF,
    StackedAffine as StackedAffine,
    Tabulated as Tabulated,
    ZukoBPF as ZukoBPF,
    ZukoGF as ZukoGF,
    ZukoMAF as ZukoMAF,
    ZukoNAF as ZukoNAF,
    ZukoNICE as ZukoNICE,
    ZukoNSF as ZukoNSF,
    register as register,
)
from .observations.masses import (
    Masses as Masses,
    infer as infer,
)
from .observations.tables import (
    TableError as TableError,
    TableOptions as TableOptions,
    read_cluster as read_cluster,
    read_clusters as read_clusters,
)
from .posterior import (
    MassPosteriors as MassPosteriors,
    Posteriors as Posteriors,
    combined as combined,
)
from .posterior.prior import mass_prior as mass_prior
from .training import (
    Augmentation as Augmentation,
    Training as Training,
)
from .training.dataset import (
    Catalogue as Catalogue,
    as_tensors as as_tensors,
)
from .training.npe import ClusterNPE as ClusterNPE

__version__: str

"""Dynamical masses of galaxy clusters with neural posterior estimation: a plugin for sbi.

Masses are M200c [h^-1 Msun] as log10_mass [dex], lengths comoving [h^-1 Mpc], velocities [km/s]. Names are imported
when first used, so that `import sbi_clustermass` does not wait for torch and sbi.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clustermocks import Catalogue
    from sbi_clustermass.baselines import MSigma
    from sbi_clustermass.embeddings import (
        EMBEDDINGS,
        DeepSets,
        ImageCNN,
        KDEImage,
        LearnedKDE,
        SetTransformer,
        SummaryStatistics,
        TrialMasses,
    )
    from sbi_clustermass.estimator import MassEstimator
    from sbi_clustermass.fitting import train
    from sbi_clustermass.flows import (
        FLOWS,
        MADE,
        MAF,
        MAFRQS,
        MDN,
        NSF,
        StackedAffine,
        Tabulated,
        ZukoBPF,
        ZukoGF,
        ZukoMAF,
        ZukoNAF,
        ZukoNICE,
        ZukoNSF,
        ZukoSOSPF,
        ZukoUNAF,
        register,
    )
    from sbi_clustermass.loop import Augmentation, Training
    from sbi_clustermass.posterior import MassPosteriors
    from sbi_clustermass.prior import mass_prior
    from sbi_clustermass.tables import TableError, TableOptions, read_cluster, read_clusters
    from sbi_clustermass.tasks import JeansTask
    from sbi_clustermass.training import ClusterNPE, as_tensors

_HOME = {
    "Augmentation": "sbi_clustermass.loop",
    "Tabulated": "sbi_clustermass.flows",
    "TrialMasses": "sbi_clustermass.embeddings",
    "NSF": "sbi_clustermass.flows",
    "MDN": "sbi_clustermass.flows",
    "MAFRQS": "sbi_clustermass.flows",
    "MAF": "sbi_clustermass.flows",
    "Catalogue": "clustermocks",
    "ClusterNPE": "sbi_clustermass.training",
    "DeepSets": "sbi_clustermass.embeddings",
    "EMBEDDINGS": "sbi_clustermass.embeddings",
    "FLOWS": "sbi_clustermass.flows",
    "ImageCNN": "sbi_clustermass.embeddings",
    "JeansTask": "sbi_clustermass.tasks",
    "KDEImage": "sbi_clustermass.embeddings",
    "LearnedKDE": "sbi_clustermass.embeddings",
    "MSigma": "sbi_clustermass.baselines",
    "MassEstimator": "sbi_clustermass.estimator",
    "MassPosteriors": "sbi_clustermass.posterior",
    "SetTransformer": "sbi_clustermass.embeddings",
    "MADE": "sbi_clustermass.flows",
    "StackedAffine": "sbi_clustermass.flows",
    "SummaryStatistics": "sbi_clustermass.embeddings",
    "Training": "sbi_clustermass.loop",
    "ZukoBPF": "sbi_clustermass.flows",
    "ZukoGF": "sbi_clustermass.flows",
    "ZukoMAF": "sbi_clustermass.flows",
    "ZukoNAF": "sbi_clustermass.flows",
    "ZukoNICE": "sbi_clustermass.flows",
    "ZukoNSF": "sbi_clustermass.flows",
    "ZukoSOSPF": "sbi_clustermass.flows",
    "ZukoUNAF": "sbi_clustermass.flows",
    "as_tensors": "sbi_clustermass.training",
    "mass_prior": "sbi_clustermass.prior",
    "TableError": "sbi_clustermass.tables",
    "TableOptions": "sbi_clustermass.tables",
    "read_cluster": "sbi_clustermass.tables",
    "read_clusters": "sbi_clustermass.tables",
    "register": "sbi_clustermass.flows",
    "train": "sbi_clustermass.fitting",
}

__all__ = [
    "EMBEDDINGS",
    "FLOWS",
    "MADE",
    "MAF",
    "MAFRQS",
    "MDN",
    "NSF",
    "Augmentation",
    "Catalogue",
    "ClusterNPE",
    "DeepSets",
    "ImageCNN",
    "JeansTask",
    "KDEImage",
    "LearnedKDE",
    "MSigma",
    "MassEstimator",
    "MassPosteriors",
    "SetTransformer",
    "StackedAffine",
    "SummaryStatistics",
    "TableError",
    "TableOptions",
    "Tabulated",
    "Training",
    "TrialMasses",
    "ZukoBPF",
    "ZukoGF",
    "ZukoMAF",
    "ZukoNAF",
    "ZukoNICE",
    "ZukoNSF",
    "ZukoSOSPF",
    "ZukoUNAF",
    "as_tensors",
    "mass_prior",
    "read_cluster",
    "read_clusters",
    "register",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

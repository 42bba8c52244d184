from .autoregressive import (
    MAF as MAF,
    MAFRQS as MAFRQS,
    NSF as NSF,
)
from .base import Flow as Flow
from .embed_once import EmbedOnce as EmbedOnce
from .mixtures import (
    MADE as MADE,
    MDN as MDN,
)
from .registry import (
    FLOWS as FLOWS,
    flow_from_config as flow_from_config,
)
from .sbi_names import register as register
from .stacked_affine import StackedAffine as StackedAffine
from .tabulated import Tabulated as Tabulated
from .zuko import (
    ZukoBPF as ZukoBPF,
    ZukoGF as ZukoGF,
    ZukoMAF as ZukoMAF,
    ZukoNAF as ZukoNAF,
    ZukoNICE as ZukoNICE,
    ZukoNSF as ZukoNSF,
)

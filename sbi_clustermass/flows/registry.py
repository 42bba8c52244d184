"""Names of the flows, and their way back from a file."""

from clustermocks.io.registry import lookup, split_name
from sbi_clustermass.flows.autoregressive import MAF, MAFRQS, NSF
from sbi_clustermass.flows.base import Flow
from sbi_clustermass.flows.mixtures import MADE, MDN
from sbi_clustermass.flows.stacked_affine import StackedAffine
from sbi_clustermass.flows.tabulated import Tabulated
from sbi_clustermass.flows.zuko import (
    ZukoBPF,
    ZukoGF,
    ZukoMAF,
    ZukoNAF,
    ZukoNICE,
    ZukoNSF,
)

_CLASSES: tuple[type[Flow], ...] = (
    *(StackedAffine, MAF, MAFRQS, NSF, MADE, MDN, Tabulated),
    *(ZukoMAF, ZukoNICE, ZukoNSF, ZukoGF, ZukoNAF, ZukoBPF),
)
FLOWS = {flow.name: flow for flow in _CLASSES}


def flow_from_config(config: object) -> Flow:
    """Rebuild a flow's builder from `config()`, as read from JSON.

    Raises:
        ValueError: The name or a field is unknown, or the value of a field is out of range.
    """
    name, fields = split_name("flow", config)
    return lookup("flow", name, FLOWS).from_config(fields)

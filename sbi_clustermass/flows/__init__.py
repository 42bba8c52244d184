"""Flows: builders (theta, x) -> conditional density estimator. `FLOWS` names them for files and the command line."""

from sbi_clustermass.flows.autoregressive import MAF, MAFRQS, NSF
from sbi_clustermass.flows.builder import Flow
from sbi_clustermass.flows.embed_once import EmbedOnce
from sbi_clustermass.flows.mixtures import MDN
from sbi_clustermass.flows.stacked_affine import StackedAffine
from sbi_clustermass.flows.tabulated import Tabulated
from sbi_clustermass.registry import lookup, split_name

FLOWS: dict[str, type[Flow]] = {
    "stacked_affine": StackedAffine,
    "maf": MAF,
    "maf_rqs": MAFRQS,
    "nsf": NSF,
    "mdn": MDN,
    "tabulated": Tabulated,
}

__all__ = [
    "FLOWS",
    "MAF",
    "MAFRQS",
    "MDN",
    "NSF",
    "EmbedOnce",
    "Flow",
    "StackedAffine",
    "Tabulated",
    "flow_from_config",
]


def flow_from_config(config: object) -> Flow:
    """Rebuild a flow's builder from `config()`, as read from JSON.

    Raises:
        ValueError: If the name or a field is unknown, or a field's value is out of range.
    """
    name, fields = split_name("flow", config)
    return lookup("flow", name, FLOWS).from_config(fields)

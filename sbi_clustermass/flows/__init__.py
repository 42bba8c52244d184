"""Flows: builders (theta, x) -> conditional density estimator. `FLOWS` names them for files and the command line."""

from clustermocks.io.registry import lookup, split_name
from sbi_clustermass.flows.autoregressive import MAF, MAFRQS, NSF
from sbi_clustermass.flows.base import Flow
from sbi_clustermass.flows.embed_once import EmbedOnce
from sbi_clustermass.flows.mixtures import MADE, MDN
from sbi_clustermass.flows.sbi_names import register_flows
from sbi_clustermass.flows.stacked_affine import StackedAffine
from sbi_clustermass.flows.tabulated import Tabulated
from sbi_clustermass.flows.zuko import (
    ZukoBPF,
    ZukoGF,
    ZukoMAF,
    ZukoNAF,
    ZukoNICE,
    ZukoNSF,
    ZukoSOSPF,
    ZukoUNAF,
)

FLOWS: dict[str, type[Flow]] = {
    "stacked_affine": StackedAffine,
    "maf": MAF,
    "maf_rqs": MAFRQS,
    "nsf": NSF,
    "made": MADE,
    "mdn": MDN,
    "tabulated": Tabulated,
    "zuko_maf": ZukoMAF,
    "zuko_nice": ZukoNICE,
    "zuko_nsf": ZukoNSF,
    "zuko_gf": ZukoGF,
    "zuko_sospf": ZukoSOSPF,
    "zuko_naf": ZukoNAF,
    "zuko_unaf": ZukoUNAF,
    "zuko_bpf": ZukoBPF,
}

__all__ = [
    "FLOWS",
    "MADE",
    "MAF",
    "MAFRQS",
    "MDN",
    "NSF",
    "EmbedOnce",
    "Flow",
    "StackedAffine",
    "Tabulated",
    "ZukoBPF",
    "ZukoGF",
    "ZukoMAF",
    "ZukoNAF",
    "ZukoNICE",
    "ZukoNSF",
    "ZukoSOSPF",
    "ZukoUNAF",
    "flow_from_config",
    "register",
]


def flow_from_config(config: object) -> Flow:
    """Rebuild a flow's builder from `config()`, as read from JSON.

    Raises:
        ValueError: If the name or a field is unknown, or a field's value is out of range.
    """
    name, fields = split_name("flow", config)
    return lookup("flow", name, FLOWS).from_config(fields)


def register() -> tuple[str, ...]:
    """Make all of `FLOWS` known to sbi's string factory: `NPE(prior, density_estimator="stacked_affine")`.

    Each is registered as `clustermass_NAME`, and as NAME where sbi has no such name: sbi's own `maf` stays sbi's own.
    Nothing happens when it is called again.

    Returns:
        The names that are ours.
    """
    return register_flows(FLOWS)

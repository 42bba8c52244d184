"""Flows: builders (theta, x) -> conditional density estimator. `FLOWS` names them for files and the command line."""

from sbi_clustermass.flows.embed_once import EmbedOnce
from sbi_clustermass.flows.stacked_affine import StackedAffine
from sbi_clustermass.registry import lookup, split_name

FLOWS = {"stacked_affine": StackedAffine}

__all__ = ["FLOWS", "EmbedOnce", "StackedAffine", "flow_from_config"]


def flow_from_config(config: object) -> StackedAffine:
    """Rebuild a flow's builder from `config()`, as read from JSON.

    Raises:
        ValueError: If the name or a field is unknown, or a field's value is out of range.
    """
    name, fields = split_name("flow", config)
    return lookup("flow", name, FLOWS).from_config(fields)

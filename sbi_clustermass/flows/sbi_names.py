"""Our flows under sbi's strings, for those who write `NPE(prior, density_estimator="stacked_affine")`.

A convenience: strings are deprecated in sbi's next version, and objects say more.
"""

from collections.abc import Callable
from inspect import signature
from typing import Any, final

from sbi.neural_nets import factory
from torch import Tensor, nn

from clustermocks.io.registry import lookup
from sbi_clustermass.embeddings.checks import Choice
from sbi_clustermass.flows.base import Flow
from sbi_clustermass.flows.embed_once import EmbedOnce
from sbi_clustermass.flows.registry import FLOWS

_PREFIX = "clustermass_"
_DEFAULT = {name: each.default for name, each in signature(factory.posterior_nn).parameters.items()}
# sbi's builders call theta x and x y: names that a user wrote, and their defaults
_WRITTEN = {
    "z_score_x": "z_score_theta of posterior_nn (z_score_x of likelihood_nn)",
    "z_score_y": "z_score_x of posterior_nn (z_score_theta of likelihood_nn)",
}
_INJECTED = {"z_score_x": _DEFAULT["z_score_theta"], "z_score_y": _DEFAULT["z_score_x"]} | {
    name: _DEFAULT[name] for name in ("hidden_features", "num_transforms", "num_bins", "num_components")
}


def register() -> tuple[str, ...]:
    """Add all of `FLOWS` to sbi's string factory: `NPE(prior, density_estimator="stacked_affine")`.

    Each is registered as `clustermass_NAME`, and as NAME where sbi has no such name: sbi's own `maf` stays sbi's own.
    A second call changes nothing.

    Returns:
        The names that are ours.
    """
    for name, kind in FLOWS.items():
        build = _SbiBuilder(kind)
        for alias in (name, _PREFIX + name):
            factory.model_builders.setdefault(alias, build)
    return tuple(name for name, build in factory.model_builders.items() if isinstance(build, _SbiBuilder))


def as_builder(choice: str | Callable) -> Callable:
    """The builder that a user chose for an `NPE`: a function, or one of sbi's names, ours after `register()`.

    Raises:
        TypeError: It is one of our classes, instead of an object.
        ValueError: The name is unknown.
    """
    if isinstance(choice, type) and issubclass(choice, Choice):
        raise TypeError(choice.needs_an_object())
    if not isinstance(choice, str):
        return choice
    if choice in FLOWS and choice not in factory.model_builders:
        raise ValueError(
            f"{choice!r} is no name of sbi's yet.\n  try:    register() before; or {FLOWS[choice].__name__}()"
        )
    lookup("density estimator", choice, factory.model_builders)
    return factory.posterior_nn(choice)


@final
class _SbiBuilder:
    """A builder with the keywords of sbi's string factory, which passes its own defaults whatever the user wrote."""

    def __init__(self, kind: type[Flow]) -> None:
        self.kind = kind

    def __call__(self, batch_x: Tensor, batch_y: Tensor, **keywords: Any) -> EmbedOnce:
        """Build from parameters (sbi's batch_x) and observations (batch_y).

        Raises:
            ValueError: One of the factory's own keywords differs from its default: it would be ignored.
            TypeError: Another keyword is not a field of the flow.
        """
        for name, default in _INJECTED.items():
            value, written = keywords.pop(name, default), _WRITTEN.get(name, name)
            if value != default:
                raise ValueError(
                    f"{written} is {value!r}, which has no effect on {self.kind.name!r} through sbi's strings. "
                    f"Pass an object instead: density_estimator={self.kind.__name__}(...)."
                )
        embedding = keywords.pop("embedding_net", None)
        if not isinstance(embedding, nn.Identity | None):
            keywords["embedding"] = embedding
        return self.kind(**keywords)(batch_x, batch_y)

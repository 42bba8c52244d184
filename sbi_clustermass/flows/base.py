"""Builders of flows: frozen dataclasses whose fields are checked and saved, and which build a network from one batch.

The fields are numbers, words and an embedding. A flow is saved as its name and fields, and built from one batch of
pairs into an `EmbedOnce`.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import Field, dataclass, field, fields
from math import isfinite
from typing import Any, ClassVar, Protocol, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clustermocks.io.registry import check_fields, lookup
from sbi_clustermass.embeddings.checks import Choice
from sbi_clustermass.embeddings.conditions import reading
from sbi_clustermass.embeddings.galaxies import has_flags, stages
from sbi_clustermass.embeddings.kde import KDEImage
from sbi_clustermass.embeddings.registry import EMBEDDINGS, embedding_config, embedding_from_config
from sbi_clustermass.flows.density_estimator import DensityEstimator
from sbi_clustermass.flows.embed_once import EmbedOnce
from sbi_clustermass.flows.mlp import ACTIVATIONS, trunk
from sbi_clustermass.flows.pairs import check_batch, check_features
from sbi_clustermass.flows.precision import single_precision

_STANDARDISED_ON = 1024  # clusters: mean and std of their features are accurate to a few percent, at no cost
_MOST_FEATURES = 64  # a flow runs once for each value of the parameters: its condition must be small


class Flow(Protocol):
    """A choice of architecture, a frozen dataclass, and a builder for sbi: `NPE(prior, density_estimator=flow)`."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def embedding(self) -> nn.Module:
        """Map from an observation to features; deep-copied when built."""
        ...

    def __call__(self, theta: Float[Tensor, "batch theta"], x: Float[Tensor, "batch *event"]) -> EmbedOnce:
        """Build an untrained flow, sized and standardised from one batch of pairs."""
        ...

    def template(self, theta: int = 1, condition_shape: tuple[int, ...] = (1, 3)) -> EmbedOnce:
        """Build an untrained flow without data, for `load_state_dict`."""
        ...

    def config(self) -> dict[str, object]:
        """Name and fields in JSON's types."""
        ...

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from the fields of `config()`, without the name."""
        ...


@dataclass(frozen=True)
class BaseFlow(Choice, ABC):
    """The checks of a flow's fields, and their way to JSON, to a network without data, and back.

    Two flows are equal if their fields are. An embedding of `EMBEDDINGS`, which a flow builds anew, is compared by its
    fields; any other is equal only to itself.
    """

    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        """Keep the equality of this class, which a dataclass would replace by one of its own."""
        cls.__eq__, cls.__hash__ = BaseFlow.__eq__, BaseFlow.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        embedding = self.__dict__["embedding"]
        if type(embedding) in EMBEDDINGS.values():
            embedding = tuple(embedding_config(embedding).items())
        return type(self), embedding, *(getattr(self, each.name) for each in fields(self) if each.name != "embedding")

    def __post_init__(self) -> None:
        """Refuse a value that the type of its field does not allow.

        Raises:
            ValueError: Naming the field, the value and what it needs.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "activation":
                lookup("activation", value, ACTIVATIONS)
                continue
            is_allowed, need = _RULES[each.type]
            if not is_allowed(value):
                raise ValueError(f"{type(self).__name__}: {each.name} is {value!r}. It needs {need}.")

    def __call__(self, theta: Float[Tensor, "batch theta"], x: Float[Tensor, "batch *event"]) -> EmbedOnce:
        """Build an untrained flow, sized and standardised from one batch of pairs.

        The parameters are standardised on the whole batch, the features on some 1000 to 2000 evenly spaced ones.

        Raises:
            TypeError: One of the two is not a dense tensor of floating-point numbers.
            ValueError: They are no batch of two pairs or more, or a parameter or a feature is not finite.
        """
        check_batch(type(self).__name__, theta, x)
        return self._build(theta, x)

    @abstractmethod
    def _build(self, theta: Float[Tensor, "batch theta"], x: Float[Tensor, "batch *event"]) -> EmbedOnce:
        """Build from a batch that has been checked."""

    def template(self, theta: int = 1, condition_shape: tuple[int, ...] = (1, 3)) -> EmbedOnce:
        """Build an untrained flow without data, for `load_state_dict`: its buffers wait for the saved ones.

        Args:
            theta: Number of parameters.
            condition_shape: Shape of one observation, (galaxy, 3).
        """
        with single_precision():
            two = torch.tensor([0.0, 1.0])[:, None]  # two pairs, for sbi's standard deviations to be numbers
            return self(two.expand(2, theta), torch.zeros(2, *condition_shape))

    def config(self) -> dict[str, object]:
        """Name and fields in JSON's types; `flow_from_config` reads them.

        Raises:
            TypeError: The embedding is not one of `EMBEDDINGS`.
        """
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        as_json = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {"name": self.name, **as_json, "embedding": embedding_config(values["embedding"])}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from the fields of `config()`, without the name.

        Raises:
            ValueError: A field is unknown or out of range.
        """
        check_fields(f"flow {cls.name!r}", config, tuple(each.name for each in fields(cls)))
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
        if "embedding" in values:
            values["embedding"] = embedding_from_config(values["embedding"])
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class SbiFlow(BaseFlow):
    """A density estimator of sbi's behind an embedding and a trunk of at most 64 features.

    sbi's `dropout_probability` and `use_batch_norm` are not offered: the density and its mass within bounds would be
    those of two different networks. Its `z_score_x` and `z_score_y` are fixed: parameters and features are
    standardised.

    Attributes:
        embedding: Maps an observation to features; deep-copied when built, two flows share no weights.
        trunk: Widths of the perceptron from the standardised features to the flow; the last at most 64.
        activation: Activation between the trunk's layers: elu, gelu, relu, silu or tanh.
    """

    embedding: nn.Module = field(default_factory=KDEImage)
    trunk: tuple[int, ...] = (256, 64)
    activation: str = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.trunk or self.trunk[-1] > _MOST_FEATURES:
            raise ValueError(
                f"{type(self).__name__}: trunk is {self.trunk}. Its last width must be at most {_MOST_FEATURES}."
            )

    def _build(self, theta: Float[Tensor, "batch theta"], x: Float[Tensor, "batch *event"]) -> EmbedOnce:
        """Build from a batch that has been checked."""

        def head(features: Tensor, shared: int) -> nn.Module:
            return trunk(features, shared=shared, widths=self.trunk, activation=self.activation)

        return assemble(self.embedding, theta, x, head=head, inner=self.inner)

    def inner(self, theta: Float[Tensor, "batch theta"], features: Float[Tensor, "rows feature"]) -> DensityEstimator:
        """Build the estimator of the parameters given the trunk's features: sbi's own, unless a flow mends it."""
        return self.stock(theta, features)

    def stock(self, theta: Float[Tensor, "batch theta"], features: Float[Tensor, "rows feature"]) -> Any:
        """Build sbi's own estimator of the parameters given the trunk's features, by `build_` and the flow's name."""
        from sbi.neural_nets import net_builders  # takes seconds, and `Tabulated` does not need it

        with warnings.catch_warnings():  # that a flow of one parameter is Gaussian: false of splines, else documented
            warnings.filterwarnings("ignore", message="In one-dimensional output space")
            build = getattr(net_builders, f"build_{self.name}")
            return build(theta, features, z_score_x="independent", z_score_y="none", **self.options())

    def options(self) -> dict[str, Any]:
        """The options of sbi's builder: the fields other than embedding, trunk and activation, under sbi's names."""
        ours = {each.name for each in fields(SbiFlow)}
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ours}


def assemble(
    embedding: nn.Module,
    theta: Float[Tensor, "batch theta"],
    x: Float[Tensor, "batch *event"],
    *,
    head: Callable[[Tensor, int], nn.Module],
    inner: Callable[[Tensor, Tensor], DensityEstimator],
) -> EmbedOnce:
    """Build embedding, head and inner estimator on one batch of pairs.

    Args:
        embedding: Copied without its training (`_untrained`), and made to take conditions if there are any, which are
            columns behind the flags of galaxies; its fixed stage becomes the summary.
        theta: Parameters.
        x: Observations.
        head: Builds the network on the features, from a batch of them and how many are standardised together.
        inner: Builds the estimator, from the parameters and a batch of the head's outputs.

    Raises:
        ValueError: The embedding does not make finite features of each observation.
    """
    rows = x[:: max(1, len(x) // _STANDARDISED_ON)]
    with torch.no_grad(), single_precision():
        embedding_of_x = _untrained(embedding)
        if type(embedding) in EMBEDDINGS.values() or has_flags(rows):  # sets of galaxies, perhaps with conditions
            embedding_of_x = reading(embedding_of_x, x.shape[-1])
        summary, learned = stages(embedding_of_x)
        features = learned(summary(rows))
        check_features(features, rows)
        features = features.flatten(1).float()
        network = head(features, min(getattr(embedding, "shared_scale", 0), features.shape[1]))
        estimator = inner(theta, network(features))
    return EmbedOnce(summary, nn.Sequential(learned, nn.Flatten(), network), estimator, x.shape[1:])


def _untrained(embedding: nn.Module) -> nn.Module:
    """Copy an embedding with weights drawn from torch's generator now, so that the seed of the training decides them.

    An embedding of `EMBEDDINGS` is built anew from its fields: the weights that it got when the user created it came
    before any seed, and the members of an ensemble would all start from them. Any other module is copied as it is,
    trained weights included.

    Raises:
        TypeError: It cannot be copied.
    """
    if type(embedding) in EMBEDDINGS.values():
        return embedding_from_config(embedding_config(embedding))
    try:
        return deepcopy(embedding)
    except Exception as error:  # of any type: whatever it holds decides
        raise TypeError(
            f"the embedding {type(embedding).__name__} cannot be copied: {error}\n"
            "  try:    copy.deepcopy(embedding), which fails on what it holds, such as a sparse tensor or a lock"
        ) from error


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > 0


_RULES: dict[Any, tuple[Callable[[Any], bool], str]] = {
    bool: (lambda value: isinstance(value, bool), "True or False"),
    int: (_is_count, "a whole number of at least 1"),
    float: (_is_positive, "a positive number"),
    tuple[int, ...]: (
        lambda value: isinstance(value, tuple) and all(map(_is_count, value)),
        "a tuple of widths of at least 1",
    ),
    nn.Module: (lambda value: isinstance(value, nn.Module), "a module, such as KDEImage()"),
}

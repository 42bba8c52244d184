"""Limits on the network that a description may ask for, from the header of its file of weights.

A network is built before its weights are loaded. A description from a stranger must not make that cost more memory or
time than a network of these weights: integers are capped, and parameters are counted as they appear.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from threading import get_ident
from typing import Any, Self, final

from safetensors import safe_open
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

_WIDTH, _AREA = 2**12, 2**20  # allowed in any case: of an integer, and of a product of two
_DEPTH, _ITEMS = 8, 1000  # of nested descriptions, and in each
_COPIES = 4  # an embedding is built up to three times, to read its fields and to draw its weights from the seed
_PARAMETERS = 200  # allowed in any case: an embedding of default size, from which the names of its fields are read


@final
@dataclass(frozen=True)
class WeightsHeader:
    """Shapes of the tensors in a file of weights.

    Attributes:
        tensors: Number of tensors.
        elements: Number of elements in all tensors.
        widest: Largest extent of any tensor.
    """

    tensors: int
    elements: int
    widest: int

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read the header of a safetensors file, without its tensors.

        Raises:
            SafetensorError: The file is damaged or of another kind; its header must agree with its length.
        """
        with safe_open(str(path), framework="pt") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118, no mapping
        widest = max((extent for shape in shapes for extent in shape), default=0)
        return cls(len(shapes), sum(map(prod, shapes)), widest)


def check_sizes(flow: Mapping[str, Any], header: WeightsHeader) -> None:
    """Refuse a description of a flow with integers that a network of these weights cannot have.

    These are integers or products of two that are too large; nor may a number be infinite, or the nesting too deep.
    """
    whole = list(_integers(flow, _DEPTH))
    if whole and (largest := max(whole, key=abs)) and abs(largest) > max(_WIDTH, header.widest):
        raise ValueError(f"a size of {largest:.3g}, where the weights have {header.widest} at most")
    for description in (flow, flow.get("embedding")):
        numbers = sorted(_own_integers(description) if isinstance(description, Mapping) else ())
        if prod(numbers[-2:]) > max(_AREA, header.elements):
            raise ValueError(
                f"sizes of {numbers[-1]} and {numbers[-2]}, where the weights are {header.elements} numbers"
            )


@contextmanager
def parameters_within(header: WeightsHeader) -> Iterator[None]:
    """Stop the construction of a network with more or larger parameters than these weights.

    PyTorch registers a parameter before it is initialised, so that a large one has not used its memory yet.
    """
    builder, tensors, elements = get_ident(), _COPIES * header.tensors + _PARAMETERS, _COPIES * header.elements + _AREA

    def count(_module: nn.Module, _name: str, parameter: nn.Parameter | None) -> None:
        nonlocal tensors, elements
        if parameter is None or get_ident() != builder:
            return
        tensors, elements = tensors - 1, elements - parameter.numel()
        if min(tensors, elements) < 0:
            raise ValueError(f"more or larger layers than those of the weights, which are {header.elements} numbers")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _integers(value: object, depth: int) -> Iterable[int]:
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"a field is {value}")
    if isinstance(value, int) and not isinstance(value, bool):
        yield value
    if isinstance(value, Mapping | list):
        if not depth or len(value) > _ITEMS:
            raise ValueError("its description is nested too deeply, or too long")
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _integers(each, depth - 1)


def _own_integers(description: Mapping[str, Any]) -> Iterable[int]:
    """Integer fields of one description; `bins` twice, because an image has their square as pixels."""
    for name, value in description.items():
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            yield from [value] * (2 if name == "bins" else 1)

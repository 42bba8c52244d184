"""Building a network that a file describes, no larger than the weights that lie beside it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from math import isfinite, prod
from pathlib import Path
from typing import Any, Self, final

import torch
from safetensors import safe_open
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter, tree_map

_SMALL = 2**26  # bytes: what a network of any size may take besides its weights
_WIDTH, _AREA = 4096, 2**24  # of anything that leaves no weights
_CALLS, _CALLS_EACH = 20_000, 500  # operations of PyTorch, and more for each tensor: some ten are usual
_DEPTH, _ITEMS = 8, 1000
_PRODUCTS = {"mm", "bmm", "matmul", "linear"}
_AS_WIDE = {"where", "stack", "cat", "add", "sub", "mul", "div", "true_divide", "pow", "setitem"}


@final
@dataclass(frozen=True)
class Sizes:
    """What a file of weights holds, from its header, without reading them.

    Attributes:
        tensors: Their number.
        elements: Numbers in all of them.
        widest: The largest extent of any.
        n_bytes: Size of the file.
    """

    tensors: int
    elements: int
    widest: int
    n_bytes: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Sizes of a safetensors file, whose header agrees with its length or is refused.

        Raises:
            SafetensorError: Not such a file, or a damaged one.
        """
        with safe_open(str(path), framework="pt") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118, no mapping
        widest = max((extent for shape in shapes for extent in shape), default=0)
        return cls(len(shapes), sum(map(prod, shapes)), widest, path.stat().st_size)


def check_fields(flow: Mapping[str, Any], sizes: Sizes) -> None:
    """Refuse widths and numbers of layers that the weights cannot have, before anything is made of them.

    Every width of a network is an extent of its weights; what else counts something is small.

    Args:
        flow: The flow's description, with its embedding's inside.
        sizes: Of the weights.

    Raises:
        ValueError: A number is too large, not finite, or the description is nested or long beyond use.
    """
    whole = sorted(_whole_numbers(flow, _DEPTH))
    widest = max(_WIDTH, sizes.widest)
    if whole and not -widest <= whole[0] <= whole[-1] <= widest:
        raise ValueError(f"a size of {max(whole, key=abs):.3g}, where the weights have {sizes.widest} at most")
    if len(whole) > 1 and whole[-1] * whole[-2] > max(_AREA, sizes.elements):
        raise ValueError(f"sizes of {whole[-1]} and {whole[-2]}, where the weights are {sizes.elements} numbers")


def _whole_numbers(value: object, depth: int) -> Iterable[int]:
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"a field is {value}")
    if isinstance(value, int) and not isinstance(value, bool):
        yield value
    if isinstance(value, Mapping | list):
        if not depth or len(value) > _ITEMS:
            raise ValueError("its description is nested too deeply, or too long")
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _whole_numbers(each, depth - 1)


@final
class Bounded(TorchFunctionMode):
    """Within it, PyTorch makes no tensor larger than the weights that are to be loaded, and stops after a while.

    An operation whose result could be too large is first done on tensors without content, which tells its size.

    Args:
        sizes: Of the weights.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.most = max(_SMALL, 2 * sizes.n_bytes)
        self.calls = _CALLS + _CALLS_EACH * sizes.tensors

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do one operation.

        Raises:
            ValueError: Its result would be too large, or there were too many.
        """
        self.calls -= 1
        if self.calls < 0:
            raise ValueError("a network of more layers than the weights have")
        size = _guess(func, (args, kwargs))
        if size > self.most and (size := _bytes_of(func, args, kwargs or {})) > self.most:
            raise ValueError(f"a tensor of {size / 1e6:.0f} MB, where the weights allow for {self.most / 1e6:.0f} MB")
        return func(*args, **(kwargs or {}))


def _guess(func: Any, arguments: Any) -> float:
    """More bytes than a result of these arguments has, by what kind of function makes it."""
    flat = list(tree_iter(arguments))
    tensors = [each for each in flat if isinstance(each, torch.Tensor)]
    name = getattr(func, "__name__", "").strip("_")
    if name in _AS_WIDE:  # each extent is the widest of theirs, or their sum
        extents = zip_longest(*(reversed(each.shape) for each in tensors), fillvalue=1)
        return 8.0 * max(prod(map(max, extents)), sum(each.numel() for each in tensors))
    if name in _PRODUCTS:
        shared = max(tensors[0].shape[-1], 1)
        return 8.0 * (tensors[0].numel() / shared) * (tensors[1].numel() / shared)
    numbers = [abs(each) for each in flat if isinstance(each, int) or (isinstance(each, float) and not tensors)]
    return 8.0 * prod(max(each.numel(), 1) for each in tensors) * prod(max(each, 1) for each in numbers)


def _bytes_of(func: Any, args: Any, kwargs: dict[str, Any]) -> int:
    """Of the results; 0 where their size depends on values, as that of a choice of rows does: no more than those."""
    try:
        outline = func(*tree_map(_outline, args), **(tree_map(_outline, kwargs) | _meta(kwargs)))
    except (NotImplementedError, RuntimeError, TypeError, ValueError):
        return 0
    made = [each for each in tree_iter(outline) if isinstance(each, torch.Tensor)]
    return max((each.untyped_storage().nbytes() for each in made), default=0)


def _outline(value: object) -> object:
    return value.to("meta") if isinstance(value, torch.Tensor) else value


def _meta(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {"device": torch.device("meta")} if "device" in kwargs else {}

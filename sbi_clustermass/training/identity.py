"""What tells one training from another: a checkpoint is continued only by the training that wrote it.

A builder is any function, and its `repr` says little: what counts is the network that it builds with the training's
seed and data. Everything in that network is compared exactly, except for tensors and arrays that are no weights. Some
of them standardise the data, and their last digits depend on the number of threads, so they are compared within
rounding. So are the losses of some clusters, which reveal a change of code that no object holds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import NamedTuple, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from clustermocks.io.settings import flat
from sbi_clustermass.embeddings import EMBEDDINGS, embedding_config
from sbi_clustermass.flows.density_estimator import DensityEstimator
from sbi_clustermass.training.dataset import RowIndices, checksum
from sbi_clustermass.training.loop import TrainingData
from sbi_clustermass.training.settings import Training

_PROBES = 32  # clusters whose loss is compared
_PLAIN = (type(None), bool, int, float, complex, str, bytes, Enum, PurePath, torch.dtype, torch.device, np.generic)
_REGISTERED = ("_parameters", "_buffers", "_modules")


class Identity(NamedTuple):
    """A training, to be compared with that of a checkpoint.

    Attributes:
        settings: Settings and checksums as text, by name, which must be equal.
        initial: Numbers of the untrained network, which must be equal within rounding.
    """

    settings: Mapping[str, str]
    initial: Mapping[str, Tensor]


def identity(
    builder: object,
    network: DensityEstimator,
    data: TrainingData,
    training: Training,
    *,
    support: object,
    data_checksum: str | None = None,
) -> Identity:
    """Describe a training by its untrained network, data and settings.

    Args:
        builder: What built the network; the fields of a dataclass are compared exactly.
        network: Network as built with the training's seed, on the device of the data.
        data: Dataset and its split.
        training: Settings of the training.
        support: Box over which the loss is truncated; None for the plain loss.
        data_checksum: Checksum of the dataset, if it is known.

    Raises:
        TypeError: The network or the builder holds something that cannot be told from another.
    """
    given, built = _Description(), _Description()
    if is_dataclass(builder):
        given.add("flow", builder)
    built.add("network", network)
    settings = {
        **given.settings,
        **{name: checksum(tensor) for name, tensor in given.tensors.items()},
        **built.settings,
        **flat(training, "training"),
        "support": str(support),
        "device": data.dataset.theta.device.type,
        "split": checksum(*data.split),
        "data": data_checksum or data.dataset.digest(),
    }
    return Identity(settings, {**built.tensors, "initial loss": _losses(network, data, training.seed)})


@torch.no_grad()
def _losses(network: DensityEstimator, data: TrainingData, seed: int) -> Tensor:
    """Losses of the first clusters; torch's global generator is unchanged."""
    rows = data.split.fitting[:_PROBES]
    picked, trains = RowIndices(rows, rows.to(data.dataset.theta.device)), network.training
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        losses = network.eval().loss(data.dataset.theta[picked.device], data.dataset.take(picked))
    network.train(trains)
    return losses


@final
class _Description:
    """Objects and all that they hold, by dotted names: as text, or as tensors that are no weights."""

    def __init__(self) -> None:
        self.settings: dict[str, str] = {}
        self.tensors: dict[str, Tensor] = {}
        self._seen: dict[int, tuple[str, object]] = {}  # holds the object too, so that its id is not used again

    def add(self, name: str, value: object) -> None:
        """Describe a value under a name."""
        if isinstance(value, _PLAIN):
            self.settings[name] = repr(value)
        elif isinstance(value, type | BuiltinFunctionType | np.ufunc | ModuleType):
            self.settings[name] = _name(value)
        elif isinstance(value, tuple):
            self._add_all(name, _name(type(value)), enumerate(value))
        elif isinstance(value, CodeType):
            self._add_all(name, value.co_code.hex(), enumerate((value.co_consts, value.co_names)))
        elif id(value) in self._seen:
            self.settings[name] = f"the same as {self._seen[id(value)][0]}"
        else:
            self._seen[id(value)] = name, value
            self._add_once(name, value)

    def _add_once(self, name: str, value: object) -> None:
        if isinstance(value, Tensor):
            self._add_tensor(name, value)
        elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            self.tensors[name] = torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
        elif isinstance(value, Mapping):
            self._add_all(name, "", value.items())
        elif isinstance(value, list):
            self._add_all(name, _name(type(value)), enumerate(value))
        elif isinstance(value, set | frozenset):
            self._add_all(name, _name(type(value)), enumerate(sorted(value, key=repr)))
        elif isinstance(value, nn.Module):
            self._add_all(name, _name(type(value)), _parts(value))
        elif is_dataclass(value):
            self._add_all(name, _name(type(value)), [(each.name, _field(value, each.name)) for each in fields(value)])
        else:
            self._add_other(name, value)

    def _add_tensor(self, name: str, value: Tensor) -> None:
        if is_lazy(value):  # its shape follows from the data
            self.settings[name] = _name(type(value))
            return
        _refuse_unstorable(name, value)
        if isinstance(value, nn.Parameter):
            self.settings[name] = f"{tuple(value.shape)} {value.requires_grad} {checksum(value)}"
        else:
            self.tensors[name] = value.detach().clone()

    def _add_other(self, name: str, value: object) -> None:
        if isinstance(value, RemovableHandle):  # counts all hooks of a process; the hook itself is its module's
            self.settings[name] = _name(type(value))
        elif isinstance(value, FunctionType):
            cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
            held = [(variable, cell.cell_contents) for variable, cell in cells]
            code = [("code", value.__code__), ("defaults", (value.__defaults__, value.__kwdefaults__))]
            self._add_all(name, _name(value), held + code)
        elif isinstance(value, MethodType):
            self._add_all(name, "method", [("function", value.__func__), ("of", value.__self__)])
        elif isinstance(value, partial):
            self._add_all(name, "partial", enumerate((value.func, value.args, value.keywords)))
        else:
            self._add_all(name, _name(type(value)), _state(name, value))

    def _add_all(self, name: str, kind: str, parts: Iterable[tuple[object, object]]) -> None:
        if kind:
            self.settings[name] = kind
        for part, value in parts:
            self.add(f"{name}.{part}", value)


def _refuse_unstorable(name: str, tensor: Tensor) -> None:
    """Refuse a tensor that is no array of numbers, or whose type safetensors lacks.

    Raises:
        TypeError: It is one.
    """
    kinds = {"nested": tensor.is_nested, "meta": tensor.is_meta, "quantised": tensor.is_quantized}
    kind = next((name for name, is_one in kinds.items() if is_one), str(tensor.layout).removeprefix("torch."))
    if kind != "strided" or tensor.dtype in (torch.complex32, torch.complex128):
        raise TypeError(
            f"checkpoint: {name} is a {kind} tensor of {tensor.dtype}, which the file of a checkpoint cannot hold.\n"
            "  try:    a dense tensor of another type, or no checkpoint"
        )


def _field(value: object, name: str) -> object:
    """Field of a dataclass; of an embedding that a flow builds anew, whose weights do not count, the configuration."""
    found = getattr(value, name)
    return embedding_config(found) if type(found) in EMBEDDINGS.values() else found


def _parts(module: nn.Module) -> list[tuple[str, object]]:
    """Weights, modules and attributes of a module; hooks without their keys, which count all hooks of a process."""
    found: list[tuple[str, object]] = []
    for name, value in vars(module).items():
        if name in _REGISTERED:
            found.extend(value.items())
        elif "_hooks" in name:
            found.extend((f"{name}.{number}", hook) for number, hook in enumerate(value.values()))
        else:
            found.append((name, value))
    return found


def _state(name: str, value: object) -> list[tuple[object, object]]:
    """Attributes of any object, as for a copy of it.

    Raises:
        TypeError: The object cannot be copied, so nothing is known of it.
    """
    try:
        made = value.__reduce_ex__(4)
    except TypeError as error:
        raise TypeError(
            f"checkpoint: {name} is a {_name(type(value))}, by which trainings cannot be told from each other.\n"
            "  try:    a builder without it, or no checkpoint"
        ) from error
    if isinstance(made, str):
        return [("name", made)]
    arguments, state = made[1], made[2] if len(made) > 2 else None
    items = [list(part) for part in made[3:5] if part is not None]
    attributes = list(state.items()) if isinstance(state, dict) else [("state", state)]
    return [*attributes, ("made of", arguments), *enumerate(items)]


def _name(value: object) -> str:
    """Full name of a class, function or Python module."""
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', getattr(value, '__name__', ''))}"

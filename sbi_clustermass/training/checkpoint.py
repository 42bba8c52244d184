"""State of a training on disk: one safetensors file with JSON in its header; nothing is ever unpickled."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from clustermocks.io.atomic import replacing
from clustermocks.io.paths import as_path

_FORMAT = "2"
_INITIAL = "initial/"
_RTOL, _ATOL = 1e-4, 1e-5  # float32 after some ten layers; the second relative to a tensor's rms
_LINES = 6  # differences that a message lists

State = tuple[dict[str, Tensor], dict[str, Any]]


@final
class Checkpoint:
    """File for the state of one training. It is written completely or not at all.

    Attributes:
        path: Path of the file.
        settings: Settings and data of the training, by name; a checkpoint with other settings is refused.
        initial: Numbers of the untrained network, by name; a checkpoint that differs by more than rounding is refused.
        every: Shortest time between two writes [s]; the state after the last update is always written.
    """

    def __init__(
        self, path: Path, settings: Mapping[str, str], initial: Mapping[str, Tensor] | None = None, *, every: float = 30
    ) -> None:
        self.path, self.settings, self.every = as_path(path), dict(settings), every
        self.initial = {_INITIAL + name: tensor for name, tensor in (initial or {}).items()}
        self._written = monotonic()

    def write(self, state: Callable[[], State], *, last: bool = False) -> None:
        """Write the state, unless the last write was less than `every` seconds ago.

        Raises:
            OSError: The file cannot be written.
        """
        if not last and monotonic() - self._written < self.every:
            return
        tensors, facts = state()
        tensors = {**tensors, **self.initial}
        header = {"format": _FORMAT, "settings": json.dumps(self.settings), "facts": json.dumps(facts)}
        own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}  # without ties
        with replacing(self.path) as temporary:
            save_file(own, str(temporary), metadata=header)
        self._written = monotonic()

    def read(self) -> State | None:
        """Read the state; None if there is no file.

        Raises:
            ValueError: The file is damaged, has another format, or belongs to a training with other data or settings.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(str(self.path), framework="pt") as file:
                header, names = file.metadata() or {}, file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
            if header.get("format") != _FORMAT:
                raise ValueError(f"checkpoint format {header.get('format')!r}; this version reads format {_FORMAT}")
            settings, facts = json.loads(header["settings"]), json.loads(header["facts"])
        except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
            raise ValueError(
                f"{self.path}: not a readable checkpoint, or damaged ({error}).\n"
                "  try:    delete it, to train from the beginning"
            ) from error
        self._check(settings, {name: tensors.pop(name) for name in names if name.startswith(_INITIAL)})
        return tensors, facts

    def remove(self) -> None:
        """Delete the file, if there is one."""
        self.path.unlink(missing_ok=True)

    def _check(self, settings: Mapping[str, str], initial: Mapping[str, Tensor]) -> None:
        lines = [
            f"  {name}: {settings.get(name)} there, {self.settings.get(name)} asked for"
            for name in {**self.settings, **settings}
            if settings.get(name) != self.settings.get(name)
        ]
        lines += [
            f"  {name.removeprefix(_INITIAL)}: other numbers"
            for name in {**self.initial, **initial}
            if not (name in initial and name in self.initial and _is_close(self.initial[name].cpu(), initial[name]))
        ]
        if len(lines) > _LINES:
            lines[_LINES:] = [f"  and {len(lines) - _LINES} more"]
        if lines:
            raise ValueError(
                "\n".join([f"{self.path}: the checkpoint of another training.", *lines])
                + "\n  try:    the same data and settings, to go on with it; another folder; or delete it"
            )


def _is_close(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal within the rounding of float32; whole numbers and words are exact."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    one, other = one.double(), other.double()
    size = float(one[one.isfinite()].square().mean().sqrt().nan_to_num())
    return torch.allclose(one, other, rtol=_RTOL, atol=_ATOL * size, equal_nan=True)

"""State of a training on disk: one safetensors file with JSON in its header; nothing is ever unpickled."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from clustermocks.io.atomic import replacing

_FORMAT = "1"

State = tuple[dict[str, Tensor], dict[str, Any]]


@final
class Checkpoint:
    """File for the state of one training. It is written completely or not at all.

    Attributes:
        path: Path of the file.
        settings: Settings and data of the training, by name; a checkpoint with other settings is refused.
        every: Shortest time between two writes [s]; the state after the last update is always written.
    """

    def __init__(self, path: Path, settings: Mapping[str, str], *, every: float = 30.0) -> None:
        self.path, self.settings, self.every = path, dict(settings), every
        self._written = monotonic()

    def write(self, state: Callable[[], State], *, last: bool = False) -> None:
        """Write the state, unless the last write was less than `every` seconds ago.

        Raises:
            OSError: The file cannot be written.
        """
        if not last and monotonic() - self._written < self.every:
            return
        tensors, facts = state()
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
        self._check(settings)
        return tensors, facts

    def remove(self) -> None:
        """Delete the file, if there is one."""
        self.path.unlink(missing_ok=True)

    def _check(self, settings: Mapping[str, str]) -> None:
        names = [*self.settings, *(name for name in settings if name not in self.settings)]
        lines = [
            f"  {name}: {settings.get(name)} there, {self.settings.get(name)} asked for"
            for name in names
            if settings.get(name) != self.settings.get(name)
        ]
        if lines:
            raise ValueError(
                "\n".join([f"{self.path}: the checkpoint of another training.", *lines])
                + "\n  try:    the same data and settings, to go on with it; another folder; or delete it"
            )

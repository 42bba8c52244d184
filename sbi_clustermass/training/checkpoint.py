"""A training's state on disk: one safetensors file whose header holds the rest as JSON; nothing is ever unpickled."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from clustermocks.io.atomic import replacing

FORMAT = "1"

State = tuple[dict[str, Tensor], dict[str, Any]]


@final
class Checkpoint:
    """Where one training leaves its state. The file appears whole or not at all.

    Attributes:
        path: The file.
        settings: What the training is of, by name; another's checkpoint is refused.
        every: Seconds between two writes, at least [s]; the state after the last update is always written.
    """

    def __init__(self, path: Path, settings: Mapping[str, str], *, every: float = 30.0) -> None:
        self.path, self.settings, self.every = path, dict(settings), every
        self._written = monotonic()

    def write(self, state: Callable[[], State], *, last: bool = False) -> None:
        """Write the state, unless it was written a moment ago.

        Raises:
            OSError: The file cannot be written.
        """
        if not last and monotonic() - self._written < self.every:
            return
        tensors, facts = state()
        header = {"format": FORMAT, "settings": json.dumps(self.settings), "facts": json.dumps(facts)}
        own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}  # tied weights
        with replacing(self.path) as temporary:
            save_file(own, str(temporary), metadata=header)
        self._written = monotonic()

    def read(self) -> State | None:
        """The state that was written; None where there is none.

        Raises:
            ValueError: The file is damaged, of another format, or of a training of other data or settings.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(str(self.path), framework="pt") as file:
                header, names = file.metadata() or {}, file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
            if header.get("format") != FORMAT:
                raise ValueError(f"checkpoint format {header.get('format')!r}; this version reads format {FORMAT}")
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

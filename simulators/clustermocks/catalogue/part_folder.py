"""Files of a catalogue that is stored in parts, some of which may be missing or truncated."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, TypeVar

from clustermocks.catalogue import parquet
from clustermocks.io.atomic import make_folder, read_header, replacing
from clustermocks.io.lock import holds_only_a_claim
from clustermocks.io.paths import as_path

HEADER = "_catalogue.json"
FORMAT = 1


T = TypeVar("T")


@dataclass(frozen=True)
class PartFolder:
    """A folder that `HaloModel.simulate_to` writes. Each part is itself a catalogue file.

    Attributes:
        folder: The folder.
        counts: Number of clusters attempted in each part.
        settings: Settings of the simulation by name: model, seed, masses.
    """

    folder: Path
    counts: tuple[int, ...]
    settings: Mapping[str, str]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a folder, finished or not.

        Raises:
            FileNotFoundError: The folder does not exist.
            ValueError: It is not a stored catalogue, or is of a later format.
        """
        what, names = "a folder that simulate_to wrote", ("counts", "settings")
        folder = as_path(folder)
        counts, settings = read_header(folder, HEADER, form=FORMAT, what=what, fields=names)
        return cls(folder, tuple(counts), dict(settings))

    @classmethod
    def begin(cls, folder: str | Path, counts: Sequence[int], settings: Mapping[str, str]) -> Self:
        """Begin a folder, or open one that was begun with the same settings.

        Args:
            folder: New or empty folder, or one to resume.
            counts: Number of clusters attempted in each part.
            settings: Settings of the simulation by name.

        Raises:
            ValueError: The folder holds something else, or was begun with other settings; the message names them.
            OSError: The folder cannot be written.
        """
        folder = as_path(folder)
        if folder.is_dir() and not (folder / HEADER).exists() and not holds_only_a_claim(folder):
            raise ValueError(f"{folder}: holds other files. Choose a new folder.")
        if folder.is_dir() and (folder / HEADER).exists():
            return cls.open(folder)._checked(counts, settings)
        make_folder(folder)
        return cls(folder, tuple(counts), dict(settings)).begin_again(counts, settings)

    def begin_again(self, counts: Sequence[int], settings: Mapping[str, str]) -> Self:
        """Give the folder other counts and settings; of its parts, those that have another count are missing then."""
        header = {"format": FORMAT, "counts": list(counts), "settings": dict(settings)}
        with replacing(self.folder / HEADER) as temporary:
            temporary.write_text(json.dumps(header, indent=1), encoding="utf-8")
        return replace(self, counts=tuple(counts), settings=dict(settings))

    def _checked(self, counts: Sequence[int], settings: Mapping[str, str]) -> Self:
        names = [*self.settings, *(name for name in settings if name not in self.settings)]
        differing = [name for name in names if self.settings.get(name) != settings.get(name)]
        lines = [f"  {n}: {self.settings.get(n)} there, {settings.get(n)} asked for" for n in differing]
        if not lines and self.counts != tuple(counts):
            lines = [f"  parts: {list(self.counts)} clusters there, {list(counts)} asked for"]
        if lines:
            code = {"version", "simulator_revision"} & {*differing}
            cure = "the version of this package that began it" if code else "the same settings, to go on with it"
            lines = [f"{self.folder}: begun with other settings.", *lines, f"  try:    {cure}; or another folder"]
            raise ValueError("\n".join(lines))
        return self

    def is_whole(self, counts: Sequence[int], settings: Mapping[str, str]) -> bool:
        """Whether the folder has these settings and no part is missing."""
        return self.counts == tuple(counts) and self.settings == settings and not self.missing()

    def path(self, index: int) -> Path:
        """File of one part."""
        return self.folder / f"part-{index:05d}.parquet"

    def missing(self) -> list[int]:
        """Indices of the parts that are missing or truncated."""
        found = [parquet.counts(self.path(index)) for index in range(len(self.counts))]
        return [
            i for i, (part, count) in enumerate(zip(found, self.counts, strict=True)) if not part or part[1] != count
        ]

    def __len__(self) -> int:
        """Number of clusters in all existing parts."""
        found = (parquet.counts(self.path(index)) for index in range(len(self.counts)))
        return sum(part[0] for part in found if part)

    def read(self, index: int, reader: Callable[[Path], T]) -> T:
        """Read one part.

        Raises:
            ValueError: The part is missing, truncated or damaged; the message names it.
        """
        try:
            return reader(self.path(index))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{error}\n  try:    delete {self.path(index).name}, then simulate_to with the same settings"
            ) from error

    def whole(self) -> Self:
        """Return the folder, after checking that no part is missing.

        Raises:
            ValueError: Parts are missing or truncated; the message says which.
        """
        missing = self.missing()
        if missing:
            raise ValueError(
                f"{self.folder}: {len(missing)} of {len(self.counts)} parts are missing or truncated, the first is "
                f"{self.path(missing[0]).name}.\n  try:    the same simulation again, which goes on where it broke off"
            )
        return self

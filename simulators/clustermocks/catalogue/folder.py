"""A catalogue as a folder of Parquet files, written part by part; an interrupted simulation can be resumed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.catalogue.part_folder import PartFolder


@final
@dataclass(frozen=True)
class StoredCatalogue(PartFolder):
    """A catalogue in a folder of parts, which may be larger than memory.

    Iterating yields one part at a time, so that memory does not grow with their number; `load` reads all of them.
    """

    def write(self, index: int, part: Catalogue) -> None:
        """Write one part; it appears whole or not at all.

        Raises:
            OSError: The disk is full or not writable. Existing parts are kept.
        """
        try:
            part.to_parquet(self.path(index))
        except OSError as error:
            raise OSError(
                f"{self.folder}: cannot write part {index} ({error.__cause__ or error}). Is the disk full?\n"
                "  Parts before it are kept; the same call goes on from there."
            ) from error

    def __iter__(self) -> Iterator[Catalogue]:
        """Yield the parts in order.

        Raises:
            ValueError: A part is missing, truncated or damaged; the message names it.
        """
        return (self.read(index, Catalogue.from_parquet) for index in range(len(self.counts)))

    def load(self) -> Catalogue:
        """Read all parts into memory.

        Raises:
            ValueError: Parts are missing, truncated or damaged; the message says which.
        """
        return Catalogue.from_parquet(self.folder)

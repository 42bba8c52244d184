"""Texts of a model card that its author writes: options of `clustermass publish`."""

from dataclasses import dataclass
from typing import Annotated, final

from cyclopts import Parameter


@final
@dataclass(frozen=True)
class CardMetadata:
    """Texts of a model card that its author writes, as plain text.

    Attributes:
        title: Title of the estimator, one line; by default its folder's name.
        author: Name of the author, and how to reach them.
        licence: Licence under which it may be used, such as CC-BY-4.0.
        cite: Publication to cite in addition to that of the method.
        limits: Further limitation that users must know, in one sentence; may be repeated.

    Raises:
        ValueError: The title is blank.
    """

    title: str = ""
    author: str = ""
    licence: str = ""
    cite: str = ""
    limits: Annotated[tuple[str, ...], Parameter(name="--limit")] = ()

    def __post_init__(self) -> None:
        if self.title and not self.title.strip():
            raise ValueError("a published estimator needs a title.")

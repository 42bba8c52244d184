"""Options that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from clustermocks.io.paths import as_path


def _path(_: object, tokens: Sequence[Token]) -> Path:
    return as_path(tokens[-1].value)


def _some(_: object, value: int) -> None:
    if value == 0:
        raise ValueError("0 processes do no work; 1 works here, 2 or more share it, -1 takes one a core.")


FilePath = Annotated[Path, Parameter(converter=_path, n_tokens=1)]
Flat = Parameter(name="*")  # each field of a dataclass is an option
Seed = Annotated[int, Parameter(help="Seed: the same seed gives the same result.", validator=Number(gte=0))]
Device = Annotated[str, Parameter(help="auto, cpu or cuda.")]
Jobs = Annotated[
    int,
    Parameter(
        name=("--jobs", "-j"),
        help="Processes; -1 for one a core.",
        validator=(Number(gte=-1), _some),
    ),
]


def names(text: str) -> list[str]:
    """Split a list of names at its commas."""
    return [name.strip() for name in text.split(",") if name.strip()]

"""What became of each row of a table: to which galaxy of a cluster it belongs, or why it was not used."""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Float32, Int, UInt8


class Fate(IntEnum):
    """What became of a row; `words` says why it was not used."""

    USED = 0
    NO_POSITION = 1
    NO_REDSHIFT = 2
    NO_WEIGHT = 3
    DUPLICATE = 4
    OUTSIDE_APERTURE = 5
    OUTSIDE_VELOCITY = 6
    EXCLUDED = 7

    @property
    def words(self) -> str:
        """The reason in words, empty for a row that was used."""
        return _WORDS[self]


_WORDS = {
    Fate.USED: "",
    Fate.NO_POSITION: "no position",
    Fate.NO_REDSHIFT: "no redshift or velocity",
    Fate.NO_WEIGHT: "weight of 0",
    Fate.DUPLICATE: "duplicate of another row",
    Fate.OUTSIDE_APERTURE: "outside the aperture",
    Fate.OUTSIDE_VELOCITY: "outside the velocity cut",
    Fate.EXCLUDED: "excluded by its quality or by --where",
}


class RowNumbers(NamedTuple):
    """Where the rows of a cluster come from: file, name of the table in it (None for the only one), numbers from 0."""

    path: Path
    table: str | None
    number: Int[np.ndarray, "row"]


@final
@dataclass(frozen=True)
class RowFates:
    """Rows of one cluster's table, in the order of the file.

    The galaxies of the cluster's catalogue are the rows of fate `USED`, in this order.

    Attributes:
        path: File of the table.
        table: Name of the table, where the file holds several.
        number: Number of each row in the file, from 0, (row,).
        fate: What became of it, a `Fate`, (row,).
        R_proj: Projected distance [comoving h^-1 Mpc], NaN where the row is of no usable galaxy, (row,).
        v_los: Velocity relative to the cluster [km/s], NaN likewise, (row,).
    """

    path: Path
    table: str | None
    number: Int[np.ndarray, "row"]
    fate: UInt8[np.ndarray, "row"]
    R_proj: Float32[np.ndarray, "row"]
    v_los: Float32[np.ndarray, "row"]

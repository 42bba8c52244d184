"""What priors over surveys, galaxies and cosmologies share: a range for each of their fields, and its law."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple, Self

import numpy as np

from clustermocks.io.registry import lookup
from clustermocks.io.settings import check_ranges
from clustermocks.kinematics.membership import Removal

Range = tuple[float, float]
LAW = "law"  # metadata of the fields of a prior
_TRANSFORMS = {
    "value": (np.positive, np.positive),
    "log": (np.log, np.exp),
    "root": (np.sqrt, np.square),
}


class Law(NamedTuple):
    """Law of a number between two ends: uniform in it, in its "log", or in its "root", which favours small values.

    A narrower range keeps the law, so that it is the wider prior given that range. `lowest` and `highest` are the ends
    of what the simulator can do.
    """

    lowest: float
    highest: float
    unit: str = "1"
    uniform_in: Literal["value", "log", "root"] = "value"

    def quantile(self, ends: Range, share: float) -> float:
        """Value between the ends below which a share [1] of the draws lies."""
        forward, back = _TRANSFORMS[self.uniform_in]
        low, high = forward(ends[0]), forward(ends[1])
        return min(max(float(back(low + share * (high - low))), ends[0]), ends[1])


@dataclass(frozen=True)
class Prior:
    """Base of the priors: a range for each field, from which numbers are drawn by the field's law.

    A field that is one number is the share of surveys of which something is true.
    """

    def __post_init__(self) -> None:
        for name, law in self.laws.items():
            self._check(name, law)
        shares = (f.name for f in fields(self) if isinstance(f.default, float))
        check_ranges(self, **dict.fromkeys(shares, (0, 1)))

    @property
    def laws(self) -> Mapping[str, Law]:
        """Law of each range, by the name of its field."""
        return {f.name: f.metadata[LAW] for f in fields(self) if LAW in f.metadata}

    def _check(self, name: str, law: Law) -> None:
        where, ends = f"{type(self).__name__}: {name} [{law.unit}]", getattr(self, name)
        if not (isinstance(ends, tuple) and len(ends) == 2):
            raise ValueError(f"{where} must be a pair (lowest, highest), found {ends!r}.")
        if not ends[0] <= ends[1]:
            raise ValueError(f"{where} must rise from its lowest to its highest value, found {ends!r}.")
        if not law.lowest <= ends[0] <= ends[1] <= law.highest:
            raise ValueError(f"{where} must lie within {law.lowest:g} to {law.highest:g}, found {ends!r}.")

    def narrowed(self, **parts: Range | float | tuple[Removal, ...]) -> Self:
        """Prior of a part of these ranges: the same laws, given that each value lies in its narrower range.

        Args:
            **parts: New range of each field by name, or its one value; of a share 0 or 1, for none or all surveys.

        Raises:
            ValueError: A field is unknown, or its range is not a part of the present one.
        """
        known = {f.name: getattr(self, f.name) for f in fields(self)}
        narrow = {}
        for name, part in parts.items():
            now = lookup(f"field of {type(self).__name__}", name, known)
            narrow[name] = (part, part) if name in self.laws and isinstance(part, int | float) else part
            if not _is_part(narrow[name], now, ordered=name in self.laws):
                raise ValueError(f"{type(self).__name__}.narrowed: {name} must be a part of {now!r}, found {part!r}.")
        return replace(self, **narrow)

    def numbers(self, rng: np.random.Generator) -> dict[str, float]:
        """Draw each field that has a law."""
        return {name: law.quantile(getattr(self, name), rng.uniform()) for name, law in self.laws.items()}


def _is_part(part: object, whole: tuple | float, *, ordered: bool) -> bool:
    if not isinstance(whole, tuple):
        return part in (0, 1, whole)
    if not isinstance(part, tuple):
        return False
    return len(part) == 2 and whole[0] <= part[0] <= part[1] <= whole[1] if ordered else set(part) <= set(whole)

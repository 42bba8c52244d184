"""Whether a mass may be used, in one word, and the reasons for it.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import final

TOO_FAR = 0.3  # dex: three times the scatter of good data
_MATTERS = 0.5  # of the posterior's width: in quadrature it widens the error by 12 %


@final
class Grade(StrEnum):
    """Use of a mass, from the best grade to the worst; a reason of grade `USE` is a note."""

    USE = "use"
    CARE = "care"
    DO_NOT_USE = "do not use"


_ORDER = list(Grade)


@final
@dataclass(frozen=True)
class Reason:
    """Reason to distrust a mass.

    Attributes:
        text: What was found, with its numbers.
        grade: What it does to the use of the mass.
        size: Change of log10 mass, signed where its direction is known [dex]; None where it is unknown.
    """

    text: str
    grade: Grade = Grade.CARE
    size: float | None = None

    @classmethod
    def measured(cls, text: str, size: float, width: float) -> "Reason":
        """Grade an effect on the mass: care from half the posterior's width, do not use from .3 dex, both in [dex]."""
        grade = Grade.CARE if abs(size) >= _MATTERS * width else Grade.USE
        return cls(text, Grade.DO_NOT_USE if abs(size) > TOO_FAR else grade, size)

    def __str__(self) -> str:
        """The text, behind grade and size."""
        size = "" if self.size is None else f", {abs(self.size):.2f} dex"
        return f"{'note' if self.grade is Grade.USE else self.grade}{size}: {self.text}"


def ranked(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Sort reasons: the worst grade first, in it the largest size, unknown ones last."""
    return tuple(sorted(reasons, key=lambda each: (-_ORDER.index(each.grade), -abs(each.size or 0.0))))


def verdict(reasons: Iterable[Reason]) -> Grade:
    """Return the worst grade among the reasons; `USE` if there are none."""
    return max((each.grade for each in reasons), key=_ORDER.index, default=Grade.USE)


def unlike_mocks(found: tuple[str, ...]) -> tuple[Reason, ...]:
    """Grade an alarm's sentences on one cluster: care if there are several, as one alone was not measured to matter."""
    return tuple(Reason(text, Grade.CARE if len(found) > 1 else Grade.USE) for text in found)

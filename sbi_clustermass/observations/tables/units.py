"""Units of an observer's columns -> degrees, km/s and Mpc; a unit in the column's name counts as the file's.

`littleh` and "Mpc/h" are understood as h^-1 Mpc; astropy's parser alone would read the latter as Mpc per hour.
"""

from dataclasses import dataclass
from typing import Any, Literal, cast, final

from clustermocks.haloes.cosmology import SPEED_OF_LIGHT
from sbi_clustermass.observations.tables.column_names import LengthWords, angle_word, length_words, speed_word
from sbi_clustermass.observations.tables.errors import problem


@final
@dataclass(frozen=True)
class Unit:
    """Unit of one column of a file, as astropy has it; None if the file gives none."""

    where: str
    column: str
    unit: Any

    @property
    def text(self) -> str:
        """Unit in the file, "" if there is none or it is no dimension."""
        text = str(self.unit or "").strip()
        return "" if text.lower() in ("", "none", "dimensionless", "1", "-", "---") else text

    def degrees(self) -> float:
        """Return the degrees in one unit; 1 without a unit."""
        return self._factor(angle_word(self.column), angle_word(self.text), "deg")

    def kilometres_per_second(self) -> float:
        """Return the km/s in one unit; 1 without a unit."""
        return self._factor(speed_word(self.column), speed_word(self.text), "km/s")

    def redshift(self) -> float:
        """Return the redshift in one unit of a column of redshifts, which may be km/s."""
        if not self.text:
            return self.kilometres_per_second() / SPEED_OF_LIGHT if speed_word(self.column) else 1.0
        from astropy import units as u

        try:
            return _in("", self.text)
        except (u.UnitsError, ValueError, TypeError):
            return self.kilometres_per_second() / SPEED_OF_LIGHT

    def separation(self) -> "Length | float":
        """Return the unit of a distance from the centre: a length, or the degrees in one unit of angle."""
        named, given = length_words(self.column), length_words(self.text)
        if given[0]:
            return self._length(named, given)
        if not self.text:
            return self.degrees() if angle_word(self.column) and not named[0] else _length(named)
        try:
            parsecs = self._factor(None, None, "Mpc")
        except ValueError:
            return self.degrees()
        if named[0]:
            raise self._conflict(str(named[0]), self.text)
        return Length(parsecs, per_h=False, frame=named[2])

    def _length(self, named: LengthWords, given: LengthWords) -> "Length":
        frames = {frame for frame in (named[2], given[2]) if frame}
        if (named[0] and (named[0] != given[0] or named[1] > given[1])) or len(frames) > 1:
            raise self._conflict(self.column, self.text)
        return _length((given[0], given[1], next(iter(frames), None)))

    def _factor(self, named: str | None, given: str | None, target: str) -> float:
        """Return the target units in one unit; words that astropy does not know (degrees, km/sec) come parsed."""
        from astropy import units as u

        try:
            factors = [_in(target, text) for text in (named, given or self.text) if text]
        except (u.UnitsError, ValueError, TypeError) as error:
            what, found = f"column {self.column} cannot be read in {target}.", f"unit {self.text}"
            raise problem(self.where, what, found=found, advice=f"convert it to {target}") from error
        if len(factors) == 2 and abs(factors[0] / factors[1] - 1) > 1e-9:
            raise self._conflict(str(named), self.text)
        return factors[0] if factors else 1.0

    def _conflict(self, named: str, given: str) -> Exception:
        found = f"its name says {named}, the file {given}"
        return problem(self.where, f"two units for {self.column}.", found=found, advice="correct one of them")


@final
@dataclass(frozen=True)
class Length:
    """Unit of length.

    Attributes:
        mpc: Number of Mpc, or h^-1 Mpc, in one unit.
        per_h: Whether the unit is per h.
        frame: "comoving" or "physical", None if neither name nor unit has either word.
    """

    mpc: float
    per_h: bool
    frame: Literal["comoving", "physical"] | str | None


def _length(words: LengthWords) -> Length:
    return Length(1e-3 if words[0] == "kpc" else 1.0, words[1], words[2])


def _in(target: str, unit: str) -> float:
    from astropy import units as u

    return cast("float", u.Unit(unit).to(u.Unit(target)))

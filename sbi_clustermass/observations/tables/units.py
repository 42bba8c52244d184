"""Units of an observer's columns -> degrees, km/s and Mpc; a unit in the name counts as one beside the column.

`littleh` and "Mpc/h" are understood as h^-1 Mpc; astropy's parser alone would read the latter as Mpc per hour.
"""

from dataclasses import dataclass
from typing import Any, Literal, cast, final

from clustermocks.haloes.cosmology import SPEED_OF_LIGHT
from sbi_clustermass.observations.tables.errors import problem
from sbi_clustermass.observations.tables.names import angle_word, length_words, speed_word


@final
@dataclass(frozen=True)
class Unit:
    """The unit of one column.

    Attributes:
        where: The file's name, for messages.
        column: The column's name.
        beside: Its unit as astropy has it; None if the file gives none.
    """

    where: str
    column: str
    beside: Any

    @property
    def text(self) -> str:
        """The unit beside the column, "" if there is none or it is no dimension."""
        text = str(self.beside or "").strip()
        return "" if text.lower() in ("", "none", "dimensionless", "1", "-", "---") else text

    def degrees(self) -> float:
        """Degrees in one unit; 1 where nothing is said.

        Raises:
            TableError: No unit of angle, or the name says another than the file.
        """
        return self._factor(angle_word(self.column), angle_word(self.text), "deg")

    def kilometres_per_second(self) -> float:
        """km/s in one unit; 1 where nothing is said.

        Raises:
            TableError: No unit of velocity, or the name says another than the file.
        """
        return self._factor(speed_word(self.column), speed_word(self.text), "km/s")

    def redshift(self) -> float:
        """Redshift in one unit of a column of redshifts, which may be km/s.

        Raises:
            TableError: Neither a number nor a velocity.
        """
        if not self.text:
            return self.kilometres_per_second() / SPEED_OF_LIGHT if speed_word(self.column) else 1.0
        from astropy import units as u

        try:
            return _in("", self.text)
        except (u.UnitsError, ValueError, TypeError):
            return self.kilometres_per_second() / SPEED_OF_LIGHT

    def separation(self) -> "Length | float":
        """What a distance from the centre is measured in: a length, or degrees in one unit of angle.

        Raises:
            TableError: Neither, or the name says another unit than the file.
        """
        named, beside = length_words(self.column), length_words(self.text)
        if beside[0]:
            return self._length(named, beside)
        if not self.text:
            return self.degrees() if angle_word(self.column) and not named[0] else _length(named)
        try:
            parsecs = self._factor(None, None, "Mpc")
        except ValueError:
            return self.degrees()
        if named[0]:
            raise self._conflict(str(named[0]), self.text)
        return Length(parsecs, per_h=False, frame=named[2])

    def _length(self, named: tuple[str | None, bool, str | None], beside: tuple[str | None, bool, str | None]):
        frames = {frame for frame in (named[2], beside[2]) if frame}
        if (named[0] and (named[0] != beside[0] or named[1] > beside[1])) or len(frames) > 1:
            raise self._conflict(self.column, self.text)
        return _length((beside[0], beside[1], next(iter(frames), None)))

    def _factor(self, named: str | None, beside: str | None, target: str) -> float:
        """Target units in one unit; words that astropy does not know (degrees, km/sec) come parsed."""
        from astropy import units as u

        try:
            said = [_in(target, text) for text in (named, beside or self.text) if text]
        except (u.UnitsError, ValueError, TypeError) as error:
            what, found = f"column {self.column} cannot be read in {target}.", f"unit {self.text}"
            raise problem(self.where, what, found=found, advice=f"convert it to {target}") from error
        if len(said) == 2 and abs(said[0] / said[1] - 1) > 1e-9:
            raise self._conflict(str(named), self.text)
        return said[0] if said else 1.0

    def _conflict(self, named: str, beside: str) -> Exception:
        found = f"its name says {named}, the file {beside}"
        return problem(self.where, f"two units for {self.column}.", found=found, advice="correct one of them")


@final
@dataclass(frozen=True)
class Length:
    """A unit of length.

    Attributes:
        mpc: Mpc, or h^-1 Mpc, in one unit.
        per_h: Whether it is per h.
        frame: "comoving" or "physical", None if neither name nor unit says.
    """

    mpc: float
    per_h: bool
    frame: Literal["comoving", "physical"] | str | None


def _length(said: tuple[str | None, bool, str | None]) -> Length:
    return Length(1e-3 if said[0] == "kpc" else 1.0, said[1], said[2])


def _in(target: str, unit: str) -> float:
    from astropy import units as u

    return cast("float", u.Unit(unit).to(u.Unit(target)))

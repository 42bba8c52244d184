"""Units of an observer's columns -> degrees, km/s and Mpc; a unit in the column's name counts as the file's.

A factor may precede a unit: 100 kpc, 1e3 km/s. `littleh`, "Mpc/h" and "h_70^-1 kpc" are lengths that state an h;
astropy's parser alone would read "Mpc/h" as Mpc per hour.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, final

from clustermocks.haloes.cosmology import SPEED_OF_LIGHT
from sbi_clustermass.observations.tables.column_names import (
    angle_word,
    factor_and_unit,
    length_words,
    speed_word,
    split_unit,
    without_hubble,
)
from sbi_clustermass.observations.tables.errors import problem

_PARSEC = re.compile(r"[cp]?([km])pc")
_MPC = {"k": 1e-3, "m": 1.0}
_FRAMES = re.compile(r"co-?moving|physical|phys|proper")


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

    @property
    def in_brackets(self) -> str:
        """Unit in brackets in the column's name, "" if there is none."""
        return split_unit(self.column)[1]

    @property
    def is_known(self) -> bool:
        """Whether the file or the column's name says of which unit a distance is."""
        return bool(self.text or self.in_brackets or length_words(self.column)[0] or angle_word(self.column))

    def degrees(self) -> float:
        """Return the degrees in one unit; 1 without a unit."""
        return self._factor(angle_word(self.column), _degrees, "deg")

    def kilometres_per_second(self) -> float:
        """Return the km/s in one unit; 1 without a unit."""
        return self._factor(speed_word(self.column), _kilometres_per_second, "km/s")

    def redshift(self) -> float:
        """Return the redshift in one unit of a column of redshifts, which may be km/s."""
        return self._factor(speed_word(self.column), _redshift, "redshifts or km/s")

    def separation(self) -> "Length | float":
        """Return the unit of a distance from the centre: a length (Mpc if none is known), or the degrees in one."""
        named, given = (_length(text) for text in (self._named_length(), self.text))
        if (self.text and given is None) or (self.is_known and not (named or given)):
            if named:
                raise self._conflict(self.column, self.text)
            return self.degrees()
        length = given or named or Length(1.0, None, None)
        frames = {frame for frame in (length_words(self.column)[2], length.frame) if frame}
        if (named and given and not named.may_be(given)) or len(frames) > 1:
            raise self._conflict(self.column, self.text)
        return replace(length, frame=next(iter(frames), None))

    def _named_length(self) -> str:
        """Unit of length in the column's name, "" if there is none; a number before it needs brackets."""
        word, h, _ = length_words(self.column)
        if self.in_brackets or word is None:
            return self.in_brackets
        if re.search(r"\d[\s_]*[cp]?[km]pc", without_hubble(self.column)):
            advice = f"rename it, with the unit in brackets: R [100 {word}]"
            raise problem(self.where, f"is the number in {self.column} a part of its unit?", advice=advice)
        return word if h is None else f"h_{100 * h:g}^-1 {word}"

    def _factor(self, named: str | None, parse: Callable[[str], float], target: str) -> float:
        """Return the target units in one unit, of which name and file may each give one."""
        texts = [text for text in (self.in_brackets or named, self.text) if text]
        try:
            factors = [parse(text) for text in texts]
        except ValueError as error:
            what = f"column {self.column} cannot be read in {target}."
            raise problem(self.where, what, found=f"unit {texts[-1]}", advice=f"convert it to {target}") from error
        if len(factors) == 2 and abs(factors[0] / factors[1] - 1) > 1e-9:
            raise self._conflict(texts[0], self.text)
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
        h: Hubble constant that the unit states [100 km/s/Mpc]: 1 for h^-1 Mpc, 0.7 for h_70^-1 Mpc; None without one.
        frame: "comoving" or "physical", None if neither name nor unit has either word.
    """

    mpc: float
    h: float | None
    frame: Literal["comoving", "physical"] | str | None

    def may_be(self, given: "Length") -> bool:
        """Whether the unit in a column's name is that in the file; a name may leave out the h."""
        return abs(self.mpc / given.mpc - 1) < 1e-9 and self.h in (None, given.h)


def _length(text: str) -> Length | None:
    """Parse a unit of length; None if it is no length."""
    (word, h, frame), (factor, unit) = length_words(text), factor_and_unit(text)
    behind, bare = factor_and_unit(_FRAMES.sub(" ", without_hubble(unit)).strip(" */._()$"))
    match = _PARSEC.fullmatch(bare) if word else None
    try:
        return Length(factor * (behind * _MPC[match[1]] if match else _factor(unit, "Mpc")), h, frame)
    except ValueError:
        return None


def _degrees(text: str) -> float:
    factor, unit = factor_and_unit(text)
    word = "hourangle" if unit == "h" else angle_word(unit)
    return factor * _factor(unit if word is None or re.search(r"\d", unit) else word, "deg")


def _kilometres_per_second(text: str) -> float:
    factor, unit = factor_and_unit(text)
    if unit == "c":
        return factor * SPEED_OF_LIGHT
    word = speed_word(unit)
    return factor * _factor(unit if word is None or re.search(r"\d", unit.replace("-1", "")) else word, "km/s")


def _redshift(text: str) -> float:
    try:
        return _factor(text, "")
    except ValueError:
        return _kilometres_per_second(text) / SPEED_OF_LIGHT


def _factor(text: str, target: str) -> float:
    """Number of target units in one unit.

    Raises:
        ValueError: The unit is unknown to astropy, or of another dimension.
    """
    from astropy import units as u

    factor, unit = factor_and_unit(text)
    try:
        return factor * cast("float", u.Unit(unit).to(u.Unit(target)))
    except (u.UnitsError, TypeError) as error:
        raise ValueError(text) from error

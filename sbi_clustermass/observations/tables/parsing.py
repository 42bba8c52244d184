"""Fields of text -> float64 numbers, NaN where a value is missing or no number."""

import re
from collections.abc import Sequence
from itertools import islice

import numpy as np
from jaxtyping import Float

_MISSING = {"", "nan", "--", "-", "null", "none", "n/a", "na", "masked", "inf", "-inf", "+inf", "..."}
_SEXAGESIMAL = re.compile(
    r"(?P<sign>[+-]?)\s*(?P<first>\d{1,3})\s*(?P<mark>[hHdD°:\s])\s*"
    r"(?P<second>\d{1,2})\s*[mM'′:\s]\s*(?P<third>\d{1,2}(\.\d*)?)\s*[sS\"″]?"
)
_SAMPLE = 100  # fields that show the kind of a column
_COMMA = re.compile(r"[+-]?(\d*,\d+|\d+)([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")

Values = Float[np.ndarray, "row"]


def numbers(texts: Sequence[str]) -> Values:
    """Parse decimal numbers, NaN for a field that is none; a comma is decimal where it cannot separate thousands.

    Raises:
        ValueError: It may be either; the message is the field's text.
    """
    clean = [text.strip() for text in texts]
    filled = ["nan" if is_missing(text) else text for text in clean]
    try:
        return np.array(filled, dtype=float)
    except ValueError:
        return _with_commas(filled)


def is_missing(text: str) -> bool:
    """Whether a field stands for a missing value."""
    return text.strip().lower() in _MISSING


def angles(texts: Sequence[str], *, hours: bool) -> Values:
    """Parse angles [deg] such as 12:59:48.7, 12 59 48.7 or 12h59m48.7s, NaN for a field that is none.

    With `hours` a first number without a letter counts hours.
    """
    return np.array([_angle(text.strip(), hours) for text in texts])


def is_sexagesimal(texts: Sequence[str]) -> bool:
    """Whether most of the first fields that are not missing have three parts."""
    first = list(islice((text.strip() for text in texts if not is_missing(text)), _SAMPLE))
    return 2 * sum(map(_has_three_parts, first)) > len(first)


def _has_three_parts(text: str) -> bool:
    return len(re.findall(r"\d+(?:\.\d*)?", text)) == 3 and not re.fullmatch(r"[\d.+-]+[eE].*", text)


def join_sexagesimal(sign: Values, first: Values, second: Values, third: Values) -> Values:
    """Join sexagesimal parts into one number in the unit of the first."""
    return sign * (np.abs(first) + second / 60 + third / 3600)


def _angle(text: str, hours: bool) -> float:
    match = _SEXAGESIMAL.fullmatch(text)
    if match is None or float(match["second"]) >= 60 or float(match["third"]) > 60:
        return np.nan
    mark = match["mark"].lower()
    if mark == "h" and not hours:
        return np.nan
    size = float(match["first"]) + float(match["second"]) / 60 + float(match["third"]) / 3600
    factor = 15 if mark == "h" or (hours and mark not in "d°") else 1
    return (-1 if match["sign"] == "-" else 1) * factor * size


def _with_commas(filled: Sequence[str]) -> Values:
    commas = [text for text in filled if "," in text and _COMMA.fullmatch(text)]
    points = sum("." in text and _number(text) == _number(text) for text in filled)
    if len(commas) > points:
        if points or all(_THOUSANDS.fullmatch(text) for text in commas):
            raise ValueError(commas[0])
        filled = [text.replace(",", ".") if _COMMA.fullmatch(text) else text for text in filled]
    return np.array([_number(text) for text in filled])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan

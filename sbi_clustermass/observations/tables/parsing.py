"""Fields of text -> float64 numbers, NaN where a value is missing."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

_MISSING = {"", "nan", "--", "-", "null", "none", "n/a", "na", "masked", "inf", "-inf", "+inf", "..."}
_SEXAGESIMAL = re.compile(
    r"(?P<sign>[+-]?)\s*(?P<first>\d{1,3})\s*(?P<mark>[hHdD°:\s])\s*"
    r"(?P<second>\d{1,2})\s*[mM'′:\s]\s*(?P<third>\d{1,2}(\.\d*)?)\s*[sS\"″]?"
)
_COMMA = re.compile(r"[+-]?(\d*,\d+|\d+)([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")

Values = Float[np.ndarray, "row"]


def numbers(texts: Sequence[str]) -> Values:
    """Parse decimal numbers; a comma is decimal where it cannot separate thousands.

    Raises:
        ValueError: A field is no number; the message is the field's text.
    """
    clean = [text.strip() for text in texts]
    filled = ["nan" if text.lower() in _MISSING else text for text in clean]
    try:
        return np.array(filled, dtype=float)
    except ValueError:
        return _with_commas(filled)


def angles(texts: Sequence[str], *, hours: bool) -> Values:
    """Parse angles [deg] such as 12:59:48.7, 12 59 48.7 or 12h59m48.7s.

    With `hours` a first number without a letter counts hours.

    Raises:
        ValueError: A field is no such angle; the message is the field's text.
    """
    return np.array([_angle(text.strip(), hours) for text in texts])


def is_sexagesimal(texts: Sequence[str]) -> bool:
    """Whether the first field that is not missing has three parts."""
    first = next((text.strip() for text in texts if text.strip().lower() not in _MISSING), "")
    return len(re.findall(r"\d+(?:\.\d*)?", first)) == 3 and not re.fullmatch(r"[\d.+-]+[eE].*", first)


def join_sexagesimal(sign: Values, first: Values, second: Values, third: Values) -> Values:
    """Join sexagesimal parts into one number in the unit of the first."""
    return sign * (np.abs(first) + second / 60 + third / 3600)


def _angle(text: str, hours: bool) -> float:
    if text.lower() in _MISSING:
        return np.nan
    match = _SEXAGESIMAL.fullmatch(text)
    if match is None or float(match["second"]) >= 60 or float(match["third"]) > 60:
        raise ValueError(text)
    mark = match["mark"].lower()
    if mark == "h" and not hours:
        raise ValueError(text)
    size = float(match["first"]) + float(match["second"]) / 60 + float(match["third"]) / 3600
    factor = 15 if mark == "h" or (hours and mark not in "d°") else 1
    return (-1 if match["sign"] == "-" else 1) * factor * size


def _with_commas(filled: Sequence[str]) -> Values:
    present = [text for text in filled if text != "nan"]
    bad = next((text for text in present if not (_is_number(text) or _COMMA.fullmatch(text))), None)
    if bad is not None:
        raise ValueError(bad)
    commas = [text for text in present if "," in text]
    if all(_THOUSANDS.fullmatch(text) for text in commas) or any("." in text for text in present):
        raise ValueError(commas[0])
    return np.array([text.replace(",", ".") for text in filled], dtype=float)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

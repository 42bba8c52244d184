"""Text from tables made harmless: for a terminal, for files of one line a row, and for spreadsheets.

The command line imports this module at start: it must stay free of slow imports.
"""

import re

from sbi_clustermass.observations.tables.errors import encodable

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")  # not \t and \n
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_FORMULA = re.compile(r"(?:^|(?<=;))(?=[\s\"]*[=+\-@\uff1d\uff0b\uff0d\uff20])")  # a cell may start after a semicolon
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


def printable(text: str) -> str:
    r"""Return the text without control characters: a name in a table must not colour, move or overwrite anything.

    Example:
        >>> printable("\x1b[2JA 85")
        '[2JA 85'
    """
    return _CONTROL.sub("", encodable(text))


def one_line(text: str) -> str:
    """Return the text with a blank for each run of line breaks and control characters."""
    return _BREAKS.sub(" ", encodable(text))


def no_formula(text: str) -> str:
    """Return one line that a spreadsheet shows as text: an apostrophe precedes whatever could start a formula.

    Where commas are decimal, spreadsheets split at semicolons, quoted or not, so each semicolon may start a cell.
    Numbers are unchanged: -1 is harmless.

    References:
        OWASP, CSV Injection.
    """
    text = one_line(text)
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub("'", text)

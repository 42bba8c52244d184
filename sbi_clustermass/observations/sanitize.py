"""Text for files that others open: no line breaks, and nothing that a spreadsheet would take for a formula."""

import re

_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_FORMULA = re.compile(
    r"(?:^|(?<=;))(?=[\s\"]*[=+\-@\uff1d\uff0b\uff0d\uff20])"
)  # a cell starts behind a semicolon, too
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


def one_line(text: str) -> str:
    """The text with a blank for each line break or control character."""
    return _BREAKS.sub(" ", text)


def no_formula(text: str) -> str:
    """One line that a spreadsheet shows as text: an apostrophe stands before what could start a formula.

    Where commas are decimal, spreadsheets divide at semicolons, quotes or not: there may be one behind each of them.
    Numbers stay as they are: -1 is no danger.

    References:
        OWASP, CSV Injection.
    """
    text = one_line(text)
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub("'", text)
